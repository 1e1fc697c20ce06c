//! Repository data against other people's vectors, models and implementations.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "helpers of tests"
)]

mod atrium;
mod car_reader;
mod firehose;
mod mst_model;
mod mst_vectors;
mod provenance;
mod suites;
mod trees;
