//! Comparisons of every account with its own server, when a stream may have left out events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use atcr_atproto::clock::{Clock, moved};
use atcr_index::IndexError;
use atcr_index::change::Lane;
use atcr_index::ports::WorkQueue;
use chrono::{DateTime, TimeDelta, Utc};

/// The least time between two comparisons because of one source, whatever it says.
const PERIOD: TimeDelta = TimeDelta::hours(1);

/// Queues every account. Clones share what was queued already.
#[derive(Clone)]
pub(crate) struct Audits {
    queue: Arc<dyn WorkQueue>,
    clock: Arc<dyn Clock>,
    sources: Arc<Mutex<HashMap<String, State>>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    last: Option<DateTime<Utc>>,
    /// Events were left out since.
    is_owed: bool,
}

impl Audits {
    pub(crate) fn new(queue: Arc<dyn WorkQueue>, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue,
            clock,
            sources: Arc::default(),
        }
    }

    /// Queues every account because `source` may have left out events: now, or with [`Audits::queue_owed`] when [`PERIOD`] has passed
    /// since the last time.
    pub(crate) async fn queue_all(&self, source: &str) -> Result<(), IndexError> {
        self.change(source, |state| state.is_owed = true);
        self.queue_owed(source).await
    }

    /// Queues every account if events were left out and it is time.
    pub(crate) async fn queue_owed(&self, source: &str) -> Result<(), IndexError> {
        let now = self.clock.now();
        let State { last, is_owed } = self.change(source, |state| *state);
        // A last time that has not come yet is a clock's fault.
        let is_soon = last.is_some_and(|last| (last..moved(last, PERIOD)).contains(&now));
        if !is_owed || is_soon {
            return Ok(());
        }
        let accounts = self.queue.enqueue_all(Lane::Audit, now).await?;
        let done = State {
            last: Some(now),
            is_owed: false,
        };
        self.change(source, |state| *state = done);
        if accounts > 0 {
            tracing::info!(
                source,
                accounts,
                "events may be missing; every account is compared with its server"
            );
        }
        Ok(())
    }

    fn change<T>(&self, source: &str, change: impl FnOnce(&mut State) -> T) -> T {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        change(sources.entry(source.to_owned()).or_default())
    }
}
