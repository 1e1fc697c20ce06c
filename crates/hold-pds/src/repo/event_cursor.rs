//! Where a follower of the events is, and what becomes of one that asks for events that are not kept any more.

use super::HoldRepo;
use crate::blocks::View;
use crate::log::Position;

/// A place in the events that moves on: all that a subscriber costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    pub(super) position: Position,
    /// Events up to this one were seen.
    pub(super) seq: u64,
}

impl EventCursor {
    /// Before the oldest event after `seq` that is kept.
    pub(super) fn after(view: &View, seq: u64) -> Self {
        let seq = seq.max(view.dropped_seq);
        Self {
            position: view.seek(seq),
            seq,
        }
    }

    /// The newest event that was read with this cursor.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStart {
    /// With the event after the one that was asked for.
    At(EventCursor),
    /// With the oldest event that is kept: some in between are not kept any more.
    Outdated(EventCursor),
    /// The event that was asked for is newer than all there are.
    Future,
}

impl HoldRepo {
    /// Where to begin for the events after `seq`; `None` for those from now on. 0 is the oldest there is.
    #[must_use]
    pub fn event_cursor(&self, seq: Option<u64>) -> EventStart {
        let view = self.view();
        let Some(seq) = seq else {
            return EventStart::At(EventCursor {
                position: view.end,
                seq: view.last.0,
            });
        };
        if seq > view.last.0 {
            return EventStart::Future;
        }
        let cursor = EventCursor::after(&view, seq);
        if seq > 0 && seq < view.dropped_seq {
            EventStart::Outdated(cursor)
        } else {
            EventStart::At(cursor)
        }
    }
}
