//! The repository from outside: files, crashes, exports.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod budget;
#[path = "../../../repo/tests/it/car_reader.rs"]
mod car_reader;
mod consumer;
mod crash;
mod exports;
mod holdings;
mod identity_events;
mod import;
mod kill;
mod repository;
#[expect(dead_code, reason = "shared with the tests of the tree, which use the rest")]
#[path = "../../../repo/tests/it/trees.rs"]
mod trees;
mod usage;
mod writes;
