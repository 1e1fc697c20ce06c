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

/// The class of a job whose scanner left or fell silent.
pub(crate) const LOST: &str = "lost";

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
    /// Whether its scanner was lost the last time.
    pub was_lost: bool,
    /// Whether the packages of its last result are to be looked up again.
    pub is_rematch: bool,
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

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedJob {
    /// The manifest.
    pub digest: Digest,
    /// Whose it is.
    pub owner: Did,
    /// The image name without the owner.
    pub repository: String,
    /// The tag of the push.
    pub tag: Option<String>,
    /// Where it stands.
    pub status: JobStatus,
}

/// How often a job went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Failures and losses in a row.
    pub tries: u32,
    /// Whether it was lost the last time. Such a job is a scanner's only one.
    pub was_lost: bool,
}

/// Whose word ends the time of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A message about it.
    Message,
    /// The end of the connection that has it.
    Holder(u64),
    /// The end of its lease before that time.
    Lapse(DateTime<Utc>),
}

/// What became of candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Jobs that wait now and did not before.
    pub ready: u64,
    /// Images that are not queued since their owner has as many as one may have.
    pub refused: u64,
}

/// Bytes of documents that are kept: those of one owner's results, and of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of one owner.
    pub of_owner: u64,
    /// Of all.
    pub in_all: u64,
}

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// No job waited for it.
    Unexpected,
    /// It is kept, or a better one is.
    Kept,
    /// It is kept without its documents, for which there is no room.
    WithoutDocuments,
}

