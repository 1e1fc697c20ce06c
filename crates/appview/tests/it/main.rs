//! The AppView, driven over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod account_index;
mod attack_browser;
mod attack_listings;
mod attack_tokens;
mod blobs;
mod browser;
mod cache_indexes;
mod databases;
mod deletes;
mod device_flow;
mod harness;
mod hold_client;
mod hold_tokens;
mod holds;
mod hostile_accounts;
mod image_pages;
mod image_proofs;
mod impossible_expiry;
mod limits;
mod listings;
mod long_records;
mod manifests;
mod memory;
mod oauth;
mod oauth_discovery;
mod oauth_sessions;
mod other_servers_secrets;
mod outages;
mod process;
mod push_notices;
mod quotas;
mod referrer_bounds;
mod repositories;
mod rollback;
mod sessions;
mod sign_out_everywhere;
mod silent_account_servers;
mod tag_keys;
mod takedowns;
mod tokens;
mod web_pages;
mod web_sessions;
mod what_is_served;
