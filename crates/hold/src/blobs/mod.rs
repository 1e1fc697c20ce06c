//! Blobs: how they get into the store under their content address, and how they are found there.
//!
//! - [`BlobService`]: the use cases; `upload` (begin, parts, complete, abort), `late_completion` (completions that are acknowledged before
//!   they are done), `download` (stat, URLs), `sweep` (what was not finished), `verify` (the bytes are what they are said to be)
//! - [`Standings`]: which blobs a client may count on
//! - [`ObjectKey`]: the place of each object in the store
//! - [`ObjectStore`], [`UploadSessions`]: the ports

mod download;
mod error;
mod late_completion;
mod object_key;
mod ports;
mod standing;
mod sweep;
mod upload;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_server::KeyedLocks;
use atcr_server::supervise::Quarantine;
use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::error::{BlobError, SessionsError, Source, StoreError};
pub(crate) use self::late_completion::KEEPER;
use self::late_completion::Keeping;
pub(crate) use self::object_key::UPLOADS_PREFIX;
pub use self::object_key::{InvalidObjectKey, ObjectKey};
pub use self::ports::{
    Assembled, BlobInventory, BlobPage, DownloadMethod, FinishedUpload, IdleUpload, MAX_PART_NUMBER,
    ObjectBytes, ObjectStat, ObjectStore, PartTag, PartUrl, PresignedUrl, Promise, PromiseLimits,
    PromisedBlob, StoreTraits, StoreUpload, StoredBlob, Unfinished, UploadSession, UploadSessions,
};
pub use self::standing::{Condemned, Promised, Purpose, Standing, StandingTable, Standings};
use self::sweep::FailedUpload;
pub(crate) use self::sweep::SWEEP;
pub use self::sweep::Swept;
pub use self::upload::{Completed, ContentProof, Initiated};
use self::verify::Verifier;

/// Settings of the blob service.
#[derive(Clone, Debug)]
pub struct BlobOptions {
    /// How long the URL of a part is valid: a client may wait its turn to send it.
    pub part_url_lifetime: TimeDelta,
    /// How long a download may be begun by its URL. A former crew member can read a blob for this long by a URL that they
    /// already have.
    pub download_url_lifetime: TimeDelta,
    /// How long an upload may be idle before it is swept; finished ones are remembered for the same time.
    pub idle_limit: TimeDelta,
    /// How long an uploader waits for the end of a completion before it is promised.
    pub patience: Duration,
    /// The pause after a promise could not be kept for the first time; each further one is twice as long, up to ten minutes.
    pub retry_pause: Duration,
    /// How long a download of a promised blob waits for it.
    pub promise_wait: Duration,
    /// Which blobs nothing names any more.
    pub standings: Standings,
    /// Ends the work on promises, which a restart resumes.
    pub stop: CancellationToken,
    /// Tracks completions, which go on when their caller leaves; wait for it before the process ends.
    pub tasks: TaskTracker,
}

impl Default for BlobOptions {
    fn default() -> Self {
        Self {
            part_url_lifetime: TimeDelta::minutes(15),
            download_url_lifetime: TimeDelta::minutes(5),
            idle_limit: TimeDelta::hours(24),
            patience: Duration::from_secs(5),
            retry_pause: Duration::from_secs(2),
            promise_wait: Duration::from_secs(20),
            standings: Standings::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}

/// The size of a blob that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobStat {
    /// Length in bytes.
    pub size: u64,
}

/// The use cases around blobs. Clones share everything.
#[derive(Clone, Debug)]
pub struct BlobService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn ObjectStore>,
    sessions: Arc<dyn UploadSessions>,
    clock: Arc<dyn Clock>,
    options: BlobOptions,
    /// Uploads that are being completed or aborted, so that a repetition waits for the first attempt's outcome.
    endings: KeyedLocks<String>,
    unsweepable: Quarantine<FailedUpload>,
    keeping: Keeping,
    verifier: Verifier,
}

impl BlobService {
    /// A service over `store`, with its running uploads in `sessions`.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        sessions: Arc<dyn UploadSessions>,
        clock: Arc<dyn Clock>,
        options: BlobOptions,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                sessions,
                clock,
                options,
                endings: KeyedLocks::default(),
                unsweepable: sweep::quarantine(),
                keeping: Keeping::default(),
                verifier: Verifier::default(),
            }),
        }
    }

    /// What uploaders need to know about the store.
    #[must_use]
    pub fn store_traits(&self) -> StoreTraits {
        self.shared.store.traits()
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// `Store` when it does not.
    pub async fn ping(&self) -> Result<(), BlobError> {
        Ok(self.shared.store.ping().await?)
    }
}
