//! One stream: frames from its socket, handed on in batches, from the first of its places that can be followed.
//!
//! While the index is slower than the socket, the socket is not read: at most some megabytes of frames wait here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_index::IndexError;
use atcr_index::change::Fence;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

use crate::health::StreamHealth;

/// Frames of one batch.
const BATCH: usize = 1_000;

/// Bytes of frames that wait.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Pauses before a connection is made again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Events, by source and by what became of them.
const EVENTS: &str = "atcr_index_events_total";

/// A stream that ended or could not begin.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StreamError(pub String);

/// The frames of one connection.
#[async_trait]
pub trait Events: Send {
    /// The next frame; `None` when the other side has closed.
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError>;
}

/// Where frames come from.
#[async_trait]
pub trait EventSource: Send + Sync {
    /// Connects; the first frame is the one behind `cursor`, or the next one that happens.
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError>;
}

/// A place where the stream is to be had.
#[derive(Clone)]
pub struct Place {
    /// Its name: its cursor is kept by it, and logs and metrics show it.
    pub name: String,
    /// Its frames.
    pub events: Arc<dyn EventSource>,
}

/// The right to write what a source says, and to move its cursor. It ends when another process takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The source.
    pub source: String,
    /// Which term it is.
    pub epoch: i64,
    /// Where it goes on.
    pub cursor: Option<i64>,
    /// Events before the first one may be missing.
    pub has_gap: bool,
}

impl Term {
    /// What is written in this term, with the cursor moved to `cursor`, or left where it is.
    #[must_use]
    pub fn fence(&self, cursor: Option<i64>) -> Fence {
        Fence {
            source: self.source.clone(),
            epoch: self.epoch,
            cursor,
        }
    }
}

/// What a batch said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// When its newest event happened.
    pub newest: Option<DateTime<Utc>>,
}

/// What frames become.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Begins a term at the place.
    ///
    /// # Errors
    /// The index's.
    async fn begin(&self, place: &str) -> Result<Term, IndexError>;

    /// The place is connected. What it did not tell is looked for now, and not before: a place that is down costs nothing.
    ///
    /// # Errors
    /// The index's.
    async fn connected(&self, _term: &Term) -> Result<(), IndexError> {
        Ok(())
    }

    /// Takes frames in, in order, and moves the cursor behind them. When it returns they are in the index, or their accounts queued.
    ///
    /// # Errors
    /// [`FollowError`]: the connection is left.
    async fn take(&self, term: &Term, frames: Vec<Bytes>) -> Result<Taken, FollowError>;
}

/// Follows one stream.
#[derive(Clone)]
pub struct Follower {
    places: Arc<[Place]>,
    intake: Arc<dyn Intake>,
    clock: Arc<dyn Clock>,
    health: StreamHealth,
}

/// A frame, and its part of the bytes that may wait.
struct Waiting {
    frame: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// Follows the stream at the first of `places` that works, into `intake`.
    #[must_use]
    pub fn new(places: Vec<Place>, intake: Arc<dyn Intake>, clock: Arc<dyn Clock>) -> Self {
        let health = StreamHealth::new(places.first().map_or("", |place| &place.name));
        Self {
            places: places.into(),
            intake,
            clock,
            health,
        }
    }

    /// How it goes.
    #[must_use]
    pub fn health(&self) -> StreamHealth {
        self.health.clone()
    }

    /// Follows until the shutdown, connecting again whenever the stream ends. A place that gives nothing is left for the next one.
    pub fn spawn(self, shutdown: &Shutdown) {
        let stop = shutdown.soft().clone();
        Task::new("follow_stream").spawn(shutdown, async move {
            let mut pause = FIRST_PAUSE;
            let mut places = self.places.iter().cycle();
            let Some(mut place) = places.next() else { return };
            loop {
                let before = self.health.frames();
                let ended = tokio::select! {
                    () = stop.cancelled() => return,
                    ended = self.follow_once(place) => ended,
                };
                self.health.left(&place.name);
                let frames = self.health.frames() - before;
                match ended {
                    Ok(()) => {
                        tracing::info!(
                            source = place.name,
                            frames,
                            "the stream closed; it is opened again"
                        );
                    }
                    Err(error) => {
                        tracing::warn!(source = place.name, frames, %error, "the stream cannot be followed now");
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(pause) => {}
                }
                if frames > 0 {
                    pause = FIRST_PAUSE;
                } else {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    let next = places.next().unwrap_or(place);
                    if next.name != place.name {
                        tracing::warn!(
                            source = place.name,
                            next = next.name,
                            "the stream is followed at its next place"
                        );
                        StreamHealth::moved_on(&place.name);
                    }
                    place = next;
                }
            }
        });
    }

    /// Follows one connection to `place` to its end.
    ///
    /// # Errors
    /// The stream's or the index's.
    pub async fn follow_once(&self, place: &Place) -> Result<(), FollowError> {
        let term = self.intake.begin(&place.name).await?;
        let mut events = place.events.connect(term.cursor).await?;
        self.health.connected(&place.name);
        self.intake.connected(&term).await?;
        let (sender, mut receiver) = mpsc::channel(BATCH);
        let room = Arc::new(Semaphore::new(WAITING_BYTES));
        let read = async move {
            while let Some(frame) = events.next().await? {
                let length = u32::try_from(frame.len().min(WAITING_BYTES)).unwrap_or(u32::MAX);
                let Ok(permit) = Arc::clone(&room).acquire_many_owned(length).await else {
                    break;
                };
                let waiting = Waiting {
                    frame,
                    _permit: permit,
                };
                if sender.send(waiting).await.is_err() {
                    break;
                }
            }
            Ok::<(), FollowError>(())
        };
        // It owns the receiver: when it ends, the reader ends too.
        let write = async move {
            let mut waiting = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut waiting, BATCH).await > 0 {
                let frames: Vec<Bytes> = waiting.iter().map(|waiting| waiting.frame.clone()).collect();
                let number = frames.len() as u64;
                let taken = self.intake.take(&term, frames).await?;
                self.health
                    .took(&place.name, number, taken.newest, self.clock.now());
                waiting.clear();
            }
            Ok::<(), FollowError>(())
        };
        let (read, written) = tokio::join!(read, write);
        written?;
        read
    }
}

/// Why a connection was left.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FollowError {
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Counts events of `source` by what became of them.
pub(crate) fn count(source: &str, outcome: &'static str, events: usize) {
    if events > 0 {
        metrics::counter!(EVENTS, "source" => source.to_owned(), "outcome" => outcome)
            .increment(events as u64);
    }
}
