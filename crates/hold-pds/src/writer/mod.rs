//! Writing: one task makes every commit.

pub mod limits;
mod write;

pub use write::{Precondition, RecordRef, RecordWrite, WriteOutcome};
