//! How often repositories are pushed and pulled. Counted in a table at once, and published as records together, so that a pull
//! is no event of the hold's repository.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::lexicon::stats::StatsRecord;
use atcr_atproto::syntax::{Datetime, Did};
use atcr_hold_pds::records::stats::{self, StrangeKeys};
use atcr_hold_pds::writer::limits::MAX_OPS;
use atcr_hold_pds::{HoldRepo, RecordWrite, RepoError, Urgency};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, OnceCell};

use super::notice::Notice;

/// The task, in logs and metrics.
const PUBLISHER: Task = Task::new("publish_counts");
/// How often counts are published: of one repository no oftener than that.
const PUBLISH_EVERY: Duration = Duration::from_mins(1);

/// What happened to a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was written.
    Push,
    /// It was read.
    Pull,
}

/// The counts of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whose it is.
    pub owner: Did,
    /// Its name.
    pub repository: String,
    /// Manifest downloads.
    pub pulls: u64,
    /// Manifest uploads.
    pub pushes: u64,
    /// The latest download.
    pub last_pull: Option<DateTime<Utc>>,
    /// The latest upload.
    pub last_push: Option<DateTime<Utc>>,
}

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum CountsError {
    /// The table cannot be read or written.
    #[error("the counts cannot be read or written")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row is not what was written.
    #[error("counts.{column} has an unexpected value")]
    Corrupt {
        /// Where.
        column: &'static str,
    },
}

/// Port: counts that outlive the process.
#[async_trait]
pub trait CountStore: std::fmt::Debug + Send + Sync {
    /// Whether there are counts of a repository.
    ///
    /// # Errors
    /// The store's.
    async fn is_counted(&self, owner: &Did, repository: &str) -> Result<bool, CountsError>;

    /// Counts one event, on from what is there; `start` is where to begin if nothing is. `settles` is the deferred notice that the event
    /// comes from: it is forgotten in the same step, and if it is forgotten already, the event was counted then and is not again.
    ///
    /// # Errors
    /// The store's.
    async fn add(
        &self,
        start: &Counted,
        event: Event,
        at: DateTime<Utc>,
        settles: Option<i64>,
    ) -> Result<(), CountsError>;

    /// Whether there are counts of any repository of `owner`.
    ///
    /// # Errors
    /// The store's.
    async fn has_any_of(&self, owner: &Did) -> Result<bool, CountsError>;

    /// Forgets all counts of `owner`'s repositories.
    ///
    /// # Errors
    /// The store's.
    async fn forget(&self, owner: &Did) -> Result<(), CountsError>;

    /// The counts of the repositories of `owner`, at most `limit`, the most pushed first.
    ///
    /// # Errors
    /// The store's.
    async fn of_owner(&self, owner: &Did, limit: u32) -> Result<Vec<Counted>, CountsError>;

    /// Pushes and pulls of all repositories, added up.
    ///
    /// # Errors
    /// The store's.
    async fn totals(&self) -> Result<(u64, u64), CountsError>;

    /// At most `limit` counts that have changed since they were published.
    ///
    /// # Errors
    /// The store's.
    async fn unpublished(&self, limit: u32) -> Result<Vec<Counted>, CountsError>;

    /// Notes that `counted` was published. Changes nothing if more was counted since.
    ///
    /// # Errors
    /// The store's.
    async fn published(&self, counted: &Counted) -> Result<(), CountsError>;
}

