//! Writes: what a caller asks for, what fits in one commit, and the result.

pub mod limits;
pub(crate) mod prepare;
mod write;

pub use write::{Precondition, RecordRef, RecordWrite, Urgency, WriteOutcome};
