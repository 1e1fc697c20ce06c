//! How long events are kept, and when the log has grown so much that a snapshot is due.
//!
//! A snapshot makes the log before it needless for a restart; followers still read it, so that it goes by age and by size only.

use super::manifest::SegmentInfo;
use super::{Log, segment};
use crate::error::RepoError;

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
    /// 32 MiB, 1 MiB, 72 hours, 8 GiB, 32 MiB.
    pub(crate) const DEFAULT: Self = Self {
        segment_bytes: 32 * 1024 * 1024,
        prefill_bytes: 1024 * 1024,
        retention_micros: 72 * 3600 * 1_000_000,
        retention_bytes: 8 * 1024 * 1024 * 1024,
        snapshot_after_bytes: 32 * 1024 * 1024,
    };
}

impl Log {
    /// Whether the log has grown so much since the newest snapshot that another one is due.
    pub(crate) fn wants_snapshot(&self) -> bool {
        let from = self.manifest().replay_from();
        let mut since: u64 = 0;
        for segment in self
            .segments()
            .iter()
            .filter(|segment| segment.number >= from.segment)
        {
            let end = segment.closed.map_or(self.end().offset, |closed| closed.end);
            let start = if segment.number == from.segment {
                from.offset
            } else {
                0
            };
            since += u64::from(end.saturating_sub(start));
        }
        let newest = self.manifest().snapshot.as_ref();
        let live = newest.map_or(0, |snapshot| snapshot.car_bytes);
        since >= self.limits().snapshot_after_bytes.max(live)
    }

    /// Drops the oldest segments: those that the snapshot covers and that exceed the retention in age or size.
    pub(crate) fn drop_old(&mut self, now: u64) -> Result<(), RepoError> {
        let covered = self.manifest().replay_from();
        let total: u64 = self.manifest().segments.iter().map(size_of).sum();
        let mut left = total;
        let mut dropped = Vec::new();
        let mut dropped_seq = self.manifest().dropped_seq;
        for info in &self.manifest().segments {
            let Some(closed) = info.closed.filter(|_| info.number < covered.segment) else {
                break;
            };
            let is_old = now.saturating_sub(closed.last_time) > self.limits().retention_micros;
            if !is_old && left <= self.limits().retention_bytes {
                break;
            }
            left -= size_of(info);
            dropped.push(info.number);
            dropped_seq = dropped_seq.max(closed.last_seq);
        }
        if dropped.is_empty() {
            return Ok(());
        }
        self.update_manifest(|manifest| {
            manifest.segments.retain(|info| !dropped.contains(&info.number));
            manifest.dropped_seq = dropped_seq;
        })?;
        for number in &dropped {
            let name = segment::name(*number);
            // What stays is removed at the next start.
            if let Err(error) = self.disk().remove(&name) {
                tracing::warn!(%error, name, "a segment that is not needed any more could not be removed");
            }
        }
        tracing::info!(segments = dropped.len(), dropped_seq, "old events were dropped");
        Ok(())
    }
}

fn size_of(info: &SegmentInfo) -> u64 {
    info.closed.map_or(0, |closed| u64::from(closed.end))
}
