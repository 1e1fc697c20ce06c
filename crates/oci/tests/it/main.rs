//! What the vocabulary promises: round trips for every grammar, and the specification's error for every hostile input.

#![expect(clippy::expect_used, reason = "test helpers outside of test functions")]

mod accept;
mod access;
mod answers;
mod digests;
mod hostile_manifests;
mod hostile_requests;
mod manifests;
mod names;
mod ranges;
mod requests;
mod strategies;
