//! Reads events from any place in the log, in order. Reading takes no lock, since nothing before the end changes.

use std::sync::Arc;

use super::entry::{EntryHeader, HEADER_LEN};
use super::segment::{self, Segment};
use super::{LogId, Position};
use crate::disk;
use crate::error::RepoError;

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// A position in the log that moves on.
#[derive(Debug)]
pub(crate) struct EntryReader {
    segments: Arc<Vec<Segment>>,
    log_id: LogId,
    end: Position,
    next: Position,
    /// Bytes of the log from `buffer_start` on.
    buffer: Vec<u8>,
    buffer_start: Position,
}

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) header: EntryHeader,
    /// The whole entry.
    pub(crate) bytes: &'a [u8],
}

impl EntryReader {
    /// Reads from `next` up to `end`. A position before the oldest segment is taken as its start.
    pub(crate) fn new(segments: Arc<Vec<Segment>>, log_id: LogId, next: Position, end: Position) -> Self {
        Self {
            segments,
            log_id,
            end,
            next,
            buffer: Vec::new(),
            buffer_start: Position::default(),
        }
    }

    /// Where the next entry begins.
    pub(crate) fn position(&self) -> Position {
        self.next
    }

    /// The next entry, its header checked; `None` at the end.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry<'_>>, RepoError> {
        let Some((segment, segment_end)) = self.find_segment() else {
            return Ok(None);
        };
        let position = self.next;
        let damaged = |what: &str| RepoError::corrupt(format!("the log is damaged in {position}: {what}"));
        self.fill(&segment, HEADER_LEN, segment_end)?;
        let header =
            EntryHeader::parse(self.ahead(), &self.log_id, position).map_err(|damage| damaged(damage.0))?;
        let length = header.entry_len();
        self.fill(&segment, length, segment_end)?;
        self.next.offset = u32::try_from(length)
            .ok()
            .and_then(|length| position.offset.checked_add(length))
            .filter(|next| *next <= segment_end)
            .ok_or_else(|| damaged("an event is longer than its segment"))?;
        let from = (position.offset - self.buffer_start.offset) as usize;
        let bytes = self
            .buffer
            .get(from..from + length)
            .ok_or_else(|| damaged("the segment ends inside an event"))?;
        Ok(Some(Entry { header, bytes }))
    }

    /// The segment of the next entry and where it ends; moves on to the next segment where one ends.
    fn find_segment(&mut self) -> Option<(Segment, u32)> {
        loop {
            let index = self
                .segments
                .partition_point(|segment| segment.number < self.next.segment);
            let segment = self.segments.get(index)?;
            if segment.number > self.next.segment || self.next.offset < segment::HEADER_LEN {
                self.next = segment::start(segment.number);
            }
            let end = match segment.closed {
                Some(closed) => closed.end,
                None if segment.number == self.end.segment => self.end.offset,
                None => return None,
            };
            if self.next >= self.end {
                return None;
            }
            if self.next.offset < end {
                return Some((segment.clone(), end));
            }
            self.next = Position::new(self.next.segment.checked_add(1)?, 0);
        }
    }

    fn ahead(&self) -> &[u8] {
        let from = self.next.offset.checked_sub(self.buffer_start.offset);
        from.filter(|_| self.next.segment == self.buffer_start.segment)
            .and_then(|from| self.buffer.get(from as usize..))
            .unwrap_or_default()
    }

    /// Makes sure that `length` bytes are in the buffer, if the segment has them.
    fn fill(&mut self, segment: &Segment, length: usize, segment_end: u32) -> Result<(), RepoError> {
        if self.ahead().len() >= length {
            return Ok(());
        }
        let available = segment_end.saturating_sub(self.next.offset) as usize;
        let wanted = length.max(CHUNK).min(available);
        self.buffer.resize(wanted, 0);
        self.buffer_start = self.next;
        segment
            .file
            .read_at(u64::from(self.next.offset), &mut self.buffer)
            .map_err(|error| disk::failed_at("read", segment::name(segment.number).as_ref(), error))
    }
}

/// Where the first event after `seq` is, at the latest; the reader passes those before.
pub(crate) fn seek(segments: &[Segment], seq: u64) -> Position {
    let index = segments.partition_point(|segment| segment.after_seq <= seq);
    segments
        .get(index.saturating_sub(1))
        .map(|segment| segment::start(segment.number))
        .unwrap_or_default()
}
