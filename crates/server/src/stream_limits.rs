//! Answers that are long streams: how many there are at once, and how long each may take.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Bounds streams of one kind. Clones share the bound.
#[derive(Clone)]
pub struct StreamLimits {
    slots: Arc<Semaphore>,
    longest: Duration,
}

/// A place for one stream. Dropping it, or the stream that was made with it, makes room for another.
#[derive(Debug)]
pub struct StreamSlot {
    slot: OwnedSemaphorePermit,
    longest: Duration,
}

impl StreamLimits {
    /// At most `at_once` streams, each of which may take `longest`.
    #[must_use]
    pub fn new(at_once: usize, longest: Duration) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS))),
            longest,
        }
    }

    /// A place for one more stream, or `None` while all are taken.
    #[must_use]
    pub fn admit(&self) -> Option<StreamSlot> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(StreamSlot {
            slot,
            longest: self.longest,
        })
    }
}

impl StreamSlot {
    /// `inner`, which keeps the place until it is dropped. When its time is over it ends with an error, so that the receiver does
    /// not take a partial body for a complete one.
    ///
    /// The time is checked when the stream is polled. If the receiver reads nothing at all, the listener closes the connection
    /// after its write timeout.
    pub fn bound<S, T, E>(self, inner: S) -> impl Stream<Item = io::Result<T>> + Send + use<S, T, E>
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let Self { slot, longest } = self;
        let running = Running {
            inner: Box::pin(inner),
            until: Instant::now() + longest,
            _slot: slot,
        };
        stream::unfold(Some(running), async |running| {
            let mut running = running?;
            // Looked at first: a stream that always has something ready would never be late otherwise.
            if Instant::now() < running.until
                && let Ok(item) = tokio::time::timeout_at(running.until, running.inner.next()).await
            {
                return Some((item?.map_err(io::Error::other), Some(running)));
            }
            tracing::info!("a long answer was cut off: its time is over");
            Some((Err(io::ErrorKind::TimedOut.into()), None))
        })
    }
}

struct Running<S> {
    inner: std::pin::Pin<Box<S>>,
    until: Instant,
    _slot: OwnedSemaphorePermit,
}

impl fmt::Debug for StreamLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamLimits")
            .field("free", &self.slots.available_permits())
            .field("longest", &self.longest)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_until_its_stream_is_dropped() {
        let limits = StreamLimits::new(1, Duration::from_mins(1));
        let slot = limits.admit().unwrap();
        assert!(limits.admit().is_none());
        let bound = slot.bound(stream::iter([Ok::<_, io::Error>(1)]));
        assert!(limits.admit().is_none());
        drop(bound);
        assert!(limits.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_time_is_over_ends_with_an_error_and_gives_its_place_back() {
        let limits = StreamLimits::new(1, Duration::from_mins(1));
        let slow = stream::unfold(0, async |n| {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Some((Ok::<_, io::Error>(n), n + 1))
        });
        let bound = limits.admit().unwrap().bound(slow);
        let got: Vec<Result<i32, io::ErrorKind>> = bound
            .map(|item| item.map_err(|error| error.kind()))
            .collect()
            .await;
        assert_eq!(got, [Ok(0), Ok(1), Err(io::ErrorKind::TimedOut)]);
        assert!(limits.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_takes_its_time_does_not_get_more_of_it() {
        let limits = StreamLimits::new(1, Duration::from_mins(1));
        let ready = stream::repeat_with(|| Ok::<_, io::Error>(1));
        let mut bound = Box::pin(limits.admit().unwrap().bound(ready));
        assert_eq!(bound.next().await.unwrap().unwrap(), 1);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(
            bound.next().await.unwrap().unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert!(bound.next().await.is_none());
    }
}
