//! Writing to the log.
//!
//! After a write or sync of a file fails, that file is never written again, and only what was on the disk before is read from
//! it: the log goes on in a new segment, and the manifest says where the old one ends. After a failed `fsync` the kernel
//! marks pages clean that never reached the disk, so neither reading them nor syncing again proves anything.

use std::sync::Arc;

use super::manifest::{Closed, Manifest, SegmentInfo};
use super::segment::{self, Segment};
use super::{LogLimits, PendingEntry, Position};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;

/// Why a batch is not in the log, or may not be.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// Nothing of it was written.
    NotWritten(RepoError),
    /// Only opening the repository again tells whether it is in the log.
    Unknown(RepoError),
}

/// The log, open for writing. Only one exists.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    limits: LogLimits,
    manifest: Manifest,
    /// As in the manifest.
    segments: Arc<Vec<Segment>>,
    file: Arc<dyn DiskFile>,
    /// The file's length: zeros from the log's end to here.
    allocated: u64,
    /// Everything before this position is on the disk, and nothing after it was acknowledged.
    end: Position,
    /// The newest event, and its time.
    last: (u64, u64),
    /// A write, a sync or a manifest failed: the next batch goes to a new segment.
    must_roll: bool,
    /// Never used by a segment, not even one that failed.
    next_number: u32,
    /// A segment on the disk, without events, whose manifest could not be published. A manifest that names it may be there.
    spare: Option<(u32, Arc<dyn DiskFile>)>,
}

/// What recovery found.
#[derive(Debug)]
pub(crate) struct LogParts {
    pub(crate) manifest: Manifest,
    pub(crate) segments: Vec<Segment>,
    pub(crate) allocated: u64,
    pub(crate) end: Position,
    pub(crate) last: (u64, u64),
    pub(crate) next_number: u32,
}

impl Log {
    pub(crate) fn new(disk: Arc<dyn Disk>, limits: LogLimits, parts: LogParts) -> Result<Self, RepoError> {
        let LogParts {
            manifest,
            segments,
            allocated,
            end,
            last,
            next_number,
        } = parts;
        let file = segments
            .last()
            .map(|segment| Arc::clone(&segment.file))
            .ok_or_else(|| RepoError::corrupt("a log without segments"))?;
        Ok(Self {
            disk,
            limits,
            manifest,
            segments: Arc::new(segments),
            file,
            allocated,
            end,
            last,
            must_roll: false,
            next_number,
            spare: None,
        })
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn segments(&self) -> &Arc<Vec<Segment>> {
        &self.segments
    }

    /// The newest event's number and time.
    pub(crate) fn last(&self) -> (u64, u64) {
        self.last
    }

    /// Makes the next event's number greater than `seq`.
    pub(crate) fn skip_numbers_to(&mut self, seq: u64) {
        self.last.0 = self.last.0.max(seq);
    }

    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Whether the last write worked. A log that does not try again with the next one.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.must_roll
    }

    /// Begins a new segment if the last write failed.
    pub(crate) fn heal(&mut self) -> Result<(), RepoError> {
        if self.must_roll { self.roll() } else { Ok(()) }
    }

    /// Appends a batch and waits until it is on the disk; returns where each entry's frame begins.
    pub(crate) fn append(&mut self, batch: &[PendingEntry]) -> Result<Vec<Position>, AppendError> {
        let length: usize = batch.iter().map(PendingEntry::len).sum();
        let is_full = self.end.offset as usize + length > self.limits.segment_bytes as usize
            && self.end.offset > segment::HEADER_LEN;
        if self.must_roll || is_full {
            self.roll().map_err(AppendError::NotWritten)?;
        }
        match self.try_append(batch) {
            Err(AppendError::Unknown(error)) => {
                tracing::error!(%error, position = %self.end, "the log cannot be written here; it goes on in another file");
                self.roll().map_err(AppendError::Unknown)?;
                self.try_append(batch)
            }
            result => result,
        }
    }

