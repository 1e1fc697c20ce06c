//! Answers that are long streams: how many there are at once, how long each may take, and how slowly it may be read.

use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::Instant;

use crate::client_address::ClientAddress;
use crate::client_places::{ClientPlace, ClientPlaces, NoPlace};

/// Bytes a second that a receiver has to take, on the average of the time in which it is waited for.
const SLOWEST: u64 = 16 * 1024;
/// How much of that time has to have passed until it counts.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place for one stream. Dropping it, or the stream that was made with it, makes room for another.
#[derive(Debug)]
pub struct StreamSlot {
    place: ClientPlace,
    longest: Duration,
}

/// Bounds streams of one kind, of which one client has a share at most. Clones share the bound.
#[derive(Clone, Debug)]
pub struct ClientStreams {
    places: ClientPlaces,
    longest: Duration,
}

impl ClientStreams {
    /// As many streams at once as there are `places`, each of which may take `longest`.
    #[must_use]
    pub fn new(places: ClientPlaces, longest: Duration) -> Self {
        Self { places, longest }
    }

    /// A place for one more stream to `client`; see [`ClientPlaces::admit`].
    ///
    /// # Errors
    /// [`NoPlace`]
    pub fn admit(&self, client: Option<&ClientAddress>) -> Result<StreamSlot, NoPlace> {
        Ok(StreamSlot {
            place: self.places.admit(client)?,
            longest: self.longest,
        })
    }
}

impl StreamSlot {
    /// `inner`, which keeps the place until it is dropped. When its time is over, or when its receiver takes less than 16 KiB a second
    /// of it, it ends with an error, so that the receiver does not take a partial body for a complete one.
    ///
    /// Both are checked when the stream is polled. If the receiver takes next to nothing, the listener closes the connection after its
    /// write timeout.
    pub fn bound<S, T, E>(self, inner: S) -> impl Stream<Item = io::Result<T>> + Send + use<S, T, E>
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: AsRef<[u8]> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let Self { place, longest } = self;
        let running = Running {
            inner: Box::pin(inner),
            until: Instant::now() + longest,
            pace: Pace::default(),
            _place: place,
        };
        stream::unfold(Some(running), async |running| {
            let mut running = running?;
            if running.pace.is_too_slow() {
                tracing::info!("a long answer was cut off: its receiver is too slow");
                return Some((Err(io::ErrorKind::TimedOut.into()), None));
            }
            // Looked at first: a stream that always has something ready would never be late otherwise.
            if Instant::now() < running.until
                && let Ok(item) = tokio::time::timeout_at(running.until, running.inner.next()).await
            {
                let item = item?.map_err(io::Error::other);
                running
                    .pace
                    .gave(item.as_ref().map_or(0, |item| item.as_ref().len()));
                return Some((item, Some(running)));
            }
            tracing::info!("a long answer was cut off: its time is over");
            Some((Err(io::ErrorKind::TimedOut.into()), None))
        })
    }
}

struct Running<S> {
    inner: std::pin::Pin<Box<S>>,
    until: Instant,
    pace: Pace,
    _place: ClientPlace,
}

/// How fast the receiver takes what it is given. The time in which the stream has nothing to give does not count.
#[derive(Default)]
struct Pace {
    given_at: Option<Instant>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn gave(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.given_at = Some(Instant::now());
    }

    fn is_too_slow(&mut self) -> bool {
        self.waited += self.given_at.take().map(|at| at.elapsed()).unwrap_or_default();
        if self.waited < PATIENCE {
            return false;
        }
        let (waited, bytes) = (std::mem::take(&mut self.waited), std::mem::take(&mut self.bytes));
        bytes < waited.as_secs() * SLOWEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address_gate::Exempt;

    /// One place.
    fn one(longest: Duration) -> ClientStreams {
        ClientStreams::new(ClientPlaces::new(1, 1, Exempt::default()), longest)
    }

    #[tokio::test]
    async fn a_place_is_taken_until_its_stream_is_dropped() {
        let limits = one(Duration::from_mins(1));
        let slot = limits.admit(None).unwrap();
        assert!(limits.admit(None).is_err());
        let bound = slot.bound(stream::iter([Ok::<_, io::Error>("a")]));
        assert!(limits.admit(None).is_err());
        drop(bound);
        assert!(limits.admit(None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_time_is_over_ends_with_an_error_and_gives_its_place_back() {
        let limits = one(Duration::from_mins(1));
        let slow = stream::unfold(0, async |n| {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Some((Ok::<_, io::Error>([n]), n + 1))
        });
        let bound = limits.admit(None).unwrap().bound(slow);
        let got: Vec<Result<[u8; 1], io::ErrorKind>> = bound
            .map(|item| item.map_err(|error| error.kind()))
            .collect()
            .await;
        assert_eq!(got, [Ok([0]), Ok([1]), Err(io::ErrorKind::TimedOut)]);
        assert!(limits.admit(None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_takes_its_time_does_not_get_more_of_it() {
        let limits = one(Duration::from_mins(1));
        let ready = stream::repeat_with(|| Ok::<_, io::Error>(vec![7_u8; 1024 * 1024]));
        let mut bound = Box::pin(limits.admit(None).unwrap().bound(ready));
        bound.next().await.unwrap().unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(
            bound.next().await.unwrap().unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert!(bound.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_takes_next_to_nothing_loses_its_place() {
        let read = async |pause: Duration| {
            let limits = one(Duration::from_hours(1));
            let ready = stream::repeat_with(|| Ok::<_, io::Error>(vec![7_u8; 64 * 1024])).take(100);
            let mut bound = Box::pin(limits.admit(None).unwrap().bound(ready));
            let mut taken = 0;
            while let Some(item) = bound.next().await {
                item.map_err(|error| (error.kind(), taken))?;
                taken += 1;
                tokio::time::sleep(pause).await;
            }
            Ok(taken)
        };
        assert_eq!(read(Duration::from_secs(3)).await, Ok(100));
        assert_eq!(
            read(Duration::from_secs(5)).await,
            Err((io::ErrorKind::TimedOut, 4))
        );
    }
}
