//! The index in SQLite: what is written, what pages read, and that the order of events does not matter.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod convergence;
mod network;
mod pages;
mod search;
mod status;
mod store;
mod work;
