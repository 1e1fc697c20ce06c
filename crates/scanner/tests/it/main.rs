//! The scanner as a program, with the real Syft and Grype where they are there.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that cannot go on ends its test; a test that is skipped says so"
)]

mod by_hand;
mod confinement;
mod database;
mod hostile;
mod images;
mod layers;
mod planted;
mod program;
mod serving;
