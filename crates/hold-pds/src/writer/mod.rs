//! Writes: what a caller asks for, what fits in one commit, and what comes of it.

pub mod limits;
pub(crate) mod prepare;
mod write;

pub use write::{Precondition, RecordRef, RecordWrite, WriteOutcome};
