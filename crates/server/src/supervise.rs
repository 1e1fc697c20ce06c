//! Background work that survives its own failures: a panic or an error of one item is logged under the task's name and counted,
//! and the task goes on with the next item.
//!
//! - [`Task`]: the name of a background task; [`Task::attempt`] does one item of its work
//! - [`Quarantine`]: items that keep failing, set aside so that they do not fail on every round
//! - [`Task::every`]: a loop over time, with longer pauses while its rounds fail
//! - [`Task::spawn`]: work that is done once
//!
//! Put what a task holds while it works (a slot, a permit, an entry in a map) into a guard whose `Drop` releases it: a panic
//! and the hard shutdown both drop the future, and run no code after it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use moka::sync::Cache;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::Instrument as _;

use crate::Shutdown;

/// Counts failures of background work; labels `task` and `kind` (`panic`, `error`).
const FAILURES: &str = "atcr_task_failures_total";

/// Counts items that were set aside; label `task`.
const SET_ASIDE: &str = "atcr_task_items_set_aside_total";

/// The longest pause of a loop whose rounds fail, as a multiple of its period.
const LONGEST_PAUSE_PERIODS: u32 = 8;

/// How long an item that keeps failing is left out.
const SET_ASIDE_FOR: Duration = Duration::from_hours(24);

/// Failing items that are remembered, per task.
const REMEMBERED_ITEMS: u64 = 10_000;

/// A background task, by the name under which logs and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task(&'static str);

/// Why an item of a task was not done. The log has it already.
#[derive(Debug, thiserror::Error)]
pub enum Failed<E> {
    /// The work panicked.
    #[error("the work panicked: {0}")]
    Panic(String),
    /// The work failed.
    #[error(transparent)]
    Error(E),
}

impl Task {
    /// A task named `name`: lower case, words joined by underscores.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Does one item of the task's work. A panic and an error are logged with `item` and counted.
    ///
    /// # Errors
    /// [`Failed`], for a caller that has to handle the item. The failure is already logged.
    pub async fn attempt<T, E: fmt::Display>(
        self,
        item: impl fmt::Display,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failed<E>> {
        // The item's state may be half changed after a panic; callers give the work what it owns, or what locks and databases guard.
        let outcome = AssertUnwindSafe(work)
            .catch_unwind()
            .instrument(tracing::info_span!("task", task = self.0))
            .await;
        match outcome {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                tracing::warn!(task = self.0, %item, %error, "a background task failed with one item; it goes on");
                self.count("error");
                Err(Failed::Error(error))
            }
            Err(panic) => Err(Failed::Panic(self.panicked(&item, panic.as_ref()))),
        }
    }

    /// Spawns `work`, which [`Shutdown::drain`] waits for. A panic in it is logged and counted.
    pub fn spawn(self, shutdown: &Shutdown, work: impl Future<Output = ()> + Send + 'static) {
        shutdown.spawn(async move {
            self.catch("once", work).await;
        });
    }

    /// Does `work`. A panic in it is logged with `item` and counted, not propagated; the result is then `None`.
    pub async fn catch<T>(self, item: impl fmt::Display, work: impl Future<Output = T>) -> Option<T> {
        let outcome = AssertUnwindSafe(work)
            .catch_unwind()
            .instrument(tracing::info_span!("task", task = self.0))
            .await;
        outcome
            .inspect_err(|panic| drop(self.panicked(&item, panic.as_ref())))
            .ok()
    }

    /// Calls `round` at once, then every `period` until the soft shutdown. Each round that fails or panics doubles the
    /// pause, up to eight periods; a round that succeeds resets it.
    ///
    /// A round that is running at the soft shutdown finishes; the hard shutdown drops it.
    pub fn every<F, W, E>(self, period: Duration, shutdown: &Shutdown, round: F)
    where
        F: FnMut() -> W + Send + 'static,
        W: Future<Output = Result<(), E>> + Send,
        E: fmt::Display + Send,
    {
        self.every_from(Duration::ZERO, period, shutdown, round);
    }

    /// As [`every`](Self::every), with the first round after `first`.
    pub fn every_from<F, W, E>(self, first: Duration, period: Duration, shutdown: &Shutdown, mut round: F)
    where
        F: FnMut() -> W + Send + 'static,
        W: Future<Output = Result<(), E>> + Send,
        E: fmt::Display + Send,
    {
        let stop = shutdown.soft().clone();
        shutdown.spawn(async move {
            let mut ticks = interval_at(Instant::now() + first, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut skip_periods = 0;
            loop {
                for _ in 0..=skip_periods {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = ticks.tick() => {}
                    }
                }
                skip_periods = match self.attempt("round", Self::begin(&mut round)).await {
                    Ok(()) => 0,
                    Err(_) => (2 * skip_periods + 1).min(LONGEST_PAUSE_PERIODS - 1),
                };
            }
        });
    }

    /// Calls `round` inside of the future, so that a panic before its first await is caught too.
    async fn begin<F, W, E>(round: &mut F) -> Result<(), E>
    where
        F: FnMut() -> W,
        W: Future<Output = Result<(), E>>,
    {
        round().await
    }

    fn panicked(self, item: &dyn fmt::Display, panic: &(dyn Any + Send)) -> String {
        let message = panic_message(panic);
        tracing::error!(task = self.0, %item, panic = message, "a background task panicked; it goes on");
        self.count("panic");
        message.to_owned()
    }

    fn count(self, kind: &'static str) {
        metrics::counter!(FAILURES, "task" => self.0, "kind" => kind).increment(1);
    }
}

/// What a panic said, if it said anything.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// The items of a task that keep failing. After `tries` failures in a row an item is set aside for a day; the log says so once.
#[derive(Clone)]
pub struct Quarantine<K> {
    task: Task,
    tries: u32,
    failures: Cache<K, u32>,
}

impl<K: Eq + Hash + Clone + fmt::Display + Send + Sync + 'static> Quarantine<K> {
    /// Sets items of `task` aside after `tries` failures in a row.
    #[must_use]
    pub fn new(task: Task, tries: u32) -> Self {
        Self {
            task,
            tries,
            failures: Cache::builder()
                .max_capacity(REMEMBERED_ITEMS)
                .time_to_live(SET_ASIDE_FOR)
                .build(),
        }
    }

    /// Whether `item` is set aside now.
    #[must_use]
    pub fn holds(&self, item: &K) -> bool {
        self.failures
            .get(item)
            .is_some_and(|failures| failures >= self.tries)
    }

    /// Does one item of the task's work; `None` if the item is set aside. See [`Task::attempt`].
    pub async fn attempt<T, E: fmt::Display>(
        &self,
        item: &K,
        work: impl Future<Output = Result<T, E>>,
    ) -> Option<Result<T, Failed<E>>> {
        if self.holds(item) {
            return None;
        }
        let outcome = self.task.attempt(item, work).await;
        match outcome {
            Ok(_) => self.failures.invalidate(item),
            Err(_) => self.failed(item),
        }
        Some(outcome)
    }

    fn failed(&self, item: &K) {
        let failures = self
            .failures
            .entry(item.clone())
            .and_upsert_with(|entry| entry.map_or(1, |entry| entry.into_value().saturating_add(1)))
            .into_value();
        if failures == self.tries {
            tracing::error!(
                task = self.task.0, %item, failures,
                "set aside for a day: a background task fails with this item each time"
            );
            metrics::counter!(SET_ASIDE, "task" => self.task.0).increment(1);
        }
    }
}

impl<K> fmt::Debug for Quarantine<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantine")
            .field("task", &self.task)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}
