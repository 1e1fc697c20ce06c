//! The commits as events with a growing `seq`, for whoever follows the repository.
//!
//! A subscriber reads [`HoldRepo::events_after`](crate::HoldRepo::events_after) until there is no more, then waits for
//! [`HoldRepo::watch_seq`](crate::HoldRepo::watch_seq) to move and reads on: nothing is lost between the two, and a slow
//! subscriber holds nobody up. Events are never dropped; they are the log.

mod event;

pub use event::{CommitEvent, RecordOp};
