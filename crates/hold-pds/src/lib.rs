//! The embedded PDS of a hold: one AT Protocol repository, on the hold's own disk. No HTTP.
//!
//! Public, from the top:
//! - [`repo`]: [`HoldRepo`], the only entry point: writes, reads, exports, proofs, events, and a hold's queries over its
//!   records.
//! - [`writer`]: what a write is.
//! - [`identity`]: DID, name, key and DID document.
//! - [`records`]: the records that the hold itself writes, typed.
//! - [`access`]: who may do what, as proofs.
//!
//! Inside, from the top; each part knows those below it:
//! - `engine`: what a commit is, and how it gets on the disk. Synchronous.
//! - `backup`: a look at the files that does not change; the way back.
//! - `import`: records of exported repositories, into one that is not open.
//! - `index`: a SQLite file for the hold's own queries. The engine does not need it.
//! - `snapshot`, `blocks`, `log`: the files; how a block is found in them.
//! - `disk`: the file port.
//!
//! # On disk
//! The folder is the repository: `manifest` names the newest snapshot (`<rev>.car`, what an export gives, with `<rev>.tbl`
//! to find blocks in it) and the segments of the log (`<number>.seg`). An entry of the log is an event, in the bytes that
//! subscribers get; it is synced before the write is acknowledged. State is the snapshot and the log after it. Snapshots
//! are written as the log grows, and segments are dropped when a snapshot covers them and their retention is over.
//! `index.sqlite` and `*.tbl` may be deleted: opening rebuilds them. `lock` keeps a second process out. `*.aside` is what
//! a crash left at the end of the log. See docs/decisions/0003.
//!
//! # Adding a collection that the hold queries
//! A table in `index/schema.sql`, code in `index/holdings.rs` that keeps the table in step with
//! the records, a method in `repo/holdings.rs`; then count up `index::SCHEMA`.

mod backup;
mod blocks;
mod disk;
mod engine;
mod error;
mod head;
mod import;
mod index;
mod legacy;
mod lock;
mod log;
mod offload;
mod progress;
mod snapshot;

pub mod access;
pub mod identity;
pub mod records;
pub mod repo;
pub mod writer;

#[cfg(test)]
mod simulation;

pub use atcr_repo::firehose::{AccountEvent, CommitEvent, IdentityEvent, Message, RecordOp, SyncEvent};
pub use backup::{BackupFile, BackupView, MANIFEST, Restored, restore};
pub use error::RepoError;
pub use head::CommitInfo;
pub use import::{Import, Imported, import};
pub use index::holdings::{LayerName, Usage};
pub use index::roster::{
    AccountUsage, LayerFigures, LayerTotals, RosterEntry, RosterFrom, RosterOrder, RosterPage, RosterPlace,
    RosterQuery, UsageTotals,
};
pub use progress::Progress;
pub use repo::{
    CrewMember, CrewPage, Event, EventBudget, EventCursor, EventStart, HoldRepo, KnownEvent, Newcomers,
    RecordPage, RepoOptions, Seen, StoredRecord,
};
pub use writer::{Precondition, RecordRef, RecordWrite, Urgency, WriteOutcome};
