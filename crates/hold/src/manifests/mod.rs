//! What the hold remembers of manifests: which layers they keep, and how often they are pushed and pulled.
//!
//! - [`Notice`]: what an AppView says of one manifest, checked
//! - [`Rules`]: how much one account may have recorded, and keep
//! - `weighing`: what its layers weigh in the store
//! - [`DeferredNotices`]: pushes that wait for promised layers
//! - [`ManifestNotices`]: takes notices; one task behind it records the layers, many in one commit when many come at once
//! - [`Counts`]: pushes and pulls, counted at once and published from time to time

mod counts;
mod deferred;
mod limits;
mod notice;
mod recorder;
mod weighing;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::access::{BlobWrite, Granted};
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_server::KeyedLocks;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::blobs::{BlobError, BlobService};
use crate::quota::{QuotaExceeded, Quotas};
use crate::user_data::{Erasures, ErasuresError};

pub use counts::{CountStore, Counted, CountingError, Counts, CountsError, Event};
use deferred::Backlog;
pub use deferred::{DeferralError, DeferredNotices};
use limits::Budgets;
pub use limits::{NoticeLimits, TooOften};
pub use notice::{Child, InvalidNotice, Notice};
pub use recorder::Recorded;
use recorder::{Entry, Recorder};

/// Notices waiting to be written; beyond that, callers wait to hand theirs in.
const MAILBOX: usize = 256;