/// Why counts were not published, or not counted.
#[derive(Debug, thiserror::Error)]
pub enum CountingError {
    /// The table failed.
    #[error(transparent)]
    Counts(#[from] CountsError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// Counts, and publishes what was counted. Clones share everything.
#[derive(Clone, Debug)]
pub struct Counts {
    repo: HoldRepo,
    store: Arc<dyn CountStore>,
    clock: Arc<dyn Clock>,
    /// Looked for at the first look. Nothing adds to them later: new records get keys of this version.
    strange: Arc<OnceCell<StrangeKeys>>,
    /// One publication at a time.
    publishing: Arc<Mutex<()>>,
}

impl Counts {
    /// The counts in `store`, published in `repo`.
    #[must_use]
    pub fn new(repo: HoldRepo, store: Arc<dyn CountStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            repo,
            store,
            clock,
            strange: Arc::default(),
            publishing: Arc::default(),
        }
    }

    /// The counts of the repositories of `owner`, at most `limit`, the most pushed first.
    ///
    /// # Errors
    /// The store's.
    pub async fn of_owner(&self, owner: &Did, limit: u32) -> Result<Vec<Counted>, CountsError> {
        self.store.of_owner(owner, limit).await
    }

    /// Pushes and pulls of all repositories, added up.
    ///
    /// # Errors
    /// The store's.
    pub async fn totals(&self) -> Result<(u64, u64), CountsError> {
        self.store.totals().await
    }

    async fn strange(&self) -> Result<&StrangeKeys, RepoError> {
        self.strange
            .get_or_try_init(|| StrangeKeys::find(&self.repo))
            .await
    }

    /// Whether a push or a pull was counted of the repository, or a push of the manifest was recorded.
    pub(super) async fn has_records_of(&self, notice: &Notice) -> Result<bool, CountingError> {
        let (owner, repository) = (&notice.owner, &notice.repository);
        if self.store.is_counted(owner, repository).await? {
            return Ok(true);
        }
        let published = stats::get(&self.repo, self.strange().await?, owner, repository).await?;
        Ok(published.is_some() || !self.repo.layers_of_manifest(&notice.manifest).await?.is_empty())
    }

    /// Counts one event, and forgets the deferred notice that it comes from, if it comes from one. The process may be killed as soon as
    /// this returns.
    pub(super) async fn add(
        &self,
        owner: &Did,
        repository: &str,
        event: Event,
        settles: Option<i64>,
    ) -> Result<(), CountingError> {
        let mut start = Counted {
            owner: owner.clone(),
            repository: repository.to_owned(),
            pulls: 0,
            pushes: 0,
            last_pull: None,
            last_push: None,
        };
        if !self.store.is_counted(owner, repository).await?
            && let Some((_, record)) =
                stats::get(&self.repo, self.strange().await?, owner, repository).await?
        {
            start.pulls = record.pull_count;
            start.pushes = record.push_count;
            start.last_pull = record.last_pull.as_ref().map(Datetime::to_utc);
            start.last_push = record.last_push.as_ref().map(Datetime::to_utc);
        }
        Ok(self.store.add(&start, event, self.clock.now(), settles).await?)
    }

    /// Writes what was counted into records, when the repository's budget of events allows it. Writing the same counts again
    /// changes nothing, so a crash in the middle does no harm.
    ///
    /// # Errors
    /// [`CountingError`]; what was not published is published the next time.
    pub async fn publish(&self) -> Result<(), CountingError> {
        self.publish_by(Urgency::Background).await
    }

    /// As [`publish`](Self::publish), at once: the process is about to end.
    ///
    /// # Errors
    /// [`CountingError`].
    pub async fn publish_now(&self) -> Result<(), CountingError> {
        self.publish_by(Urgency::Interactive).await
    }

    async fn publish_by(&self, urgency: Urgency) -> Result<(), CountingError> {
        // No request waits for this lock.
        let _turn = self.publishing.lock().await;
        let limit = u32::try_from(MAX_OPS).unwrap_or(u32::MAX);
        loop {
            let changed = self.store.unpublished(limit).await?;
            if changed.is_empty() {
                return Ok(());
            }
            let mut writes = Vec::with_capacity(changed.len());
            for counted in &changed {
                writes.push(self.write(counted).await?);
            }
            self.repo.write_by(writes, urgency).await?;
            for counted in &changed {
                self.store.published(counted).await?;
            }
            if changed.len() < MAX_OPS {
                // What is counted meanwhile waits for its turn.
                return Ok(());
            }
        }
    }

    /// Whether something was counted of `owner`'s repositories, published or not.
    ///
    /// # Errors
    /// [`CountingError`].
    pub async fn has_counts_of(&self, owner: &Did) -> Result<bool, CountingError> {
        Ok(self.store.has_any_of(owner).await?)
    }

    /// Forgets the counts of `owner`'s repositories, those that were published included. Returns how many records there were.
    ///
    /// # Errors
    /// [`CountingError`]; repeating it goes on.
    pub async fn erase(&self, owner: &Did) -> Result<u64, CountingError> {
        let _turn = self.publishing.lock().await;
        self.store.forget(owner).await?;
        let mut erased = 0;
        loop {
            let keys = self.repo.stats_of_owner(owner, MAX_OPS, None).await?;
            if keys.is_empty() {
                return Ok(erased);
            }
            erased += keys.len() as u64;
            let writes = keys.into_iter().map(stats::delete);
            self.repo.write(writes.collect::<Result<_, _>>()?).await?;
        }
    }

    async fn write(&self, counted: &Counted) -> Result<RecordWrite, RepoError> {
        let (owner, repository) = (&counted.owner, &counted.repository);
        let now = self.clock.now_datetime();
        let (key, mut record) = match stats::get(&self.repo, self.strange().await?, owner, repository).await?
        {
            Some(found) => found,
            None => {
                let record = StatsRecord::new(owner.clone(), repository, now.clone());
                (stats::new_key(&record)?, record)
            }
        };
        // A record that was imported may know more.
        record.pull_count = record.pull_count.max(counted.pulls);
        record.push_count = record.push_count.max(counted.pushes);
        if let Some(last) = counted.last_pull {
            record.last_pull = Some(Datetime::from(last));
        }
        if let Some(last) = counted.last_push {
            record.last_push = Some(Datetime::from(last));
        }
        record.updated_at = now;
        stats::write(key, &record)
    }

    /// Publishes from time to time from now on, until the soft shutdown.
    pub fn start_publishing(&self, shutdown: &Shutdown) {
        let counts = self.clone();
        PUBLISHER.every(PUBLISH_EVERY, shutdown, move || {
            let counts = counts.clone();
            async move { counts.publish().await }
        });
    }
}
