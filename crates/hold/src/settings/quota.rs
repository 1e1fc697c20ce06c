//! `quota.*`: the tiers.

use std::collections::HashSet;

use atcr_server::Problems;

use crate::config::{QuotaSection, TierSetting};
use crate::quota::{Tier, Tiers, bytes};

/// Bytes of a name: what a crew record has room for.
const MAX_NAME_LEN: usize = 32;
/// Tiers of a hold.
const MAX_TIERS: usize = 64;

pub(super) fn tiers(section: &QuotaSection, problems: &mut Problems) -> Option<Tiers> {
    const KEY: &str = "quota.tiers";
    problems.require(section.tiers.len() <= MAX_TIERS, KEY, "has more than 64 tiers");
    let all: Vec<Option<Tier>> = section.tiers.iter().map(|tier| parse(tier, problems)).collect();
    let mut names = HashSet::new();
    for tier in &section.tiers {
        if !names.insert(&tier.name) {
            problems.push(KEY, format!("has two tiers named {:?}", tier.name));
        }
    }
    let defaults = &section.defaults;
    let named = |name: &'_ str, key: &str, problems: &mut Problems| {
        let is_known = name.is_empty() || section.tiers.iter().any(|tier| tier.name == name);
        problems.require(is_known, key, "must be the name of one of quota.tiers, or empty");
    };
    named(&defaults.new_crew_tier, "quota.defaults.new_crew_tier", problems);
    named(
        &defaults.plankowner_crew_tier,
        "quota.defaults.plankowner_crew_tier",
        problems,
    );
    let or_none = |name: &'_ str| (!name.is_empty()).then(|| name.to_owned());
    Tiers::new(
        all.into_iter().collect::<Option<_>>()?,
        or_none(&defaults.new_crew_tier).as_deref(),
        or_none(&defaults.plankowner_crew_tier).as_deref(),
    )
}

fn parse(tier: &TierSetting, problems: &mut Problems) -> Option<Tier> {
    let key = format!("quota.tiers.{}", tier.name);
    let is_name = !tier.name.is_empty() && tier.name.len() <= MAX_NAME_LEN;
    problems.require(is_name, &key, "a tier needs a name of 1 to 32 bytes");
    let quota_bytes = bytes::parse(&tier.quota);
    if quota_bytes.is_none() {
        problems.push(key, format!("{:?} is no size; write 5GB", tier.quota));
    }
    Some(Tier {
        name: tier.name.clone(),
        quota_bytes: quota_bytes?,
        scan_on_push: tier.scan_on_push,
    })
}