/// Why a notice was not written down.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoticeError {
    /// A push in the name of another account.
    #[error("the token is not that of the manifest's owner")]
    UserMismatch,
    /// The account has had its share of this hour.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// The account may not keep as much.
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    /// The account was erased after the push came.
    #[error("the account was erased after this push")]
    Erased,
    /// Whether the account was erased is not known.
    #[error("the account's erasure could not be looked up")]
    Erasures(#[source] Arc<ErasuresError>),
    /// The repository failed.
    #[error("the notice could not be recorded")]
    Repo(#[from] RepoError),
    /// The table of counts failed.
    #[error("the notice could not be counted")]
    Counts(#[source] Arc<CountsError>),
    /// A push that waits for promised layers could not be kept.
    #[error("the notice could not be kept for later")]
    Deferral(#[source] Arc<DeferralError>),
    /// The blobs could not be asked for.
    #[error("the promised blobs could not be listed")]
    Blobs(#[source] Arc<BlobError>),
    /// Who is told of pushes could not be.
    #[error("the push could not be passed on")]
    Observer(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The process is stopping.
    #[error("the hold is stopping")]
    Stopped,
}

impl From<ErasuresError> for NoticeError {
    fn from(error: ErasuresError) -> Self {
        Self::Erasures(Arc::new(error))
    }
}

impl From<DeferralError> for NoticeError {
    fn from(error: DeferralError) -> Self {
        Self::Deferral(Arc::new(error))
    }
}

impl From<BlobError> for NoticeError {
    fn from(error: BlobError) -> Self {
        Self::Blobs(Arc::new(error))
    }
}

impl From<CountingError> for NoticeError {
    fn from(error: CountingError) -> Self {
        match error {
            CountingError::Counts(error) => Self::Counts(Arc::new(error)),
            CountingError::Repo(error) => Self::Repo(error),
        }
    }
}

/// Port: who is told of pushes once their layers are recorded.
#[async_trait]
pub trait PushObserver: fmt::Debug + Send + Sync {
    /// A push names blobs. Said before any of them is looked for, also of pushes that are recorded later.
    ///
    /// # Errors
    /// Nothing is recorded, and the sender is told to try again.
    async fn named(&self, notice: &Notice) -> Result<(), NoticeError> {
        let _ = notice;
        Ok(())
    }

    /// A push is about to be counted. It is told again if that fails.
    ///
    /// # Errors
    /// The push is not counted, and its sender is told to try again.
    async fn pushed(&self, notice: &Notice) -> Result<(), NoticeError>;
}

/// Nobody.
#[async_trait]
impl PushObserver for () {
    async fn pushed(&self, _: &Notice) -> Result<(), NoticeError> {
        Ok(())
    }
}

/// What holds accounts back.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How much one account may have recorded.
    pub limits: NoticeLimits,
    /// How much one user may keep.
    pub quotas: Quotas,
    /// Who was erased, and when: what they pushed before is not recorded any more.
    pub erasures: Arc<dyn Erasures>,
}

/// Takes notices. Clones hand them to the same recorder, which ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct ManifestNotices {
    mailbox: mpsc::Sender<Entry>,
    blobs: BlobService,
    observer: Arc<dyn PushObserver>,
    counts: Counts,
    budgets: Arc<Budgets>,
    quotas: Quotas,
    backlog: Backlog,
    /// One account's pushes find room one after the other, so that each sees what waits already.
    deferring: Arc<KeyedLocks<Did>>,
    /// Held while notices are being written.
    writing: Arc<Mutex<()>>,
    clock: Arc<dyn Clock>,
    max_layers: u32,
}

impl ManifestNotices {
    /// Starts the recorder of `repo`, for layers in `blobs`, with the pushes that wait in `deferred`; `observer` is told of each push. The
    /// handle ends once every clone is dropped and every notice taken is written.
    #[must_use]
    pub fn start(
        repo: HoldRepo,
        blobs: BlobService,
        counts: Counts,
        deferred: Arc<dyn DeferredNotices>,
        observer: Arc<dyn PushObserver>,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> (Self, JoinHandle<()>) {
        let (mailbox, entries) = mpsc::channel(MAILBOX);
        let budgets = Arc::new(Budgets::new(&rules.limits, clock.clone()));
        let writing = Arc::new(Mutex::new(()));
        let recorder = Recorder {
            repo,
            counts: counts.clone(),
            observer: observer.clone(),
            budgets: budgets.clone(),
            quotas: rules.quotas.clone(),
            erasures: rules.erasures,
            writing: writing.clone(),
            clock: clock.clone(),
        };
        let recorder = tokio::spawn(recorder.run(entries));
        let notices = Self {
            mailbox,
            blobs,
            observer,
            counts,
            budgets,
            quotas: rules.quotas,
            backlog: Backlog::new(deferred),
            deferring: Arc::default(),
            writing,
            clock,
            max_layers: rules.limits.layers_per_notice,
        };
        (notices, recorder)
    }

    /// Layers of one notice at most.
    #[must_use]
    pub fn max_layers(&self) -> u32 {
        self.max_layers
    }

    /// Writes down a push: a record for each layer that is in the store and has none for this manifest yet, with the size that
    /// the store says, and the count. A push that names a layer which is promised to its owner is kept, and written down when the
    /// promise is closed.
    ///
    /// # Errors
    /// [`NoticeError::UserMismatch`] when the manifest belongs to another account; [`NoticeError::TooOften`] beyond the
    /// account's limits; [`NoticeError::QuotaExceeded`] if its owner would keep too much, and nothing is recorded then;
    /// [`NoticeError::Erased`] if its owner was erased meanwhile; [`NoticeError::Repo`], [`NoticeError::Deferral`],
    /// [`NoticeError::Blobs`]: try again, what was written already is not written twice.
    ///
    /// # Cancel safety
    /// A notice that was taken is written even if its caller leaves.
    pub async fn pushed(
        &self,
        grant: &Granted<BlobWrite>,
        mut notice: Notice,
    ) -> Result<Recorded, NoticeError> {
        if notice.owner != *grant.subject() {
            return Err(NoticeError::UserMismatch);
        }
        let received_at = self.clock.now();
        self.budgets.notice(grant.subject())?;
        self.observer.named(&notice).await?;
        if notice.waits_for(&self.blobs).await? {
            return self.defer_if_there_is_room(notice, received_at).await;
        }
        notice.weigh(&self.blobs).await;
        self.check_room(&notice).await?;
        self.hand_in(notice, received_at, None).await
    }

    /// Returns when the notices that are being written are written.
    pub async fn settle(&self) {
        drop(self.writing.lock().await);
    }

    /// Counts a pull by `reader`, whose right to read was checked. A repository without any record here is counted as well, since
    /// its records may have been lost, unless the store has none of the blobs that the notice names.
    ///
    /// # Errors
    /// [`NoticeError::TooOften`] beyond the account's limits; [`NoticeError::Repo`].
    ///
    /// # Security
    /// Every reader may count, so new repositories are limited per account and in all: beyond that nothing is written.
    pub async fn pulled(&self, reader: &Did, notice: Notice) -> Result<Recorded, NoticeError> {
        self.budgets.notice(reader)?;
        let is_counted = self.counts.has_records_of(&notice).await?
            || (notice.may_be_kept_in(&self.blobs).await && self.budgets.pulled_repository(reader));
        if !is_counted {
            tracing::debug!(did = %reader, manifest = %notice.manifest, "a pull is not counted");
            return Ok(Recorded::default());
        }
        self.counts
            .add(&notice.owner, &notice.repository, Event::Pull, None)
            .await?;
        Ok(Recorded {
            layers_created: 0,
            stats_updated: true,
        })
    }

    /// Keeps a push for later, if there is room: it is recorded later whatever there is then.
    async fn defer_if_there_is_room(
        &self,
        mut notice: Notice,
        received_at: DateTime<Utc>,
    ) -> Result<Recorded, NoticeError> {
        if self.quotas.tiers().is_empty() {
            return self.defer(&notice, received_at).await;
        }
        notice.weigh_promised(&self.blobs).await?;
        let _one = self.deferring.lock(&notice.owner).await;
        self.check_room(&notice).await?;
        self.defer(&notice, received_at).await
    }

    /// Whether there is room for a push beside the owner's others that wait: those are recorded whatever there is then.
    async fn check_room(&self, notice: &Notice) -> Result<(), NoticeError> {
        if self.quotas.tiers().is_empty() {
            return Ok(());
        }
        let now = self.clock.now_datetime();
        let waiting = self.backlog.of_owner(&notice.owner).await?;
        // What was not there when it was named counts nothing, and must not hide that it counts now.
        let planned = waiting
            .iter()
            .filter(|other| other.manifest != notice.manifest)
            .flat_map(|other| other.layer_records(&now))
            .filter(|layer| layer.size > 0)
            .collect::<Vec<_>>();
        let layers = notice.layer_records(&now);
        self.quotas.check(&notice.owner, &layers, &planned).await??;
        Ok(())
    }

    /// `settles` is the id of a notice that was deferred.
    async fn hand_in(
        &self,
        notice: Notice,
        received_at: DateTime<Utc>,
        settles: Option<i64>,
    ) -> Result<Recorded, NoticeError> {
        let (answer, answered) = oneshot::channel();
        let entry = Entry {
            notice,
            received_at,
            settles,
            answer,
        };
        self.mailbox.send(entry).await.map_err(|_| NoticeError::Stopped)?;
        answered.await.map_err(|_| NoticeError::Stopped)?
    }
}
