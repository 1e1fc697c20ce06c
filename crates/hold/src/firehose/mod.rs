//! The events of the hold's repository for those who follow it.
//!
//! - [`Firehose`]: who follows, and how many may
//! - [`Subscription`]: one follower, which is a position in the log
//! - `recent`: the newest events in memory, which all who keep up share
//!
//! A follower costs no queue. One that is behind reads the log, and ends when the retention of the log passes it.

mod recent;
mod subscription;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc, PoisonError};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_hold_pds::{EventCursor, EventStart, HoldRepo, RepoError};
use atcr_repo::firehose::is_identity;
use atcr_server::Shutdown;
use atcr_server::client_address::ClientAddress;
use atcr_server::client_places::{ClientPlace, ClientPlaces, NoPlace};
use atcr_server::supervise::Task;
use tokio::sync::{Mutex, Semaphore, watch};

use recent::Recent;
pub use subscription::{Page, Subscription};

/// The name of the work that reads new events for all.
const FOLLOW: Task = Task::new("firehose");
/// Subscribers at the moment.
const SUBSCRIBERS: &str = "hold_firehose_subscribers";
/// Seconds by which the events that the slowest subscriber has got are older than the newest one.
const LAG: &str = "hold_firehose_lag_seconds";
/// How often the lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(5);
/// Subscribers that read the log at the same time; others wait.
const READERS: usize = 8;
/// Subscribers that are told of a repository that is new or at another host. Relays come first: they are asked to.
const INTRODUCTIONS: u32 = 8;
/// With more subscribers than this, events are gathered for [`GATHER_FOR`] before they are sent.
const GATHER_ABOVE: usize = 100;
const GATHER_FOR: Duration = Duration::from_millis(10);
/// How long after a failure new events are read again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How many may follow, and how long one may be silent.
#[derive(Clone, Debug)]
pub struct FirehoseLimits {
    /// Places for subscribers.
    pub places: ClientPlaces,
    /// How often a subscriber is pinged.
    pub ping_interval: Duration,
    /// How long a subscriber may give no sign of life: no answer to a ping, no byte taken that had to wait.
    pub pong_within: Duration,
    /// How long no event has to have come for a subscriber without a cursor to get one.
    pub quiet_for: Duration,
    /// How long the rest of the events is sent when the process stops.
    pub drain_within: Duration,
}

/// As many subscribers as the hold takes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManySubscribers {
    /// In total.
    #[error("this hold has as many subscribers as it takes; try again later")]
    Total,
    /// Of this address.
    #[error("this address has as many subscriptions as one may have")]
    OfAddress,
    /// Of the network around it.
    #[error("the network of this address has as many subscriptions as one may have")]
    OfNetwork,
}

impl From<NoPlace> for TooManySubscribers {
    fn from(none: NoPlace) -> Self {
        match none {
            NoPlace::InTotal => Self::Total,
            NoPlace::OfClient => Self::OfAddress,
            NoPlace::OfNetwork => Self::OfNetwork,
        }
    }
}

/// The events, and who follows them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Firehose {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    repo: HoldRepo,
    limits: FirehoseLimits,
    clock: Arc<dyn Clock>,
    recent: Recent,
    /// The newest event that followers may take.
    newest: watch::Sender<u64>,
    /// Counts `#identity` events.
    identity_changes: watch::Sender<u64>,
    readers: Arc<Semaphore>,
    introductions: Mutex<Introductions>,
    followers: sync::Mutex<Followers>,
}

/// Who was told what the repository is. One at a time: all that are there hear it.
#[derive(Debug)]
struct Introductions {
    /// Subscribers without a cursor that are still told, since none can have a position in the repository.
    left: u32,
    /// The newest event that told them.
    newest: u64,
}

#[derive(Debug, Default)]
struct Followers {
    next_id: u64,
    /// The newest event that each subscriber has got.
    progress: HashMap<u64, Arc<AtomicU64>>,
}

/// The place of one subscriber; dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    firehose: Firehose,
    id: u64,
    progress: Arc<AtomicU64>,
    _place: ClientPlace,
}

/// Where a subscriber begins.
#[derive(Debug)]
pub enum Begin {
    /// With the event after the one it named, or with the next one.
    At(Subscription),
    /// With the oldest event: some after the one it named are not kept any more.
    Outdated(Subscription),
    /// Nowhere: it named an event that is newer than all there are.
    Future,
}

