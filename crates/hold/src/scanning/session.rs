//! One connected scanner: jobs out, results in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_oci::Digest;
use atcr_scan_protocol::{
    Cursor, DocumentKind, FailureClass, ScanJob, ScanResult, ScanState, ScannerMessage, Subject, Subscription,
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::IgnoredAny;

use super::port::LOST;
use super::{Claim, ConnectedScanner, Fate, HandedOut, Scan, ScanTableError, Scanning, Taken, Taker};

/// Scanners at once.
const SCANNERS: usize = 64;
/// Original ones of these: their results come as one message of up to 267 MiB, which is in memory.
const ORIGINAL_SCANNERS: usize = 4;
/// Jobs that an original scanner has at once: its usual number of workers.
const ORIGINAL_WORKERS: u16 = 2;
/// How long a job that was lost waits for a scanner without another job before all scanners finish theirs first.
const PATIENCE: TimeDelta = TimeDelta::minutes(5);
/// The class of a result that cannot be used.
const RESULT: &str = "result";
/// The class of a result that the hold could not keep.
const HOLD: &str = "hold";
/// A scanner that says no version.
const UNNAMED: &str = "unknown scanner";

/// Results by how they ended; label `outcome`.
const RESULTS: &str = "hold_scan_results_total";
/// Seconds from handing a job out to its result.
const DURATION: &str = "hold_scan_duration_seconds";
/// Results whose documents were not kept.
const NO_ROOM: &str = "hold_scan_results_without_room_total";
/// Jobs that were lost with their scanner.
const LOSSES: &str = "hold_scan_jobs_lost_total";

/// As many scanners as the hold takes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this hold has as many scanners as it takes")]
pub struct TooManyScanners;

/// One connected scanner. Its jobs keep their leases when this is dropped; [`lost`](Self::lost) gives them back.
#[derive(Debug)]
pub struct ScannerSession {
    scanning: Scanning,
    id: u64,
    /// Jobs that were queued earlier are not for this one.
    since: Option<DateTime<Utc>>,
    places: usize,
    lease: Duration,
    jobs: BTreeMap<u64, Digest>,
    /// The job that is its only one.
    alone: Option<u64>,
    /// When its vulnerability database was built, as far as it says so.
    database: Option<DateTime<Utc>>,
}

impl Drop for ScannerSession {
    fn drop(&mut self) {
        self.scanning
            .inner
            .with_scanners(|scanners| scanners.remove(&self.id));
    }
}

impl Scanning {
    /// A scanner has connected.
    ///
    /// # Errors
    /// [`TooManyScanners`].
    pub fn connect(&self, subscription: Subscription) -> Result<ScannerSession, TooManyScanners> {
        let inner = &*self.inner;
        let id = inner.next_scanner.fetch_add(1, Ordering::Relaxed);
        let is_original = subscription.workers.is_none();
        let places = usize::from(subscription.workers.unwrap_or(ORIGINAL_WORKERS));
        inner.with_scanners(|scanners| {
            let originals = scanners.values().filter(|scanner| scanner.is_original);
            if scanners.len() >= SCANNERS || (is_original && originals.count() >= ORIGINAL_SCANNERS) {
                return Err(TooManyScanners);
            }
            let scanner = ConnectedScanner {
                is_original,
                places,
                jobs: 0,
                database: None,
            };
            scanners.insert(id, scanner);
            Ok(())
        })?;
        Ok(ScannerSession {
            scanning: self.clone(),
            id,
            since: (subscription.cursor == Cursor::OnlyNew).then(|| inner.clock.now()),
            places,
            lease: if is_original {
                inner.options.original_lease
            } else {
                inner.options.lease
            },
            jobs: BTreeMap::new(),
            alone: None,
            database: None,
        })
    }

    /// Gives back a job whose scanner is gone or silent, if the claim is right.
    pub(super) async fn lose(&self, seq: u64, claim: Claim) -> Result<(), ScanTableError> {
        let inner = &*self.inner;
        let Some(trouble) = inner.table.trouble(seq).await? else {
            return Ok(());
        };
        let now = inner.clock.now();
        let rests = &inner.options.rests;
        let fate = match (rest(rests, trouble.tries), rests.last()) {
            (Some(rest), _) => Fate::RestsUntil(now + rest),
            // It was not alone, so it may not be to blame.
            (None, Some(longest)) if !trouble.was_lost => Fate::RestsUntil(now + with_jitter(*longest)),
            _ => Fate::Failed,
        };
        let reason = "the scanner that had the job left or fell silent";
        let ending = inner.table.end(seq, claim, &fate, Some(LOST), Some(reason), now);
        if ending.await? {
            metrics::counter!(LOSSES).increment(1);
            tracing::warn!(seq, ?trouble, ?fate, "a scan was lost with its scanner");
        }
        Ok(())
    }
}

/// How long a job rests that went wrong `tries` times before; `None` if it is given up.
fn rest(rests: &[Duration], tries: u32) -> Option<TimeDelta> {
    let rest = rests.get(usize::try_from(tries).ok()?)?;
    Some(with_jitter(*rest))
}

/// Up to a quarter more, so that what was lost together does not come together.
fn with_jitter(rest: Duration) -> TimeDelta {
    let rest = rest.mul_f64(1.0 + rand::random::<f64>() / 4.0);
    TimeDelta::from_std(rest).unwrap_or(TimeDelta::MAX)
}

impl ScannerSession {
    /// Whether the scanner can have another job.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.alone.is_none() && self.jobs.len() < self.places
    }

    /// The next job for this scanner.
    ///
    /// # Errors
    /// The table's.
    pub async fn take(&mut self) -> Result<Option<ScanJob>, ScanTableError> {
        let inner = &*self.scanning.inner;
        let now = inner.clock.now();
        let seq = inner.next_seq(now);
        let taker = Taker {
            holder: self.id,
            since: self.since,
            is_idle: self.jobs.is_empty(),
            database: self.database,
        };
        let (until, patience) = (now + self.lease, now - PATIENCE);
        let Some(job) = inner.table.hand_out(seq, taker, now, until, patience).await? else {
            return Ok(None);
        };
        self.jobs.insert(seq, job.digest.clone());
        if job.was_lost {
            self.alone = Some(seq);
            // Others may have waited for a scanner that takes it.
            inner.announce_ready();
        }
        self.count_jobs();
        tracing::info!(seq, digest = %job.digest, did = %job.owner, "a scanner gets a job");
        Ok(Some(self.message(job)))
    }

    fn message(&self, job: HandedOut) -> ScanJob {
        let inner = &*self.scanning.inner;
        let options = &inner.options;
        let mut results_url = options.public_url.clone();
        results_url.set_path(&format!("/scan-results/{}", job.seq));
        let list_url = job.is_rematch.then(|| {
            let mut list_url = options.public_url.clone();
            list_url.set_path(&format!(
                "/scans/{}/{}",
                job.digest,
                DocumentKind::SbomSyft.as_str()
            ));
            list_url
        });
        ScanJob {
            seq: job.seq,
            digest: job.digest,
            repository: job.repository,
            user_did: job.owner,
            hold_did: inner.repo.did().clone(),
            hold_endpoint: options.public_url.clone(),
            tag: job.tag,
            priority: job.priority,
            results_url: Some(results_url),
            lease_seconds: Some(self.lease.as_secs().max(1)),
            cyclonedx: true,
            list_url,
        }
    }

    /// Takes a message of the scanner.
    ///
    /// # Errors
    /// The table's.
    pub async fn heard(&mut self, message: ScannerMessage) -> Result<(), ScanTableError> {
        let inner = self.scanning.inner.clone();
        match message {
            ScannerMessage::Progress(progress) => {
                let until = inner.clock.now() + self.lease;
                let stage = Some(progress.stage.as_str()).filter(|stage| !stage.is_empty());
                let (seq, digest) = (progress.seq, progress.digest);
                // The job may be of an earlier connection of this scanner.
                if inner.table.renew(seq, &digest, self.id, stage, until).await? {
                    self.jobs.insert(seq, digest);
                } else {
                    self.jobs.remove(&seq);
                }
            }
            ScannerMessage::Release(release) => {
                if inner.table.running(release.seq, &release.digest).await?.is_some() {
                    let fate = Fate::Ready { counts: false };
                    let now = inner.clock.now();
                    let ending = inner
                        .table
                        .end(release.seq, Claim::Message, &fate, None, None, now);
                    ending.await?;
                    inner.announce_ready();
                }
                self.jobs.remove(&release.seq);
            }
            ScannerMessage::Result(result) => self.take_result(*result).await?,
            ScannerMessage::Database(database) => {
                // A date that is still to come would be newer than every result for ever.
                self.database = Some(database.built.min(inner.clock.now()));
                inner.announce_ready();
            }
            ScannerMessage::Unknown => tracing::debug!("a message of a scanner is passed over"),
        }
        self.count_jobs();
        Ok(())
    }

    /// Takes the end of a job whose result cannot be read.
    ///
    /// # Errors
    /// The table's. `false` if this scanner has no such job.
    pub async fn cannot_read(&mut self, subject: &Subject, why: &str) -> Result<bool, ScanTableError> {
        let inner = self.scanning.inner.clone();
        let job = inner.table.awaited(&subject.digest, subject.seq).await?;
        let Some(job) = job.filter(|job| self.jobs.contains_key(&job.seq)) else {
            return Ok(false);
        };
        self.jobs.remove(&job.seq);
        let outcome = self.failed(&job, Some(RESULT), why).await?;
        metrics::counter!(RESULTS, "outcome" => outcome).increment(1);
        self.count_jobs();
        Ok(true)
    }

    /// Frees the places of jobs that this scanner does not have any more.
    ///
    /// # Errors
    /// The table's.
    pub async fn prune(&mut self) -> Result<(), ScanTableError> {
        if self.jobs.is_empty() {
            return Ok(());
        }
        let held = self.scanning.inner.table.held_by(self.id).await?;
        let held: BTreeSet<u64> = held.into_iter().collect();
        self.jobs.retain(|seq, _| held.contains(seq));
        self.count_jobs();
        Ok(())
    }

    /// The scanner is gone: its jobs wait for another.
    ///
    /// # Errors
    /// The table's; the leases of the others lapse.
    pub async fn lost(mut self) -> Result<(), ScanTableError> {
        for seq in std::mem::take(&mut self.jobs).into_keys() {
            self.scanning.lose(seq, Claim::Holder(self.id)).await?;
        }
        Ok(())
    }

    fn count_jobs(&mut self) {
        self.alone = self.alone.filter(|seq| self.jobs.contains_key(seq));
        self.scanning.inner.with_scanners(|scanners| {
            if let Some(scanner) = scanners.get_mut(&self.id) {
                scanner.jobs = self.jobs.len();
                scanner.database = self.database;
            }
        });
    }

    async fn take_result(&mut self, result: ScanResult) -> Result<(), ScanTableError> {
        let inner = self.scanning.inner.clone();
        match result.seq {
            Some(seq) => {
                self.jobs.remove(&seq);
            }
            // The job may have been given to another meanwhile.
            None => self.jobs.retain(|_, digest| *digest != result.digest),
        }
        let Some(job) = inner.table.awaited(&result.digest, result.seq).await? else {
            tracing::warn!(
                seq = result.seq, digest = %result.digest, state = %result.state,
                "a result of a scanner is passed over: no job waits for it"
            );
            metrics::counter!(RESULTS, "outcome" => "unexpected").increment(1);
            return Ok(());
        };
        let outcome = match result.state {
            ScanState::Failed => {
                let reason = result.error.as_deref().unwrap_or("the scanner says no reason");
                self.failed(&job, result.error_class.as_deref(), reason).await?
            }
            ScanState::NotApplicable => {
                let class = result.error_class.as_deref().unwrap_or("scanner");
                let now = inner.clock.now();
                inner
                    .table
                    .end(
                        job.seq,
                        Claim::Message,
                        &Fate::NotApplicable,
                        Some(class),
                        None,
                        now,
                    )
                    .await?;
                ScanState::NotApplicable.as_str()
            }
            ScanState::Complete | ScanState::Partial | ScanState::SbomOnly => {
                self.succeeded(&job, result).await?
            }
        };
        metrics::counter!(RESULTS, "outcome" => outcome).increment(1);
        let took = (inner.clock.now() - job.at).to_std().unwrap_or_default();
        metrics::histogram!(DURATION).record(took);
        tracing::info!(
            seq = job.seq, digest = %job.digest, did = %job.owner, outcome, seconds = took.as_secs(),
            "a scan ended"
        );
        Ok(())
    }

    /// The outcome, for the metric.
    async fn succeeded(
        &mut self,
        job: &HandedOut,
        result: ScanResult,
    ) -> Result<&'static str, ScanTableError> {
        let inner = Arc::clone(&self.scanning.inner);
        let state = result.state;
        if job.is_rematch
            && let Some(known) = inner.table.scan(&job.digest).await?
            && result.database_built <= known.database_built
        {
            // It would be handed the same again and again.
            tracing::warn!(digest = %job.digest, "a scanner has no newer vulnerability database, though it says so");
            self.database = None;
        }
        let documents = match self.documents(job, &result).await? {
            Ok(documents) => documents,
            Err((class, reason)) => return self.failed(job, Some(class), &reason).await,
        };
        let scan = Scan {
            digest: job.digest.clone(),
            owner: job.owner.clone(),
            repository: job.repository.clone(),
            state,
            counts: if state.has_counts() {
                result.summary
            } else {
                SeverityCounts::default()
            },
            scanner_version: result.scanner_version.unwrap_or_else(|| UNNAMED.to_owned()),
            database_built: result.database_built,
            tools: result.tools,
            scanned_at: inner.clock.now(),
            documents,
        };
        // Whether it is published, the publisher decides.
        let has_counts = state.has_counts();
        let room = inner.options.room;
        let taken = inner.table.finish(job.seq, &scan, has_counts, room).await?;
        if taken == Taken::Unexpected {
            return Ok("unexpected");
        }
        if taken == Taken::WithoutDocuments {
            metrics::counter!(NO_ROOM).increment(1);
            tracing::warn!(
                digest = %job.digest, did = %job.owner, ?room,
                "of a scan only the counts are kept: there is no room for more documents"
            );
        }
        if has_counts {
            inner.unpublished.notify_one();
        }
        Ok(state.as_str())
    }

    /// The documents of a result; else the class and reason of a failure.
    async fn documents(
        &self,
        job: &HandedOut,
        result: &ScanResult,
    ) -> Result<Result<BTreeMap<DocumentKind, BlobRef>, (&'static str, String)>, ScanTableError> {
        let inner = &*self.scanning.inner;
        if result.uploaded {
            let uploads = inner.table.uploads(job.seq).await?;
            let needs_report = result.state.has_counts();
            let needs_list = !job.is_rematch;
            let reason = if needs_list && !uploads.contains_key(&DocumentKind::Sbom) {
                "the scanner says that it uploaded the list of packages, which is not here"
            } else if needs_report && !uploads.contains_key(&DocumentKind::VulnReport) {
                "the scanner says that it uploaded its findings, which are not here"
            } else {
                return Ok(Ok(uploads));
            };
            return Ok(Err((RESULT, reason.to_owned())));
        }
        let mut documents = BTreeMap::new();
        let given = [
            (DocumentKind::Sbom, &result.sbom),
            (DocumentKind::VulnReport, &result.vuln_report),
        ];
        for (kind, bytes) in given {
            let Some(bytes) = bytes else { continue };
            if !is_json_object(bytes.clone()).await {
                return Ok(Err((RESULT, format!("the {} is not JSON", kind.as_str()))));
            }
            match inner.blobs.upload_whole(kind.media_type(), bytes.clone()).await {
                Ok(blob) => documents.insert(kind, blob),
                Err(error) => {
                    tracing::error!(%error, "a document of a scan could not be kept");
                    return Ok(Err((HOLD, "the hold could not keep the result".to_owned())));
                }
            };
        }
        Ok(Ok(documents))
    }

    /// The outcome, for the metric.
    async fn failed(
        &self,
        job: &HandedOut,
        class: Option<&str>,
        reason: &str,
    ) -> Result<&'static str, ScanTableError> {
        let inner = &*self.scanning.inner;
        let now = inner.clock.now();
        let tries = inner
            .table
            .trouble(job.seq)
            .await?
            .map_or(0, |trouble| trouble.tries);
        let kind = FailureClass::of(class);
        let fate = match rest(&inner.options.rests, tries) {
            _ if kind == FailureClass::Shutdown => Fate::Ready { counts: false },
            // What cannot be looked up again is scanned.
            Some(rest) if kind.is_worth_retrying() || job.is_rematch => Fate::RestsUntil(now + rest),
            _ => Fate::Failed,
        };
        tracing::warn!(
            seq = job.seq, digest = %job.digest, did = %job.owner, class, reason, tries, ?fate, "a scan failed"
        );
        let ending = inner
            .table
            .end(job.seq, Claim::Message, &fate, class, Some(reason), now);
        ending.await?;
        if matches!(fate, Fate::Ready { .. }) {
            inner.announce_ready();
        }
        Ok(ScanState::Failed.as_str())
    }
}

/// Whether the bytes are one JSON object. Reading a long one takes as long as tasks must not.
async fn is_json_object(bytes: Bytes) -> bool {
    let reading = move || {
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        is_object && serde_json::from_slice::<IgnoredAny>(&bytes).is_ok()
    };
    tokio::task::spawn_blocking(reading).await.unwrap_or(false)
}
