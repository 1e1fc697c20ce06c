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
use tokio::time::{Instant, sleep, timeout};

use crate::Index;
use crate::catch_up::{CatchUp, CatchUpError, Outcome};
use crate::source::SourceError;

/// Accounts at once, by what they may be: what is urgent and never ends leaves a place each for the others.
const PLACES: [(&[Lane], usize); 3] = [(&Lane::ALL, 6), (&[Lane::Discovered], 1), (&[Lane::Audit], 1)];

/// How long one turn may take. One that took long is followed by a rest of ten times that, so that a slow server has little of the places.
const TURN: Duration = Duration::from_mins(20);
const LONG: Duration = Duration::from_secs(30);
const REST: u32 = 10;

/// Attempts, an hour in all, after which an account that was only named is forgotten until something names it again.
const GIVE_UP: u32 = 8;

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

/// What came of a reader's look at an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Its rows are as they were, or not there yet.
    AsBefore,
    /// It was read: its rows may be others now.
    Read,
    /// It has no records of ours, and no row.
    WithoutRecords,
}

/// Works on the accounts of the queue.
#[derive(Clone)]
pub struct Scheduler {
    index: Index,
    catch_up: CatchUp,
    clock: Arc<dyn Clock>,
    woken: Arc<Notify>,
    /// As [`PLACES`].
    places: [Arc<Semaphore>; 3],
    /// One catch-up of an account at a time.
    lanes: Arc<KeyedLocks<Did>>,
    /// Accounts that readers looked at a moment ago, and what came of it.
    looked_at: moka::sync::Cache<Did, Look>,
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
            places: PLACES.map(|(_, places)| Arc::new(Semaphore::new(places))),
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
        for ((lanes, _), places) in PLACES.iter().zip(&self.places) {
            let room = u32::try_from(places.available_permits()).unwrap_or(1);
            if room == 0 {
                continue;
            }
            let now = self.clock.now();
            let claimed = self
                .index
                .queue
                .claim(lanes, room, now, moved(now, CLAIM))
                .await?;
            for work in claimed {
                let Ok(permit) = Arc::clone(places).acquire_owned().await else {
                    return Ok(());
                };
                let scheduler = self.clone();
                Task::new("index_account").spawn(tasks, async move {
                    let _permit = permit;
                    scheduler.work_on(&work).await;
                    scheduler.woken.notify_one();
                });
            }
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
            let claimed = self
                .index
                .queue
                .claim(&Lane::ALL, 1, now, moved(now, CLAIM))
                .await?;
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
        let begun = Instant::now();
        let outcome = timeout(TURN, self.run(&work.did)).await.unwrap_or_else(|_| {
            Err(CatchUpError::Source(SourceError::Later {
                detail: "its turn took too long".to_owned(),
                after: None,
            }))
        });
        let taken = begun.elapsed();
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
        let rest = (taken > LONG).then(|| taken * REST);
        let settled = match outcome {
            Ok(Outcome::Moving) => self.retry(work, rest).await,
            // What was queued meanwhile waits as well. People do not.
            Ok(Outcome::Caught { .. }) if rest.is_some() && work.lane != Lane::Asked => {
                self.retry(work, rest).await
            }
            Ok(_) => self.index.queue.finish(did).await,
            Err(CatchUpError::Source(SourceError::Unreadable(reason))) => {
                tracing::debug!(%did, reason, "an account cannot be read");
                self.index.queue.finish(did).await
            }
            Err(CatchUpError::Source(SourceError::Later { detail, .. }))
                if work.lane == Lane::Discovered && work.attempts >= GIVE_UP =>
            {
                tracing::debug!(%did, detail, "an account that was named is given up");
                self.index.queue.finish(did).await
            }
            Err(CatchUpError::Source(SourceError::Later { detail, after })) => {
                tracing::debug!(%did, detail, "an account is read later");
                self.retry(work, after.max(rest)).await
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
        // A beginning that has not come yet is a clock's fault.
        let (since, turns) = if since > now || now.signed_duration_since(since) > TURNS_WITHIN {
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

    /// Whoever names an account: one that is not known and has nothing of ours leaves no row.
    async fn run(&self, did: &Did) -> Result<Outcome, CatchUpError> {
        let _lane = self.lanes.lock(did).await;
        self.catch_up.run_found(did).await
    }

    /// A reader looks at an account. One that is not listed yet is listed, and waited for up to `patience`. One that is listed is compared
    /// with its head afterwards, at most once a minute.
    pub async fn looked_at(&self, did: &Did, is_listed: bool, patience: Duration) -> Look {
        match self.looked_at.get(did) {
            Some(Look::WithoutRecords) if !is_listed => return Look::WithoutRecords,
            Some(_) => return Look::AsBefore,
            None => self.looked_at.insert(did.clone(), Look::Read),
        }
        let looked = if is_listed {
            self.queue(did, Lane::Asked)
                .await
                .map(|()| Look::AsBefore)
                .map_err(CatchUpError::from)
        } else {
            self.look_at(did, patience).await.map(|outcome| match outcome {
                Some(Outcome::WithoutRecords) => Look::WithoutRecords,
                _ => Look::Read,
            })
        };
        match looked {
            Ok(Look::WithoutRecords) => {
                self.looked_at.insert(did.clone(), Look::WithoutRecords);
                Look::WithoutRecords
            }
            Ok(look) => look,
            Err(error) => {
                tracing::debug!(%did, %error, "an account that a reader looks at is not brought to its head now");
                Look::AsBefore
            }
        }
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
