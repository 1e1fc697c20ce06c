//! The hold's behaviour: over HTTP through `TestHold`, and of each adapter behind its port.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]

mod access_matrix;
mod access_tokens;
mod admin;
mod administration;
mod backup;
mod bootstrap;
mod commands;
mod configuration;
#[expect(
    dead_code,
    reason = "shared with the tests of the repository, which ask it for more"
)]
#[path = "../../../hold-pds/tests/it/consumer.rs"]
mod consumer;
mod content_proof;
mod crew;
mod deferred_notices;
mod firehose;
mod gc;
mod harness;
mod identity;
mod limits;
mod manifests;
mod object_store;
mod posts;
mod promised_pushes;
mod quotas;
mod relays;
mod repo_blobs;
mod repository;
mod scans;
mod self_hosting;
mod service_tokens;
mod surface;
mod uploads;
mod user_data;
mod what_is_served;
