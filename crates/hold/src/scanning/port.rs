//! The table of scans as the domain sees it.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_scan_protocol::{DocumentKind, JobState, ScanState};
use chrono::{DateTime, Utc};

/// Why the table failed.
#[derive(Debug, thiserror::Error)]
pub enum ScanTableError {
    /// The database failed.
    #[error("the table of scans cannot be read or written")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row is not what was written.
    #[error("{column} has an unexpected value")]
    Corrupt {
        /// Where.
        column: &'static str,
    },
}

/// A manifest that may have to be scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The manifest.
    pub digest: Digest,
    /// Whose it is.
    pub owner: Did,
    /// The image name without the owner.
    pub repository: String,
    /// The tag of the push.
    pub tag: Option<String>,
    /// Lower comes first.
    pub priority: i64,
    /// Why it is not scanned, in a word, if it is not.
    pub not_applicable: Option<&'static str>,
}

/// A job that a scanner has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut {
    /// The number of this time.
    pub seq: u64,
    /// The manifest.
    pub digest: Digest,
    /// Whose it is.
    pub owner: Did,
    /// The image name without the owner.
    pub repository: String,
    /// The tag of the push.
    pub tag: Option<String>,
    /// Lower comes first.
    pub priority: i64,
    /// When.
    pub at: DateTime<Utc>,
}

/// A result that was no failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The manifest.
    pub digest: Digest,
    /// Whose it is.
    pub owner: Did,
    /// The image name without the owner.
    pub repository: String,
    /// How complete it is.
    pub state: ScanState,
    /// The counts; zeros unless the state has counts.
    pub counts: SeverityCounts,
    /// Name and version of the scanner.
    pub scanner_version: String,
    /// When the vulnerability database was built.
    pub database_built: Option<DateTime<Utc>>,
    /// Names and versions of the tools.
    pub tools: BTreeMap<String, String>,
    /// When it came.
    pub scanned_at: DateTime<Utc>,
    /// Its documents.
    pub documents: BTreeMap<DocumentKind, BlobRef>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// What it does.
    pub state: JobState,
    /// Since when it waits, or waited.
    pub queued_at: DateTime<Utc>,
    /// Jobs that come before it, of a ready one; counted up to a bound.
    pub ahead: Option<u32>,
    /// What the scanner says it does.
    pub stage: Option<String>,
    /// Failures and losses in a row.
    pub tries: u32,
    /// The class of the last failure, or why it is not applicable.
    pub failure_class: Option<String>,
    /// The last failure.
    pub failure: Option<String>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What becomes of a job that failed or was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits again, at once. `counts` as a try.
    Ready {
        /// Whether it does.
        counts: bool,
    },
    /// It waits for another try at that time.
    RestsUntil(DateTime<Utc>),
    /// No more tries.
    Failed,
    /// It is no image.
    NotApplicable,
}

/// Jobs of each state that is not an end, and since when the oldest one waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Waiting.
    pub ready: u64,
    /// Waiting for another try.
    pub resting: u64,
    /// Running.
    pub running: u64,
    /// When the ready one was queued that waits longest.
    pub oldest: Option<DateTime<Utc>>,
}

/// Port: jobs, results and documents that outlive the process. Every error is the table's.
#[async_trait]
pub trait ScanTable: fmt::Debug + Send + Sync {
    /// Queues the candidate. One that runs or waits already is left where it is; one with a result, of any owner, from after `fresh` is done.
    /// Whether a job waits now that did not before.
    async fn queue(
        &self,
        candidate: &Candidate,
        now: DateTime<Utc>,
        fresh: DateTime<Utc>,
    ) -> Result<bool, ScanTableError>;

    /// The highest number that was given.
    async fn last_seq(&self) -> Result<u64, ScanTableError>;

    /// Gives out the next job as number `seq`, among those that were queued since `since` if it is said. No job of a manifest that runs for
    /// another owner.
    async fn hand_out(
        &self,
        seq: u64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        since: Option<DateTime<Utc>>,
    ) -> Result<Option<HandedOut>, ScanTableError>;

    /// The running job with this number and manifest.
    async fn running(&self, seq: u64, digest: &Digest) -> Result<Option<HandedOut>, ScanTableError>;

    /// The job that a result without a number is about: the running one of the manifest, else a waiting one that was handed out.
    async fn awaited(&self, digest: &Digest, seq: Option<u64>) -> Result<Option<HandedOut>, ScanTableError>;

    /// Renews a lease. Whether the job runs.
    async fn renew(
        &self,
        seq: u64,
        digest: &Digest,
        stage: Option<&str>,
        until: DateTime<Utc>,
    ) -> Result<bool, ScanTableError>;

    /// How often in a row the job with this number failed or was lost; `None` if it neither runs nor waits.
    async fn tries(&self, seq: u64) -> Result<Option<u32>, ScanTableError>;

    /// Ends the time with this number as `fate` says. Whether there was one: a job that runs or waits.
    async fn end(
        &self,
        seq: u64,
        fate: &Fate,
        class: Option<&str>,
        reason: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, ScanTableError>;

    /// Takes the result of the job `seq`: in one step, the jobs of this manifest are done and the result is kept, unless it has no counts and
    /// the kept one has. False, and nothing changed, if the job neither runs nor waits.
    async fn finish(&self, seq: u64, scan: &Scan, publish: bool) -> Result<bool, ScanTableError>;

    /// Numbers of running jobs whose lease ended before `now`, at most `limit`.
    async fn lapsed(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<u64>, ScanTableError>;

    /// Makes jobs ready whose next try is due. How many.
    async fn wake(&self, now: DateTime<Utc>) -> Result<u64, ScanTableError>;

    /// Makes the jobs ready that ended first, before `before`, at most `limit`, with this priority. How many.
    async fn queue_again(
        &self,
        before: DateTime<Utc>,
        priority: i64,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<u64, ScanTableError>;

    /// Notes a document for the result of `seq`.
    async fn note_upload(&self, seq: u64, kind: DocumentKind, blob: &BlobRef) -> Result<(), ScanTableError>;

    /// The documents that were noted for `seq`.
    async fn uploads(&self, seq: u64) -> Result<BTreeMap<DocumentKind, BlobRef>, ScanTableError>;

    /// The last result of the manifest.
    async fn scan(&self, digest: &Digest) -> Result<Option<Scan>, ScanTableError>;

    /// Where the job of the manifest stands; of several owners' the one that is nearest to a result. `count_to` bounds `ahead`.
    async fn status(&self, digest: &Digest, count_to: u32) -> Result<Option<JobStatus>, ScanTableError>;

    /// Results that are to be published, at most `limit`.
    async fn unpublished(&self, limit: u32) -> Result<Vec<Scan>, ScanTableError>;

    /// Notes that the result was published, unless there is a newer one.
    async fn published(&self, scan: &Scan) -> Result<(), ScanTableError>;

    /// The state of the queue.
    async fn figures(&self) -> Result<QueueFigures, ScanTableError>;
}
