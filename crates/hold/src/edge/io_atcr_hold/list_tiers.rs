//! `io.atcr.hold.listTiers`.

use atcr_atproto::lexicon::hold_crew::{ListTiersOutput, TierInfo};
use axum::Json;
use axum::extract::State;

use crate::quota::{Quotas, Tier, bytes};

/// The tiers, the lowest rank first; none where the hold sets no limits.
pub async fn list_tiers(State(quotas): State<Quotas>) -> Json<ListTiersOutput> {
    let info = |tier: &Tier| TierInfo {
        name: tier.name.clone(),
        quota_bytes: tier.quota_bytes,
        quota_formatted: bytes::format(tier.quota_bytes),
        scan_on_push: tier.scan_on_push,
    };
    Json(ListTiersOutput {
        tiers: quotas.tiers().all().iter().map(info).collect(),
    })
}
