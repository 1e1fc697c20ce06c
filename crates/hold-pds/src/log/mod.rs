//! The log: every event of the repository, in the exact bytes that subscribers get.
//!
//! - [`position`]: a place in the log
//! - [`entry`]: one event, with a checksummed header and what a restart needs to know of it
//! - [`manifest`]: which segments and which snapshot are the repository
//! - [`segment`]: the files
//! - [`append`]: writing, and going on in another file when one fails
//! - [`retention`]: how long events are kept, and when a snapshot is due
//! - [`recovery`]: what a crash left
//! - [`read`]: events from anywhere

pub(crate) mod append;
pub(crate) mod entry;
pub(crate) mod manifest;
pub(crate) mod position;
pub(crate) mod read;
pub(crate) mod recovery;
pub(crate) mod retention;
pub(crate) mod segment;

pub(crate) use append::{AppendError, Log};
pub(crate) use entry::{Aux, BlockChange, EntryHeader, Kind, PendingEntry};
pub(crate) use manifest::{Announced, Manifest, SnapshotInfo};
pub(crate) use position::Position;
pub(crate) use retention::LogLimits;
pub(crate) use segment::Segment;

/// Identifies one log.
pub(crate) type LogId = [u8; 16];
