//! The log: every event of the repository, in the exact bytes that subscribers get.
//!
//! - [`position`]: a place in the log
//! - [`entry`]: one event, with a checksummed header and what a restart needs to know of it
//! - [`manifest`]: which segments and which snapshot are the repository
//! - [`segment`]: the files
//! - [`append`]: writing, and going on in another file when one fails
//! - [`recovery`]: what a crash left
//! - [`read`]: events from anywhere

pub(crate) mod append;
pub(crate) mod entry;
pub(crate) mod manifest;
pub(crate) mod position;
pub(crate) mod read;
pub(crate) mod recovery;
pub(crate) mod segment;

pub(crate) use append::{AppendError, Log};
pub(crate) use entry::{Aux, BlockChange, EntryHeader, Kind, PendingEntry};
pub(crate) use manifest::{Announced, Manifest, SnapshotInfo};
pub(crate) use position::Position;
pub(crate) use segment::Segment;

/// Identifies one log.
pub(crate) type LogId = [u8; 16];

/// Sizes and times of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogLimits {
    /// A new segment begins when one has this many bytes.
    pub(crate) segment_bytes: u32,
    /// A segment's file grows by this many zeros at a time: writing over them is faster than making a file longer.
    pub(crate) prefill_bytes: u32,
    /// Events are kept this long, in microseconds.
    pub(crate) retention_micros: u64,
    /// But no more than this many bytes of them.
    pub(crate) retention_bytes: u64,
    /// A new snapshot is due when the log since the last one has this many bytes, and is as long as the snapshot.
    pub(crate) snapshot_after_bytes: u64,
}

impl LogLimits {
    /// 32 MiB, 1 MiB, 72 hours, 8 GiB, 64 MiB.
    pub(crate) const DEFAULT: Self = Self {
        segment_bytes: 32 * 1024 * 1024,
        prefill_bytes: 1024 * 1024,
        retention_micros: 72 * 3600 * 1_000_000,
        retention_bytes: 8 * 1024 * 1024 * 1024,
        snapshot_after_bytes: 64 * 1024 * 1024,
    };
}
