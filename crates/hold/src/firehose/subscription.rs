//! One follower.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use atcr_hold_pds::{EventCursor, RepoError};
use bytes::Bytes;

use super::Place;

/// Bytes of a page: what a subscriber that takes nothing holds of the memory.
const PAGE_BYTES: usize = 64 * 1024;

/// A position in the events, and the place that it takes.
#[derive(Debug)]
pub struct Subscription {
    place: Place,
    cursor: EventCursor,
}

/// Events that follow each other.
#[derive(Debug)]
pub struct Page {
    /// Their messages, never empty.
    pub frames: Vec<Bytes>,
    after: EventCursor,
}

impl Subscription {
    pub(super) fn new(place: Place, cursor: EventCursor) -> Self {
        place.progress.store(cursor.seq(), Ordering::Relaxed);
        Self { place, cursor }
    }

    /// The newest event that was sent.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.cursor.seq()
    }

    /// Waits for the next events. Gives the same ones again until they are [`sent`](Self::sent).
    ///
    /// # Errors
    /// [`RepoError::TooSlow`] if they are not kept any more; the log's.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&self) -> Result<Page, RepoError> {
        let inner = &*self.place.firehose.inner;
        let mut newest = inner.newest.subscribe();
        loop {
            let seen = *newest.borrow_and_update();
            if let Some(page) = self.page().await? {
                return Ok(page);
            }
            // What is in the log and not in memory yet is announced in a moment.
            if newest.wait_for(|seq| *seq != seen).await.is_err() {
                return Err(RepoError::Closed);
            }
        }
    }

    /// The next events; `None` if there are none in memory at the moment.
    async fn page(&self) -> Result<Option<Page>, RepoError> {
        let recent = &self.place.firehose.inner.recent;
        let Some(events) = recent.after(self.cursor.seq(), PAGE_BYTES) else {
            return self.page_of_log().await;
        };
        Ok(events.last().map(|last| Page {
            after: last.cursor(),
            frames: events.iter().map(|event| event.frame.clone()).collect(),
        }))
    }

    /// The next events, also those that are not in memory yet; `None` if there are none.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn rest(&self) -> Result<Option<Page>, RepoError> {
        match self.page().await? {
            None => self.page_of_log().await,
            page => Ok(page),
        }
    }

    async fn page_of_log(&self) -> Result<Option<Page>, RepoError> {
        let inner = &*self.place.firehose.inner;
        let readers = Arc::clone(&inner.readers);
        let reader = readers.acquire_owned().await.map_err(|_| RepoError::Closed)?;
        let (repo, cursor) = (inner.repo.clone(), self.cursor);
        // A read that nobody waits for any more goes on, and keeps its place until it ends.
        let read = tokio::spawn(async move {
            let page = repo.next_events_within(cursor, PAGE_BYTES).await;
            drop(reader);
            page
        });
        let (events, after) = read.await.map_err(|_| RepoError::Closed)??;
        Ok((!events.is_empty()).then(|| Page {
            frames: events.into_iter().map(|event| event.frame).collect(),
            after,
        }))
    }

    /// The events of `page` were sent: the next ones follow.
    pub fn sent(&mut self, page: &Page) {
        self.cursor = page.after;
        self.place.progress.store(self.cursor.seq(), Ordering::Relaxed);
    }
}
