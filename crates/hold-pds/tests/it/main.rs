//! The repository from outside: other people's vectors, models, files, crashes.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod car_reader;
mod crash;
mod exports;
mod holdings;
mod kill;
mod mst_model;
mod mst_vectors;
mod repository;
mod suites;
mod trees;
mod writes;