impl Firehose {
    /// Follows `repo` until it is closed.
    #[must_use]
    pub fn start(repo: HoldRepo, limits: FirehoseLimits, clock: Arc<dyn Clock>, shutdown: &Shutdown) -> Self {
        let head = now(&repo);
        let firehose = Self {
            inner: Arc::new(Inner {
                recent: Recent::new(head.seq()),
                newest: watch::Sender::new(head.seq()),
                identity_changes: watch::Sender::new(0),
                readers: Arc::new(Semaphore::new(READERS)),
                introductions: Mutex::new(Introductions {
                    left: if repo.was_unknown() { INTRODUCTIONS } else { 0 },
                    newest: 0,
                }),
                followers: sync::Mutex::default(),
                repo,
                limits,
                clock,
            }),
        };
        // Subscribers get the last events during the shutdown, so what ends this is the repository's end.
        tokio::spawn(firehose.clone().keep_following(head));
        let measured = firehose.clone();
        Task::new("firehose_lag").every(LAG_INTERVAL, shutdown, move || {
            measured.measure_lag();
            std::future::ready(Ok::<(), RepoError>(()))
        });
        firehose
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &FirehoseLimits {
        &self.inner.limits
    }

    /// A place for one more subscriber that is `client`, if it came over the network.
    ///
    /// # Errors
    /// [`TooManySubscribers`] while all are taken that it may have.
    pub fn admit(&self, client: Option<&ClientAddress>) -> Result<Place, TooManySubscribers> {
        let place = self.inner.limits.places.admit(client)?;
        let mut followers = self.followers();
        let id = followers.next_id;
        followers.next_id += 1;
        let progress = Arc::new(AtomicU64::new(u64::MAX));
        followers.progress.insert(id, Arc::clone(&progress));
        count_subscribers(&followers);
        Ok(Place {
            firehose: self.clone(),
            id,
            progress,
            _place: place,
        })
    }

    /// Begins after the event `cursor`; 0 is before the oldest one, `None` after the newest.
    #[must_use]
    pub fn subscribe(&self, place: Place, cursor: Option<u64>) -> Begin {
        match self.inner.repo.event_cursor(cursor) {
            EventStart::Future => Begin::Future,
            EventStart::At(cursor) => Begin::At(Subscription::new(place, cursor)),
            EventStart::Outdated(cursor) => Begin::Outdated(Subscription::new(place, cursor)),
        }
    }

    /// A relay that never got an event of this host has no cursor, does not know the repository before it hears of it, and forgets the
    /// host if it hears nothing. It is told what the repository is when the hold was quiet for long, and when the repository is new or at
    /// another host than before. `seq` is the newest event that the subscriber does not get: one that gets what another was told is told
    /// nothing more.
    ///
    /// # Errors
    /// The disk's.
    pub async fn break_silence(&self, seq: u64) -> Result<(), RepoError> {
        let inner = &*self.inner;
        let mut introductions = inner.introductions.lock().await;
        if introductions.newest > seq {
            return Ok(());
        }
        let quiet_for = inner
            .clock
            .now_micros()
            .saturating_sub(inner.repo.newest_event_at());
        let is_expected = introductions.left > 0;
        if !is_expected && Duration::from_micros(quiet_for) < inner.limits.quiet_for {
            return Ok(());
        }
        inner.repo.introduce().await?;
        introductions.left = introductions.left.saturating_sub(1);
        introductions.newest = self.head();
        Ok(())
    }

    /// The newest event of the repository.
    #[must_use]
    pub fn head(&self) -> u64 {
        *self.inner.repo.watch_seq().borrow()
    }

    /// The newest event that each subscriber has got; 0 for one that has got none.
    #[must_use]
    pub fn subscribers(&self) -> Vec<u64> {
        let followers = self
            .inner
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        followers
            .progress
            .values()
            .map(|progress| progress.load(Ordering::Relaxed))
            .collect()
    }

    /// Counts up when the DID document or the handle has changed.
    #[must_use]
    pub fn identity_changes(&self) -> watch::Receiver<u64> {
        self.inner.identity_changes.subscribe()
    }

    fn followers(&self) -> sync::MutexGuard<'_, Followers> {
        self.inner
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_following(self, mut head: EventCursor) {
        while FOLLOW.catch("events", self.follow(head)).await.is_none() {
            tokio::time::sleep(RETRY_AFTER).await;
            head = now(&self.inner.repo);
            self.inner.recent.restart(head.seq());
        }
    }

    /// Takes new events into memory as they are written, until the repository is closed.
    async fn follow(&self, head: EventCursor) {
        let inner = &*self.inner;
        let mut cursor = head;
        let mut written = inner.repo.watch_seq();
        while written.wait_for(|seq| *seq > cursor.seq()).await.is_ok() {
            if self.followers().progress.len() > GATHER_ABOVE {
                tokio::time::sleep(GATHER_FOR).await;
            }
            match inner.repo.next_events(cursor).await {
                Ok((events, next)) => {
                    if events.iter().any(|event| is_identity(&event.frame)) {
                        inner.identity_changes.send_modify(|count| *count += 1);
                    }
                    inner.recent.push(events);
                    cursor = next;
                }
                Err(RepoError::TooSlow) => {
                    cursor = now(&inner.repo);
                    inner.recent.restart(cursor.seq());
                }
                Err(error) => {
                    tracing::error!(%error, "new events cannot be read; subscribers wait");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            }
            inner.newest.send_replace(cursor.seq());
        }
    }

    /// The seq of an event is the time of its commit, or a little more.
    fn measure_lag(&self) {
        let head = self.head();
        let slowest = self
            .followers()
            .progress
            .values()
            .map(|progress| progress.load(Ordering::Relaxed))
            .min();
        let behind = head.saturating_sub(slowest.unwrap_or(head).min(head));
        metrics::gauge!(LAG).set(Duration::from_micros(behind).as_secs_f64());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut followers = self.firehose.followers();
        followers.progress.remove(&self.id);
        count_subscribers(&followers);
    }
}

fn count_subscribers(followers: &Followers) {
    let count = u32::try_from(followers.progress.len()).unwrap_or(u32::MAX);
    metrics::gauge!(SUBSCRIBERS).set(f64::from(count));
}

/// The place after the newest event.
fn now(repo: &HoldRepo) -> EventCursor {
    loop {
        // Without a seq there is always a place.
        if let EventStart::At(cursor) = repo.event_cursor(None) {
            return cursor;
        }
    }
}