    fn try_append(&mut self, batch: &[PendingEntry]) -> Result<Vec<Position>, AppendError> {
        let mut bytes = Vec::new();
        let mut frames = Vec::with_capacity(batch.len());
        let too_long = || AppendError::NotWritten(RepoError::corrupt("a batch is too long for the log"));
        for entry in batch {
            let start = offset(self.end.offset, bytes.len()).ok_or_else(too_long)?;
            let position = Position::new(self.end.segment, start);
            let frame = entry
                .encode(&mut bytes, &self.manifest.log_id, position, self.end)
                .and_then(|frame_start| offset(start, frame_start))
                .ok_or_else(too_long)?;
            frames.push(Position::new(self.end.segment, frame));
        }
        let end = offset(self.end.offset, bytes.len()).ok_or_else(too_long)?;
        self.write(&bytes, end).map_err(|error| {
            self.must_roll = true;
            let name = segment::name(self.end.segment);
            AppendError::Unknown(disk::failed(&*self.disk, "append to", &name, error))
        })?;
        self.end.offset = end;
        if let Some(entry) = batch.last() {
            self.last = (entry.seq, entry.time);
        }
        Ok(frames)
    }

    fn write(&mut self, bytes: &[u8], end: u32) -> std::io::Result<()> {
        if u64::from(end) > self.allocated {
            let size = u64::from(end) + u64::from(self.limits.prefill_bytes);
            let size = size.min(u64::from(self.limits.segment_bytes)).max(u64::from(end));
            let zeros = vec![0; usize::try_from(size - self.allocated).unwrap_or(0)];
            self.file.write_at(self.allocated, &zeros)?;
            self.allocated = size;
        }
        self.file.write_at(u64::from(self.end.offset), bytes)?;
        self.file.sync()
    }

    /// Ends the segment where the log ends and begins another one. Until that has worked, nothing is written.
    fn roll(&mut self) -> Result<(), RepoError> {
        self.must_roll = true;
        let (number, file) = match &self.spare {
            Some((number, file)) => (*number, Arc::clone(file)),
            None => self.create_segment()?,
        };
        self.spare = Some((number, Arc::clone(&file)));
        let mut manifest = self.manifest.clone();
        if let Some(open) = manifest.segments.last_mut() {
            open.closed = Some(Closed {
                end: self.end.offset,
                last_seq: self.last.0,
                last_time: self.last.1,
            });
        }
        manifest.segments.push(SegmentInfo {
            number,
            after_seq: self.last.0,
            closed: None,
        });
        let allocated = file
            .size()
            .map_err(|error| disk::failed(&*self.disk, "look at", &segment::name(number), error))?;
        manifest.publish(&*self.disk)?;
        self.spare = None;

        let mut segments = (*self.segments).clone();
        if let (Some(open), Some(info)) = (segments.last_mut(), manifest.segments.iter().rev().nth(1)) {
            open.closed = info.closed;
        }
        segments.push(Segment {
            number,
            file: Arc::clone(&file),
            after_seq: self.last.0,
            closed: None,
        });
        self.segments = Arc::new(segments);
        self.manifest = manifest;
        self.file = file;
        self.allocated = allocated;
        self.end = segment::start(number);
        self.must_roll = false;
        Ok(())
    }

    /// A segment that no manifest names.
    fn create_segment(&mut self) -> Result<(u32, Arc<dyn DiskFile>), RepoError> {
        let number = self.next_number;
        self.next_number = number
            .checked_add(1)
            .ok_or_else(|| RepoError::corrupt("no segment number is left"))?;
        let size = self.limits.prefill_bytes.min(self.limits.segment_bytes) as usize;
        let created = segment::create(&*self.disk, number, &self.manifest.log_id, &[], size);
        if created.is_err() {
            disk::remove_unused(&*self.disk, &segment::name(number));
        }
        Ok((number, created?))
    }

    /// Makes `change` to the manifest, which must not touch the open segment: after a failure either one may be on the
    /// disk, and writing goes on under both.
    pub(crate) fn update_manifest(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), RepoError> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        manifest.publish(&*self.disk)?;
        let kept = |segment: &&Segment| manifest.segments.iter().any(|info| info.number == segment.number);
        self.segments = Arc::new(self.segments.iter().filter(kept).cloned().collect());
        self.manifest = manifest;
        Ok(())
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn limits(&self) -> &LogLimits {
        &self.limits
    }
}

fn offset(start: u32, length: usize) -> Option<u32> {
    start.checked_add(u32::try_from(length).ok()?)
}
