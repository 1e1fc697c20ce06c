//! The newest events in memory.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use atcr_hold_pds::Event;

/// Bytes of events that are kept.
const KEEP_BYTES: usize = 8 * 1024 * 1024;

/// The newest events, without a gap between them.
#[derive(Debug)]
pub(super) struct Recent(RwLock<Ring>);

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    bytes: usize,
    /// All later events are in `events`.
    after: u64,
}

impl Recent {
    /// No events yet, those after `seq` to come.
    pub(super) fn new(seq: u64) -> Self {
        Self(RwLock::new(Ring {
            events: VecDeque::new(),
            bytes: 0,
            after: seq,
        }))
    }

    /// Forgets all; those after `seq` come next.
    pub(super) fn restart(&self, seq: u64) {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *ring = Ring {
            events: VecDeque::new(),
            bytes: 0,
            after: seq,
        };
    }

    /// The events that follow those taken so far.
    pub(super) fn push(&self, events: Vec<Event>) {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += events.iter().map(|event| event.frame.len()).sum::<usize>();
        ring.events.extend(events);
        while ring.bytes > KEEP_BYTES
            && ring.events.len() > 1
            && let Some(event) = ring.events.pop_front()
        {
            ring.bytes -= event.frame.len();
            ring.after = event.seq;
        }
    }

    /// Events after `seq`, some `bytes` of them; `None` if the next one is not here any more.
    pub(super) fn after(&self, seq: u64, bytes: usize) -> Option<Vec<Event>> {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if seq < ring.after {
            return None;
        }
        let mut taken = 0;
        let from = ring.events.partition_point(|event| event.seq <= seq);
        let events = ring.events.range(from..).take_while(|event| {
            let is_first = taken == 0;
            taken += event.frame.len();
            is_first || taken <= bytes
        });
        Some(events.cloned().collect())
    }
}
