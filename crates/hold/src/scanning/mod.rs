//! Images are scanned by programs of their own, which connect to the hold and ask for work.
//!
//! - [`ScanTable`]: the port: jobs, results and documents that outlive the process
//! - `intake`: which manifests of a push are scanned
//! - [`ScannerSession`]: one connected scanner: jobs out, results in
//! - `documents`: what a scanner uploads
//! - `publish`: results become records
//! - `rematch`: results are looked up again in a newer vulnerability database
//! - `upkeep`: lapsed leases, due tries, old results
//! - `view`: what readers are told
//!
//! A job is handed out under a number and a lease. A scanner that leaves loses its jobs at once, a silent one when the lease ends, and a
//! hold that stops keeps the leases, so that its scanners can deliver to the next process. A result is taken once: what comes for a job that
//! has ended is passed over.
//!
//! Of the jobs that a scanner loses, the hold cannot tell which one is to blame. They rest, and each is then a scanner's only job: one that
//! is lost alone too often is given up.

mod documents;
mod intake;
mod options;
mod port;
mod publish;
mod rematch;
mod session;
mod upkeep;
mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_hold_pds::HoldRepo;
use atcr_scan_protocol::is_same_secret;
use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use crate::repo_blobs::RepoBlobs;

pub use documents::DocumentError;
pub use intake::IntakeError;
pub use options::{Publication, ScanOptions};
pub use port::{
    Candidate, Claim, Fate, HandedOut, JobStatus, ListedJob, QueueFigures, Queued, Room, Scan, ScanTable,
    ScanTableError, Taken, Taker, Trouble,
};
pub use publish::PublishError;
pub use session::{ScannerSession, TooManyScanners};
pub use view::OpenDocumentError;

/// Jobs of one manifest that are tried again at once: one for each owner that has it.
const JOBS_OF_ONE_MANIFEST: u32 = 10_000;

/// The queue, its scanners and their results. Clones share everything.
#[derive(Clone, Debug)]
pub struct Scanning {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Arc<dyn ScanTable>,
    blobs: RepoBlobs,
    repo: HoldRepo,
    clock: Arc<dyn Clock>,
    options: ScanOptions,
    last_seq: AtomicU64,
    /// Counts the times that jobs became ready.
    ready: watch::Sender<u64>,
    /// There is a result to be published.
    unpublished: Notify,
    scanners: Mutex<HashMap<u64, ConnectedScanner>>,
    next_scanner: AtomicU64,
    rematches: Mutex<rematch::Rematches>,
    /// Long messages are read one at a time.
    long_messages: Semaphore,
}

/// A scanner that is connected.
#[derive(Clone, Debug)]
pub struct ConnectedScanner {
    /// It speaks the original's protocol.
    pub is_original: bool,
    /// Jobs that it takes at once.
    pub places: usize,
    /// Jobs that it has.
    pub jobs: usize,
    /// When its vulnerability database was built, as far as it says so.
    pub database: Option<DateTime<Utc>>,
}

impl Scanning {
    /// The queue in `table`, with results in `blobs` and `repo`.
    ///
    /// # Errors
    /// The table's.
    pub async fn open(
        table: Arc<dyn ScanTable>,
        blobs: RepoBlobs,
        repo: HoldRepo,
        options: ScanOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ScanTableError> {
        let last_seq = AtomicU64::new(table.last_seq().await?);
        // Jobs of an earlier process name their connections too.
        let first_scanner = u64::try_from(clock.now().timestamp_micros()).unwrap_or_default();
        Ok(Self {
            inner: Arc::new(Inner {
                table,
                blobs,
                repo,
                clock,
                options,
                last_seq,
                ready: watch::Sender::default(),
                unpublished: Notify::new(),
                scanners: Mutex::default(),
                next_scanner: AtomicU64::new(first_scanner),
                rematches: Mutex::default(),
                long_messages: Semaphore::new(1),
            }),
        })
    }

    /// Whether scanners may connect at all: whether there is a secret.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.inner.options.secret.is_empty()
    }

    /// The state of the queue, and how many scanners are connected.
    ///
    /// # Errors
    /// The table's.
    pub async fn standing(&self) -> Result<(QueueFigures, usize), ScanTableError> {
        let figures = self.inner.table.figures().await?;
        Ok((figures, self.inner.with_scanners(|scanners| scanners.len())))
    }

    /// The scanners that are connected, in the order in which they came.
    #[must_use]
    pub fn connected(&self) -> Vec<ConnectedScanner> {
        let mut scanners: Vec<(u64, ConnectedScanner)> = self.inner.with_scanners(|scanners| {
            let scanners = scanners.iter();
            scanners.map(|(id, scanner)| (*id, scanner.clone())).collect()
        });
        scanners.sort_by_key(|(id, _)| *id);
        scanners.into_iter().map(|(_, scanner)| scanner).collect()
    }

    /// Jobs of a state, at most `limit`, those first that were queued or ended last.
    ///
    /// # Errors
    /// The table's.
    pub async fn jobs(
        &self,
        state: atcr_scan_protocol::JobState,
        limit: u32,
    ) -> Result<Vec<ListedJob>, ScanTableError> {
        self.inner.table.jobs(&[state], limit).await
    }

    /// Has a manifest scanned again that was scanned, failed, or rests.
    ///
    /// # Returns
    /// Whether there was such a job.
    ///
    /// # Errors
    /// The table's.
    pub async fn scan_again(&self, digest: &atcr_oci::Digest) -> Result<bool, ScanTableError> {
        let now = self.inner.clock.now();
        let queued = self
            .inner
            .table
            .try_again(Some(digest), now, JOBS_OF_ONE_MANIFEST)
            .await?;
        // They rest until now.
        if queued > 0 && self.inner.table.wake(now).await? > 0 {
            self.inner.announce_ready();
        }
        Ok(queued > 0)
    }

    /// Whether `given` is the scanners' secret.
    #[must_use]
    pub fn knows(&self, given: &str) -> bool {
        is_same_secret(self.inner.options.secret.expose(), given)
    }

    /// How often a scanner is pinged, and how long it may give no sign of life.
    #[must_use]
    pub fn patience(&self) -> (Duration, Duration) {
        let options = &self.inner.options;
        (options.ping_interval, options.pong_within)
    }

    /// The turn of one long message, from reading to keeping.
    pub async fn long_message(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.inner.long_messages.acquire().await.ok()
    }

    /// Wakes when jobs become ready.
    #[must_use]
    pub fn watch_ready(&self) -> watch::Receiver<u64> {
        self.inner.ready.subscribe()
    }
}

impl Inner {
    /// A number that was never given. Also after the table was lost: it is not below the time in milliseconds.
    fn next_seq(&self, now: DateTime<Utc>) -> u64 {
        let now = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let next = |last: u64| last.saturating_add(1).max(now);
        let before = self
            .last_seq
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        before.map_or(now, next)
    }

    fn announce_ready(&self) {
        self.ready.send_modify(|count| *count += 1);
    }

    fn with_scanners<T>(&self, look: impl FnOnce(&mut HashMap<u64, ConnectedScanner>) -> T) -> T {
        look(&mut self.scanners.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
