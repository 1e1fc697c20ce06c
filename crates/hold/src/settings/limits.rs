//! `limits.*`: how much clients may ask for.

use std::num::NonZeroU32;
use std::time::Duration;

use atcr_server::address_gate::Exempt;
use atcr_server::client_address::Network;
use atcr_server::client_places::ClientPlaces;
use atcr_server::serve::ServeLimits;
use atcr_server::stream_limits::ClientStreams;
use atcr_server::{Problems, Rate};

use super::noted;
use crate::config::LimitsSection;
use crate::firehose::FirehoseLimits;
use crate::manifests::NoticeLimits;

/// How often a subscriber is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a subscriber may give no sign of life.
const PONG_WITHIN: Duration = Duration::from_secs(90);
/// How long no event has to have come for a subscriber without a cursor to get one.
const QUIET_FOR: Duration = Duration::from_hours(1);
/// How long subscribers get the rest of the events when the process stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// How much clients may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// What the listener bears.
    pub listener: ServeLimits,
    /// Requests of one address without a good token.
    pub anonymous: Rate,
    /// Requests of one account.
    pub account: Rate,
    /// Tokens of one address that are not good.
    pub failed_tokens: Rate,
    /// Accounts that join by themselves.
    pub new_members: Rate,
    /// Repository exports.
    pub exports: ClientStreams,
    /// Who may follow the repository.
    pub firehose: FirehoseLimits,
    /// Clients that limits per address do not count.
    pub exempt: Vec<Network>,
}

pub(super) fn limits(
    section: &LimitsSection,
    proxies: Option<&[Network]>,
    problems: &mut Problems,
) -> Option<Limits> {
    for (key, count) in [
        (
            "limits.background_commits_per_hour",
            section.background_commits_per_hour,
        ),
        ("limits.connections", section.connections),
        ("limits.connections_per_address", section.connections_per_address),
        ("limits.repo_exports", section.repo_exports),
        (
            "limits.repo_exports_per_address",
            section.repo_exports_per_address,
        ),
        ("limits.subscribers", section.subscribers),
        ("limits.subscribers_per_address", section.subscribers_per_address),
    ] {
        problems.require(count > 0, key, "must be at least 1");
    }
    for (key, time) in [
        ("limits.header_timeout", section.header_timeout),
        ("limits.write_timeout", section.write_timeout),
        ("limits.repo_export_timeout", section.repo_export_timeout),
    ] {
        problems.require(!time.get().is_zero(), key, "must be longer than nothing");
    }
    let exempt = noted(problems, "limits.exempt", Network::parse_all(&section.exempt))?;
    let places = |all: u32, per_address: u32| {
        let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
        ClientPlaces::new(count(all), count(per_address), Exempt::new(exempt.clone()))
    };
    Some(Limits {
        listener: ServeLimits {
            listener: "main",
            connections: usize::try_from(section.connections).unwrap_or(usize::MAX),
            connections_per_address: usize::try_from(section.connections_per_address).unwrap_or(usize::MAX),
            unlimited_peers: [proxies.unwrap_or_default(), &exempt].concat(),
            header_timeout: section.header_timeout.get(),
            write_timeout: section.write_timeout.get(),
        },
        anonymous: section.anonymous,
        account: section.account,
        failed_tokens: section.failed_tokens,
        new_members: section.new_members,
        exports: ClientStreams::new(
            places(section.repo_exports, section.repo_exports_per_address),
            section.repo_export_timeout.get(),
        ),
        firehose: FirehoseLimits {
            places: places(section.subscribers, section.subscribers_per_address),
            ping_interval: PING_INTERVAL,
            pong_within: PONG_WITHIN,
            quiet_for: QUIET_FOR,
            drain_within: DRAIN_WITHIN,
        },
        exempt,
    })
}

pub(super) fn notice_limits(section: &LimitsSection, problems: &mut Problems) -> Option<NoticeLimits> {
    problems.require(
        (1..=section.layer_records_per_hour).contains(&section.layers_per_manifest),
        "limits.layers_per_manifest",
        "must be at least 1 and at most limits.layer_records_per_hour",
    );
    let mut positive = |key: &str, value: u32| {
        let value = NonZeroU32::new(value).ok_or_else(|| "must be at least 1".to_owned());
        noted(problems, key, value)
    };
    let notices_per_hour = positive("limits.notices_per_hour", section.notices_per_hour);
    let layer_records_per_hour = positive("limits.layer_records_per_hour", section.layer_records_per_hour);
    let new_repositories_per_hour = positive(
        "limits.new_repositories_per_hour",
        section.new_repositories_per_hour,
    );
    Some(NoticeLimits {
        layers_per_notice: section.layers_per_manifest,
        notices_per_hour: notices_per_hour?,
        layer_records_per_hour: layer_records_per_hour?,
        new_repositories_per_hour: new_repositories_per_hour?,
    })
}
