//! One job after the other: scan, say what came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use atcr_scan_protocol::{DocumentKind, ScanJob, ScanResult, ScanState};
use atcr_server::supervise::Task;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::Outgoing;
use super::jobs::{Jobs, Subject, release};
use crate::adapters::hold_blobs::HoldBlobs;
use crate::adapters::kept_lists::KeptLists;
use crate::adapters::network::{Accounts, NetworkImage};
use crate::adapters::results::{Results, UploadError};
use crate::error::ScanError;
use crate::scan::{Outcome, Request, Scanned, Scanner, Stage};

/// The background task.
const TASK: Task = Task::new("scan");

/// What does the jobs. Clones share everything.
#[derive(Clone)]
pub struct Worker {
    /// What scans.
    pub scanner: Arc<Scanner>,
    /// Where manifests come from.
    pub accounts: Accounts,
    /// Where layers come from.
    pub hold: HoldBlobs,
    /// Where lists of packages are that were made before.
    pub lists: KeptLists,
    /// Where documents go.
    pub results: Results,
    /// The jobs.
    pub jobs: Arc<Jobs>,
    /// What is said to the hold.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// When it is cancelled, jobs are given back.
    pub stop: CancellationToken,
}

impl Worker {
    /// Does jobs until there are no more.
    pub async fn run(self) {
        while let Some((subject, job)) = self.jobs.next().await {
            let item = job.digest.clone();
            // A panic costs the job: its lease ends, and another scanner may get it.
            if TASK.catch(item, self.job(&subject, job)).await.is_none() {
                self.jobs.forget(&subject);
            }
        }
    }

    /// Does one job, and tells the hold what came of it.
    async fn job(&self, subject: &Subject, job: ScanJob) {
        let began = Instant::now();
        tracing::info!(seq = job.seq, digest = %job.digest, did = %job.user_did, "scanning");
        let outcome = self.scan(subject, &job).await;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &outcome {
            Ok(Outcome::Scanned(scanned)) => tracing::info!(
                digest = %job.digest,
                state = scanned.state.as_str(),
                packages = scanned.packages,
                findings = scanned.counts.total,
                duration_ms,
                "scanned"
            ),
            Ok(Outcome::NotApplicable(why)) => tracing::info!(digest = %job.digest, why, "not an image"),
            Err(ScanError::Shutdown) => tracing::info!(digest = %job.digest, "a scan is given back"),
            Err(error) => tracing::warn!(digest = %job.digest, %error, duration_ms, "a scan failed"),
        }
        loop {
            // The hold may hand the job out again while it is under way, and waits for the last number then.
            let job = self.jobs.latest(subject).unwrap_or_else(|| job.clone());
            let is_answered = match self.answer(subject, &job, &outcome).await {
                Some(text) => self.say(subject, job.seq, text).await,
                None => self.jobs.done(subject, job.seq),
            };
            if is_answered {
                return;
            }
            tracing::info!(digest = %job.digest, "a job was handed out again; its result is sent for the new number");
        }
    }

    async fn scan(&self, subject: &Subject, job: &ScanJob) -> Result<Outcome, ScanError> {
        let stage = |stage: Stage| {
            tracing::info!(digest = %job.digest, stage = stage.as_str(), "scan goes on");
            self.jobs.note(subject, stage);
        };
        if let (Some(list_url), Some(_)) = (&job.list_url, &job.results_url) {
            let fetch = async |path| self.lists.fetch(list_url, path).await;
            match self.scanner.look_up_again(fetch, &stage, &self.stop).await {
                Ok(Some(scanned)) => return Ok(Outcome::Scanned(Box::new(scanned))),
                Ok(None) => {
                    tracing::info!(digest = %job.digest, "the image is scanned: its packages were listed by another Syft");
                }
                Err(ScanError::Shutdown) => return Err(ScanError::Shutdown),
                Err(error) => {
                    tracing::warn!(digest = %job.digest, %error, "the image is scanned: its packages cannot be looked up again");
                }
            }
        }
        let source = NetworkImage::new(
            self.accounts.clone(),
            self.hold.clone(),
            job.user_did.clone(),
            job.repository.clone(),
        );
        let name = format!("{}/{}", job.user_did, job.repository);
        let request = Request {
            name: &name,
            digest: &job.digest,
            source: &source,
            cyclonedx: job.cyclonedx,
            stage: &stage,
        };
        self.scanner.scan(request, &self.stop).await
    }

