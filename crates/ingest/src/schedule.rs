//! Accounts that are due, worked on side by side.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::{Clock, moved};
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::change::{Lane, QueuedWork};
use atcr_index::ports::ClaimedWork;
use atcr_server::supervise::Task;
use atcr_server::{KeyedLocks, Shutdown};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use crate::Index;
use crate::catch_up::{CatchUp, CatchUpError, Outcome};
use crate::source::SourceError;

/// Accounts at once. Requests to one host are bounded by the HTTP client.
const AT_ONCE: usize = 8;

/// How long an account is one worker's.
const CLAIM: TimeDelta = TimeDelta::minutes(30);

/// How often the queue is looked at when nothing says that it has something.
const PERIOD: Duration = Duration::from_secs(1);

/// How often an account that readers look at is compared with its head, and how many accounts that is remembered of.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
const LOOKED_AT: u64 = 10_000;

/// Turns of one account within [`TURNS_WITHIN`] that events get it at once. Then it has one each [`THROTTLED`], and of how many accounts
/// that is remembered.
const TURNS: u32 = 60;
const TURNS_WITHIN: TimeDelta = TimeDelta::hours(1);
const THROTTLED: TimeDelta = TimeDelta::minutes(2);
const COUNTED: u64 = 20_000;

/// The first pause after a failure, and the longest.
const FIRST_RETRY: TimeDelta = TimeDelta::seconds(15);
const LONGEST_RETRY: TimeDelta = TimeDelta::hours(6);

/// Works on the accounts of the queue.
#[derive(Clone)]
pub struct Scheduler {
    index: Index,
    catch_up: CatchUp,
    clock: Arc<dyn Clock>,
    woken: Arc<Notify>,
    slots: Arc<Semaphore>,
    /// One catch-up of an account at a time.
    lanes: Arc<KeyedLocks<Did>>,
    /// Accounts that readers looked at a moment ago.
    looked_at: moka::sync::Cache<Did, ()>,
    /// Turns of accounts, since when they are counted.
    turns: moka::sync::Cache<Did, (DateTime<Utc>, u32)>,
}

