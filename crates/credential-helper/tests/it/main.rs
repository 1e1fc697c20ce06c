//! The real binary, in a home of its own, against a registry that can misbehave.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]

mod accounts_file;
mod attacks;
mod callers;
mod choosing;
mod commands;
mod docker_config;
mod environment;
mod fake_appview;
mod home;
mod login;
mod original_appview;
mod protocol;
mod scanning;
mod server_urls;
mod terminal;
mod updates;
mod verification;