    async fn answer(
        &self,
        subject: &Subject,
        job: &ScanJob,
        outcome: &Result<Outcome, ScanError>,
    ) -> Option<String> {
        let mut result = self.result(job);
        match outcome {
            Err(ScanError::Shutdown) => return release(job).map(|release| release.encode()),
            Err(error) => fail(&mut result, error),
            Ok(Outcome::NotApplicable(why)) => {
                result.state = ScanState::NotApplicable;
                if job.results_url.is_none() {
                    // Without one an original hold would record an image without findings.
                    result.error = Some(format!("not-applicable: {why}"));
                }
            }
            Ok(Outcome::Scanned(scanned)) => {
                result.state = match scanned.packages {
                    // Nothing was recognised, so nothing was looked up: that is no image without vulnerabilities. An original hold would
                    // take it for one whatever is said.
                    0 if job.results_url.is_some() => ScanState::SbomOnly,
                    _ => scanned.state,
                };
                result.summary = scanned.counts;
                result.database_built = scanned.database_built;
                self.jobs.note(subject, Stage::Uploading);
                let handed_over = tokio::select! {
                    biased;
                    handed_over = self.hand_over(job, scanned, &mut result) => handed_over,
                    () = self.stop.cancelled() => Err(ScanError::Shutdown.into()),
                };
                match handed_over {
                    Ok(()) => {}
                    Err(UploadError::Unsendable(ScanError::Shutdown)) => {
                        return release(job).map(|release| release.encode());
                    }
                    Err(UploadError::Unsendable(error)) => fail(&mut result, &error),
                    Err(UploadError::Failed(why)) => fail(&mut result, &ScanError::Fetch(why)),
                    Err(error @ UploadError::Refused(_)) => {
                        tracing::warn!(digest = %job.digest, %error, "a result is not wanted any more");
                        return None;
                    }
                }
            }
        }
        result
            .encode()
            .inspect_err(|error| tracing::error!(%error, "a result has no form"))
            .ok()
    }

    fn result(&self, job: &ScanJob) -> ScanResult {
        let tools = &self.scanner.tools;
        let mut versions = BTreeMap::from([("syft".to_owned(), tools.syft.version.clone())]);
        if let Some(grype) = &tools.grype {
            versions.insert("grype".to_owned(), grype.version.clone());
        }
        ScanResult {
            seq: Some(job.seq),
            digest: job.digest.clone(),
            summary: atcr_atproto::lexicon::scan::SeverityCounts::default(),
            sbom: None,
            vuln_report: None,
            uploaded: false,
            state: ScanState::Failed,
            error: None,
            error_class: None,
            scanner_version: Some(tools.scanner_version()),
            database_built: None,
            tools: versions,
        }
    }

    /// Gives the documents to the hold: to one of ours beside the message, to an original in it.
    async fn hand_over(
        &self,
        job: &ScanJob,
        scanned: &Scanned,
        result: &mut ScanResult,
    ) -> Result<(), UploadError> {
        if let Some(results_url) = &job.results_url {
            for (kind, path) in &scanned.documents {
                self.results.upload(results_url, *kind, path).await?;
            }
            result.uploaded = true;
            return Ok(());
        }
        if scanned.state == ScanState::SbomOnly {
            // An original hold would record an image without findings.
            let why = match self.scanner.databases {
                Some(_) => "there is no vulnerability database yet",
                None => "this scanner looks nothing up, as SCANNER_VULN_ENABLED says",
            };
            return Err(ScanError::Database(why.to_owned()).into());
        }
        for (kind, path) in &scanned.documents {
            match kind {
                DocumentKind::Sbom => result.sbom = Some(read(path).await?),
                DocumentKind::VulnReport => result.vuln_report = Some(read(path).await?),
                DocumentKind::SbomSyft | DocumentKind::SbomCyclonedx => {}
            }
        }
        Ok(())
    }

    /// Answers the job with this number, and waits until that is sent: there is no next job before. False if the job has another
    /// number by then, and nothing was sent.
    async fn say(&self, subject: &Subject, seq: u64, text: String) -> bool {
        let (sent, is_sent) = oneshot::channel();
        let message = Outgoing {
            text: text.into(),
            answers: Some((subject.clone(), seq)),
            sent: Some(sent),
        };
        // Both fail only when the connection has ended for good.
        self.outgoing.send(message).await.is_err() || is_sent.await.unwrap_or(true)
    }
}

fn fail(result: &mut ScanResult, error: &ScanError) {
    result.state = ScanState::Failed;
    result.summary = atcr_atproto::lexicon::scan::SeverityCounts::default();
    result.error = Some(error.to_string());
    result.error_class = Some(error.class());
    (result.sbom, result.vuln_report) = (None, None);
}

async fn read(path: &Path) -> Result<Bytes, ScanError> {
    let bytes = tokio::fs::read(path).await;
    Ok(bytes
        .map_err(ScanError::workspace("cannot read a document"))?
        .into())
}