impl Scheduler {
    /// Works on the queue of `index` with `catch_up`.
    #[must_use]
    pub fn new(index: Index, catch_up: CatchUp, clock: Arc<dyn Clock>) -> Self {
        Self {
            index,
            catch_up,
            clock,
            woken: Arc::default(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            lanes: Arc::default(),
            looked_at: moka::sync::Cache::builder()
                .max_capacity(LOOKED_AT)
                .time_to_live(LOOK_AGAIN)
                .build(),
            turns: moka::sync::Cache::builder()
                .max_capacity(COUNTED)
                .time_to_idle(Duration::from_hours(2))
                .build(),
        }
    }

    /// Works until the shutdown.
    pub fn spawn(self, shutdown: &Shutdown) {
        let stop = shutdown.soft().clone();
        let tasks = shutdown.clone();
        Task::new("index_accounts").spawn(shutdown, async move {
            loop {
                if let Err(error) = self.start_due(&tasks).await {
                    tracing::warn!(%error, "the queue of accounts cannot be read; it is read again");
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.woken.notified() => {}
                    () = sleep(PERIOD) => {}
                }
            }
        });
    }

    /// Starts as many accounts as there is room for.
    async fn start_due(&self, tasks: &Shutdown) -> Result<(), IndexError> {
        let room = self.slots.available_permits();
        if room == 0 {
            return Ok(());
        }
        let now = self.clock.now();
        let limit = u32::try_from(room).unwrap_or(1);
        for work in self.index.queue.claim(limit, now, moved(now, CLAIM)).await? {
            let Ok(permit) = Arc::clone(&self.slots).acquire_owned().await else {
                return Ok(());
            };
            let scheduler = self.clone();
            Task::new("index_account").spawn(tasks, async move {
                let _permit = permit;
                scheduler.work_on(&work).await;
                scheduler.woken.notify_one();
            });
        }
        Ok(())
    }

    /// Does the work that is due now, one account after the other, and returns how many there were. For commands and tests.
    ///
    /// # Errors
    /// The index's.
    pub async fn drain(&self) -> Result<u64, IndexError> {
        let mut done = 0;
        loop {
            let now = self.clock.now();
            let claimed = self.index.queue.claim(1, now, moved(now, CLAIM)).await?;
            let Some(work) = claimed.first() else {
                return Ok(done);
            };
            self.work_on(work).await;
            done += 1;
        }
    }

    async fn work_on(&self, work: &ClaimedWork) {
        let did = &work.did;
        if self.has_had_enough(work) {
            let settled = self
                .index
                .queue
                .retry(did, moved(self.clock.now(), THROTTLED))
                .await;
            if let Err(error) = settled {
                tracing::warn!(%did, %error, "the queue of accounts could not be written");
            }
            return;
        }
        let outcome = match work.lane {
            Lane::Discovered => {
                let _lane = self.lanes.lock(did).await;
                self.catch_up.run_found(did).await
            }
            Lane::Asked | Lane::Gap | Lane::Audit => self.run(did).await,
        };
        let label = match &outcome {
            Ok(Outcome::Current) => "current",
            Ok(Outcome::Caught { .. }) => "caught",
            Ok(Outcome::Hidden(_)) => "hidden",
            Ok(Outcome::WentBack) => "went_back",
            Ok(Outcome::Moving) => "moving",
            Ok(Outcome::WithoutRecords) => "without_records",
            Err(CatchUpError::Source(_)) => "source_failed",
            Err(CatchUpError::Index(_)) => "index_failed",
        };
        metrics::counter!("atcr_index_accounts_total", "outcome" => label).increment(1);
        let settled = match outcome {
            Ok(Outcome::Moving) => self.retry(work, None).await,
            Ok(_) => self.index.queue.finish(did).await,
            Err(CatchUpError::Source(SourceError::Unreadable(reason))) => {
                tracing::debug!(%did, reason, "an account cannot be read");
                self.index.queue.finish(did).await
            }
            Err(CatchUpError::Source(SourceError::Later { detail, after })) => {
                tracing::debug!(%did, detail, "an account is read later");
                self.retry(work, after).await
            }
            Err(CatchUpError::Index(error)) => {
                tracing::warn!(%did, %error, "an account could not be written to the index");
                self.retry(work, None).await
            }
        };
        if let Err(error) = settled {
            // The claim ends by itself.
            tracing::warn!(%did, %error, "the queue of accounts could not be written");
        }
    }

    /// Whether events make the account due so often that it has to wait. People do not wait for it.
    fn has_had_enough(&self, work: &ClaimedWork) -> bool {
        if work.lane == Lane::Asked {
            return false;
        }
        let now = self.clock.now();
        let (since, turns) = self.turns.get(&work.did).unwrap_or((now, 0));
        let (since, turns) = if now.signed_duration_since(since) > TURNS_WITHIN {
            (now, 0)
        } else {
            (since, turns)
        };
        // The turn after a wait is taken.
        let is_enough = turns >= TURNS && work.attempts == 0;
        self.turns
            .insert(work.did.clone(), (since, turns.saturating_add(1)));
        is_enough
    }

    async fn retry(&self, work: &ClaimedWork, after: Option<Duration>) -> Result<(), IndexError> {
        let doubled = FIRST_RETRY * 2_i32.saturating_pow(work.attempts.min(12));
        let asked = after
            .and_then(|after| TimeDelta::from_std(after).ok())
            .unwrap_or_default();
        let pause = doubled.max(asked).min(LONGEST_RETRY);
        self.index
            .queue
            .retry(&work.did, moved(self.clock.now(), pause))
            .await
    }

    async fn run(&self, did: &Did) -> Result<Outcome, CatchUpError> {
        let _lane = self.lanes.lock(did).await;
        self.catch_up.run(did).await
    }

    /// A reader looks at an account. One that is not listed yet is listed, and waited for up to `patience`; true if its rows may be others
    /// now. One that is listed is compared with its head afterwards, at most once a minute.
    pub async fn looked_at(&self, did: &Did, is_listed: bool, patience: Duration) -> bool {
        if self.looked_at.contains_key(did) {
            return false;
        }
        self.looked_at.insert(did.clone(), ());
        let looked = if is_listed {
            self.queue(did, Lane::Asked).await.map_err(CatchUpError::from)
        } else {
            self.look_at(did, patience).await.map(drop)
        };
        if let Err(error) = looked {
            tracing::debug!(%did, %error, "an account that a reader looks at is not brought to its head now");
        }
        !is_listed
    }

    /// Brings an account to its head because a reader looks at it, and waits for that up to `patience`; what takes longer goes on in the
    /// queue. `None` when it goes on.
    ///
    /// # Errors
    /// [`CatchUpError`]; the account is queued all the same.
    pub async fn look_at(&self, did: &Did, patience: Duration) -> Result<Option<Outcome>, CatchUpError> {
        let result = timeout(patience, self.run(did)).await;
        if let Ok(Ok(outcome)) = result {
            return Ok(Some(outcome));
        }
        self.queue(did, Lane::Asked).await?;
        match result {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Ok(None),
        }
    }

    /// Queues an account and wakes the workers.
    ///
    /// # Errors
    /// The index's.
    pub async fn queue(&self, did: &Did, lane: Lane) -> Result<(), IndexError> {
        let work = QueuedWork {
            did: did.clone(),
            lane,
            due: self.clock.now(),
        };
        self.index.queue.enqueue(&[work]).await?;
        self.woken.notify_one();
        Ok(())
    }
}