/// To whom a job is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// The connection.
    pub holder: u64,
    /// Jobs that were queued earlier are not for it.
    pub since: Option<DateTime<Utc>>,
    /// Whether it has no other job.
    pub is_idle: bool,
    /// When its vulnerability database was built, as far as it says so. Packages are looked up again only in a newer one than before.
    pub database: Option<DateTime<Utc>>,
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
    /// Queues the candidates of one owner in one step. One that runs, waits or rests already is left where it is; one with a result, of any
    /// owner, from after `fresh` is done. Beyond `most` jobs of the owner that are not over, images are refused.
    async fn queue(
        &self,
        candidates: &[Candidate],
        now: DateTime<Utc>,
        fresh: DateTime<Utc>,
        most: u32,
    ) -> Result<Queued, ScanTableError>;

    /// The highest number that was given.
    async fn last_seq(&self) -> Result<u64, ScanTableError>;

    /// Gives out the next job as number `seq`, by priority, then in turns of the owners. No job of a manifest that runs for another owner;
    /// one that was lost with its scanner only to one that is idle, and once such a job waits since before `patience`, none after it to one
    /// that is not. What was uploaded for the job before is forgotten.
    async fn hand_out(
        &self,
        seq: u64,
        taker: Taker,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        patience: DateTime<Utc>,
    ) -> Result<Option<HandedOut>, ScanTableError>;

    /// The running job with this number and manifest.
    async fn running(&self, seq: u64, digest: &Digest) -> Result<Option<HandedOut>, ScanTableError>;

    /// The job that a result without a number is about: the running one of the manifest, else a waiting one that was handed out.
    async fn awaited(&self, digest: &Digest, seq: Option<u64>) -> Result<Option<HandedOut>, ScanTableError>;

    /// Renews a lease; the job is the connection's from then on. Whether the job runs.
    async fn renew(
        &self,
        seq: u64,
        digest: &Digest,
        holder: u64,
        stage: Option<&str>,
        until: DateTime<Utc>,
    ) -> Result<bool, ScanTableError>;

    /// Numbers of the running jobs that the connection has.
    async fn held_by(&self, holder: u64) -> Result<Vec<u64>, ScanTableError>;

    /// How often the job with this number went wrong; `None` if it neither runs nor waits.
    async fn trouble(&self, seq: u64) -> Result<Option<Trouble>, ScanTableError>;

    /// Ends the time with this number as `fate` says. False, and nothing changed, if it is over or the claim is not right.
    async fn end(
        &self,
        seq: u64,
        claim: Claim,
        fate: &Fate,
        class: Option<&str>,
        reason: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, ScanTableError>;

    /// Takes the result of the job `seq`: in one step, the jobs of this manifest are done and the result is kept, unless it has no counts and
    /// the kept one has. Nothing changes if the job neither runs nor waits. Documents for which there is no `room` are not noted.
    /// The result of a job that is looked up again has the lists of the result before it, unless it brings its own.
    /// The result is one of its owner and repository; those of an earlier result stay while its owner has the manifest here.
    async fn finish(&self, seq: u64, scan: &Scan, publish: bool, room: Room)
    -> Result<Taken, ScanTableError>;

    /// Numbers of running jobs whose lease ended before `now`, at most `limit`.
    async fn lapsed(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<u64>, ScanTableError>;

    /// Makes jobs ready whose next try is due. How many.
    async fn wake(&self, now: DateTime<Utc>) -> Result<u64, ScanTableError>;

    /// Makes jobs ready that ended before `before`, at most `limit`, with this priority: of those that ended first the most pulled; not those that were lost or whose image
    /// could not be fetched. How many.
    async fn queue_again(
        &self,
        before: DateTime<Utc>,
        priority: i64,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<u64, ScanTableError>;

    /// Manifests whose result has a list of packages that was looked up in a database from before `database`, or in none, the most pulled
    /// first; at most `limit`.
    async fn outdated(&self, database: DateTime<Utc>, limit: u32) -> Result<Vec<Digest>, ScanTableError>;

    /// Makes one job of each of these manifests ready, with this priority, for the same to be looked up again; where nothing was looked up
    /// yet, for a scan; in this order. Not those that are not outdated any more. How many.
    async fn queue_rematches(
        &self,
        digests: &[Digest],
        database: DateTime<Utc>,
        priority: i64,
        now: DateTime<Utc>,
    ) -> Result<u64, ScanTableError>;

    /// Ends waiting jobs whose packages were to be looked up again and need not be, since no scanner has a newer database than that of their
    /// result: `database` is the newest one. How many.
    async fn end_rematches(&self, database: Option<DateTime<Utc>>) -> Result<u64, ScanTableError>;

    /// Makes the jobs of a manifest ready whose result has lost its documents.
    async fn queue_lost_result(&self, digest: &Digest, now: DateTime<Utc>) -> Result<u64, ScanTableError>;

    /// Forgets jobs that ended before `before` and have no result, and documents that no job waits for; at most `limit` of each. How many.
    async fn expire(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, ScanTableError>;

    /// Notes a document for the result of `seq`. False if the job neither runs nor waits.
    async fn note_upload(&self, seq: u64, kind: DocumentKind, blob: &BlobRef)
    -> Result<bool, ScanTableError>;

    /// The documents that were noted for `seq`.
    async fn uploads(&self, seq: u64) -> Result<BTreeMap<DocumentKind, BlobRef>, ScanTableError>;

    /// The last result of the manifest.
    async fn scan(&self, digest: &Digest) -> Result<Option<Scan>, ScanTableError>;

    /// Where the job of the manifest stands; of several owners' the one that is nearest to a result. `count_to` bounds `ahead`.
    async fn status(&self, digest: &Digest, count_to: u32) -> Result<Option<JobStatus>, ScanTableError>;

    /// Jobs in one of `states`, those first that were queued or ended last; at most `limit`.
    async fn jobs(&self, states: &[JobState], limit: u32) -> Result<Vec<ListedJob>, ScanTableError>;

    /// Makes jobs due now that ended, failed, or rest: those of `digest`, else all that failed; at most `limit`. How many.
    async fn try_again(
        &self,
        digest: Option<&Digest>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64, ScanTableError>;

    /// Results that are to be published, at most `limit`.
    async fn unpublished(&self, limit: u32) -> Result<Vec<Scan>, ScanTableError>;

    /// Notes that the result was published, unless there is a newer one.
    async fn published(&self, scan: &Scan) -> Result<(), ScanTableError>;

    /// The state of the queue.
    async fn figures(&self) -> Result<QueueFigures, ScanTableError>;
}
