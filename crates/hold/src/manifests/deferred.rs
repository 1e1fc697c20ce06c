//! Notices of pushes that name promised layers. A layer gets a record only when its blob is in the store, so the notice is kept, and
//! recorded when the last of these promises is closed. Layers whose promise was broken are left out, as any layer that the
//! store does not have.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_server::Shutdown;
use atcr_server::supervise::{Quarantine, Task};
use chrono::{DateTime, Utc};
use moka::sync::Cache;

use super::recorder::Recorded;
use super::{ManifestNotices, Notice, NoticeError, TooOften};

/// The task that records them, in logs and metrics.
const RECORDING: Task = Task::new("record_deferred_notices");

/// How often they are looked through without a reason.
const INTERVAL: Duration = Duration::from_secs(30);

/// Failures with one notice before it is left out for a day.
const TRIES: u32 = 20;

/// Notices of one account that may wait.
const PER_ACCOUNT: u32 = 100;

/// The wait that is asked for beyond that, and the shortest one of a notice whose owner has used up the hour.
const FULL_WAIT: Duration = Duration::from_mins(1);

/// The longest one.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Waiting notices that are remembered; others are tried again.
const REMEMBERED: u64 = 10_000;

/// Ids read at once.
const BATCH: u32 = 100;

/// Why the table of deferred notices failed.
#[derive(Debug, thiserror::Error)]
pub enum DeferralError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored notice does not parse.
    #[error("a deferred notice cannot be read")]
    Corrupt(#[source] serde_json::Error),
}

/// The table of deferred notices.
#[async_trait]
pub trait DeferredNotices: fmt::Debug + Send + Sync {
    /// Keeps `notice` of `owner`, and returns when it survives a power failure; false if `owner` has `limit` already.
    ///
    /// # Errors
    /// The table's, as in every method here.
    async fn add(
        &self,
        owner: &Did,
        notice: &Notice,
        received_at: DateTime<Utc>,
        limit: u32,
    ) -> Result<bool, DeferralError>;

    /// Ids after `after`, oldest first, at most `limit`.
    async fn list(&self, after: i64, limit: u32) -> Result<Vec<i64>, DeferralError>;

    /// Those of `owner`, at most `limit`.
    async fn of_owner(&self, owner: &Did, limit: u32) -> Result<Vec<Notice>, DeferralError>;

    /// Finds a notice by its id, and when it came. What was recorded is forgotten by [`CountStore::add`](super::CountStore::add).
    async fn get(&self, id: i64) -> Result<Option<(Notice, DateTime<Utc>)>, DeferralError>;
}

/// The deferred notices, and those of them that keep failing.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    table: Arc<dyn DeferredNotices>,
    failing: Quarantine<i64>,
    /// Those whose owner has used up the hour, and until when.
    waiting: Cache<i64, DateTime<Utc>>,
}

impl Backlog {
    pub(super) fn new(table: Arc<dyn DeferredNotices>) -> Self {
        Self {
            table,
            failing: Quarantine::new(RECORDING, TRIES),
            waiting: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(LONGEST_WAIT)
                .build(),
        }
    }

    pub(super) async fn of_owner(&self, owner: &Did) -> Result<Vec<Notice>, DeferralError> {
        self.table.of_owner(owner, PER_ACCOUNT).await
    }

    fn is_waiting(&self, id: i64, now: DateTime<Utc>) -> bool {
        self.waiting.get(&id).is_some_and(|until| now < until)
    }

    fn wait(&self, id: i64, now: DateTime<Utc>, wait: Duration) {
        self.waiting.insert(id, now + wait.clamp(FULL_WAIT, LONGEST_WAIT));
    }
}

impl ManifestNotices {
    /// Keeps a push for later.
    pub(super) async fn defer(
        &self,
        notice: &Notice,
        received_at: DateTime<Utc>,
    ) -> Result<Recorded, NoticeError> {
        let table = &self.backlog.table;
        if !table.add(&notice.owner, notice, received_at, PER_ACCOUNT).await? {
            return Err(TooOften {
                retry_after: FULL_WAIT,
            }
            .into());
        }
        tracing::info!(
            did = %notice.owner, manifest = %notice.manifest,
            "a push is recorded later: it names layers that are promised"
        );
        Ok(Recorded::default())
    }

    /// Records the deferred pushes whose layers wait for no promise any more.
    ///
    /// # Errors
    /// They could not be listed. One that could not be recorded is logged, counted and tried again.
    pub async fn record_deferred(&self) -> Result<(), DeferralError> {
        let mut after = i64::MIN;
        loop {
            let ids = self.backlog.table.list(after, BATCH).await?;
            let Some(last) = ids.last() else {
                return Ok(());
            };
            after = *last;
            for id in ids {
                self.backlog.failing.attempt(&id, self.record_if_due(id)).await;
            }
        }
    }

    async fn record_if_due(&self, id: i64) -> Result<(), NoticeError> {
        let now = self.clock.now();
        if self.backlog.is_waiting(id, now) {
            return Ok(());
        }
        let Some((mut notice, received_at)) = self.backlog.table.get(id).await? else {
            return Ok(());
        };
        if notice.waits_for(&self.blobs).await? {
            return Ok(());
        }
        notice.weigh_all(&self.blobs).await?;
        match self.hand_in(notice, received_at, Some(id)).await {
            // No failure of the notice: the account's other pushes have used up the hour, and there is room again by and by.
            Err(NoticeError::TooOften(TooOften { retry_after })) => {
                self.backlog.wait(id, now, retry_after);
                Ok(())
            }
            // It was forgotten by the erasure.
            Err(NoticeError::Erased) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Records deferred pushes from now on, until the soft shutdown.
    pub fn record_deferred_until(&self, shutdown: &Shutdown) {
        let notices = self.clone();
        let stop = shutdown.soft().clone();
        let mut closed = self.blobs.promises_closed();
        RECORDING.spawn(shutdown, async move {
            loop {
                // A failure is logged and counted there.
                let _ = RECORDING.attempt("round", notices.record_deferred()).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = closed.changed() => {}
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        });
    }
}
