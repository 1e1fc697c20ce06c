//! Events, in order.

use atcr_repo::firehose::Message;
use bytes::Bytes;

use super::event_cursor::EventCursor;
use super::{HoldRepo, KnownEvent};
use crate::blocks::View;
use crate::error::RepoError;
use crate::log::Position;
use crate::offload::blocking;

/// Bytes of one page of [`HoldRepo::next_events`]; one event is returned even if it is longer.
const PAGE_BYTES: usize = 1024 * 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Greater than that of every event before it; there are gaps.
    pub seq: u64,
    /// The message that subscribers get.
    pub frame: Bytes,
    /// Where the next one begins.
    next: Position,
}

impl Event {
    /// The place after this event.
    #[must_use]
    pub fn cursor(&self) -> EventCursor {
        EventCursor {
            position: self.next,
            seq: self.seq,
        }
    }

    /// What the message says.
    ///
    /// # Errors
    /// [`RepoError::Corrupt`] for an event that an older version wrote in another form.
    pub fn decode(&self) -> Result<Message, RepoError> {
        Ok(Message::decode(&self.frame)?)
    }
}

impl HoldRepo {
    /// The next events, some 1 MiB of them, and where to go on. Empty at the end: wait for
    /// [`watch_seq`](Self::watch_seq) to move.
    ///
    /// # Errors
    /// [`RepoError::TooSlow`] if events that were not read yet are not kept any more; [`RepoError::Corrupt`] for damage;
    /// the disk's.
    pub async fn next_events(&self, cursor: EventCursor) -> Result<(Vec<Event>, EventCursor), RepoError> {
        self.next_events_within(cursor, PAGE_BYTES).await
    }

    /// As [`next_events`](Self::next_events), with pages of some `bytes`; one event is returned even if it is longer.
    ///
    /// # Errors
    /// As [`next_events`](Self::next_events).
    pub async fn next_events_within(
        &self,
        cursor: EventCursor,
        bytes: usize,
    ) -> Result<(Vec<Event>, EventCursor), RepoError> {
        let view = self.view();
        blocking(move || read(&view, cursor, usize::MAX, bytes)).await
    }

    /// At most `limit` events after `seq`, in order.
    ///
    /// # Errors
    /// As [`next_events`](Self::next_events).
    pub async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, RepoError> {
        let view = self.view();
        blocking(move || {
            let mut cursor = EventCursor::after(&view, seq);
            let mut events = Vec::new();
            while events.len() < limit {
                let (page, next) = read(&view, cursor, limit - events.len(), PAGE_BYTES)?;
                if page.is_empty() {
                    break;
                }
                events.extend(page);
                cursor = next;
            }
            Ok(events)
        })
        .await
    }
}

/// See [`HoldRepo::lacks`]; `found` is the newest event at the opening.
pub(crate) fn lacks(view: &View, known: &KnownEvent, found: u64) -> Result<bool, RepoError> {
    let seq = known.seq;
    if known.log_id != data_encoding::HEXLOWER.encode(&view.log_id) {
        return Ok(seq > found);
    }
    // Older events are not kept, and whether it was one of them cannot be known any more.
    if seq <= view.dropped_seq {
        return Ok(false);
    }
    let before = EventCursor::after(view, seq.saturating_sub(1));
    let (events, _) = read(view, before, 1, PAGE_BYTES)?;
    Ok(events.first().is_none_or(|event| event.seq != seq))
}

fn read(
    view: &View,
    cursor: EventCursor,
    limit: usize,
    page_bytes: usize,
) -> Result<(Vec<Event>, EventCursor), RepoError> {
    let oldest = view.segments.first().map_or(0, |segment| segment.number);
    if cursor.position.segment < oldest && cursor.seq < view.dropped_seq {
        return Err(RepoError::TooSlow);
    }
    let mut reader = view.reader(cursor.position);
    let mut events = Vec::new();
    let (mut bytes, mut seq) = (0, cursor.seq);
    while bytes < page_bytes
        && events.len() < limit
        && let Some(entry) = reader.next_entry()?
    {
        if entry.header.seq <= cursor.seq {
            continue;
        }
        let frame = entry.header.frame(entry.bytes).map_err(|damage| {
            RepoError::corrupt(format!(
                "the log is damaged in {}: {}",
                entry.header.position, damage.0
            ))
        })?;
        let frame = Bytes::copy_from_slice(frame);
        seq = entry.header.seq;
        bytes += frame.len();
        events.push(Event {
            seq,
            frame,
            next: reader.position(),
        });
    }
    Ok((
        events,
        EventCursor {
            position: reader.position(),
            seq,
        },
    ))
}
