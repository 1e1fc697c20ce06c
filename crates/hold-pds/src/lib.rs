//! The embedded PDS of a hold: one AT Protocol repository, on the hold's own disk. No HTTP.
//!
//! - [`repo`]: [`HoldRepo`], the only door: writes, reads, exports, proofs, and the questions a hold asks of its records.
//! - [`writer`]: what a write is. One task makes all commits, several callers' writes in each.
//! - [`sequencer`]: the commits as events with a growing `seq`, for a firehose.
//! - [`identity`]: DID, name, key and DID document.
//! - [`records`]: what the hold writes of its own accord, typed.
//! - [`access`]: who may do what, as proofs.
//!
//! # On disk
//! `blocks.log` holds every commit with its blocks, appended and synced before a write is acknowledged: it is the
//! repository. `index.sqlite` finds blocks, records and events in it and may be deleted: opening rebuilds it. `lock` keeps
//! a second process out. Replaced tree nodes and deleted records stay in the log until it is compacted, which does not
//! exist yet; they are not served.
//!
//! # Adding a collection the hold asks questions of
//! A migration with its table, a file in `store/` that keeps the table in step with the records, a method in
//! `repo/holdings.rs`.

mod error;
mod head;
mod store;

pub mod access;
pub mod identity;
pub mod records;
pub mod repo;
pub mod sequencer;
pub mod writer;

pub use error::RepoError;
pub use head::CommitInfo;
pub use repo::{CrewMember, CrewPage, HoldRepo, RecordPage, RepoOptions, StoredRecord};
pub use sequencer::{CommitEvent, RecordOp};
pub use store::hold_index::Usage;
pub use writer::{Precondition, RecordRef, RecordWrite, WriteOutcome};
