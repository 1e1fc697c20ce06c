//! Results become records, in the repository's budget of events.

use atcr_atproto::lexicon::scan::{self, ScanRecord};
use atcr_atproto::lexicon::{Record as _, RecordError, manifest, nsid};
use atcr_atproto::syntax::{AtUri, Datetime, SyntaxError};
use atcr_hold_pds::{RecordWrite, RepoError, Urgency};
use atcr_scan_protocol::DocumentKind;
use atcr_scan_protocol::bounds::{MAX_VERSION_LEN, cut};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;

use super::{Publication, Scan, ScanTableError, Scanning};
use crate::repo_blobs::RepoBlobError;

const PUBLISHER: Task = Task::new("publish_scans");
/// Records of one commit: each refers to two blobs, of which one write keeps a hundred.
const BATCH: u32 = 40;
/// How often results are looked for without a reason.
const INTERVAL: std::time::Duration = std::time::Duration::from_mins(1);

/// Why results were not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] ScanTableError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The blobs failed.
    #[error(transparent)]
    Blobs(#[from] RepoBlobError),
    /// A result has no form as a record.
    #[error("a result cannot be written as a record")]
    Syntax(#[from] SyntaxError),
    /// As [`Syntax`](Self::Syntax).
    #[error("a result cannot be written as a record")]
    Record(#[from] RecordError),
}

impl Scanning {
    async fn is_public(&self) -> Result<bool, RepoError> {
        let captain = self.inner.repo.captain().await?;
        Ok(captain.is_some_and(|captain| captain.public))
    }

    /// Writes the results that wait into records, if the hold publishes results now; else they are done with. Writing one again changes
    /// nothing, so a crash in the middle does no harm.
    ///
    /// # Errors
    /// [`PublishError`]; what was not published is the next time.
    pub async fn publish(&self) -> Result<(), PublishError> {
        let inner = &*self.inner;
        loop {
            let mut scans = inner.table.unpublished(BATCH).await?;
            if scans.is_empty() {
                return Ok(());
            }
            let is_public = self.is_public().await?;
            let publishes = match inner.options.publication {
                Publication::Always => true,
                Publication::Never => false,
                Publication::IfPublic => is_public,
            };
            if !publishes {
                for scan in &scans {
                    inner.table.published(scan).await?;
                }
                continue;
            }
            let kept = loop {
                let records: Vec<_> = scans
                    .iter()
                    .map(|scan| record(scan, is_public)?.to_value().map_err(PublishError::from))
                    .collect::<Result<_, _>>()?;
                match inner.blobs.keep_own(records.iter()).await {
                    Ok(kept) => break kept,
                    Err(RepoBlobError::NotUploaded(cid)) => {
                        let (gone, rest): (Vec<_>, Vec<_>) = scans
                            .into_iter()
                            .partition(|scan| scan.documents.values().any(|blob| blob.cid == cid));
                        for scan in &gone {
                            tracing::error!(
                                digest = %scan.digest, %cid, "an image is scanned again: a document of its result is gone"
                            );
                            inner.table.published(scan).await?;
                            inner
                                .table
                                .queue_lost_result(&scan.digest, inner.clock.now())
                                .await?;
                            inner.announce_ready();
                        }
                        if gone.is_empty() {
                            return Err(RepoBlobError::NotUploaded(cid).into());
                        }
                        scans = rest;
                    }
                    Err(error) => return Err(error.into()),
                }
            };
            let writes = scans
                .iter()
                .map(|scan| {
                    let record = record(scan, is_public)?;
                    Ok(RecordWrite::put(scan::rkey(scan.digest.as_str())?, &record)?)
                })
                .collect::<Result<Vec<_>, PublishError>>()?;
            if !writes.is_empty() {
                inner.repo.write_by(writes, Urgency::Background).await?;
            }
            drop(kept);
            for scan in &scans {
                inner.table.published(scan).await?;
            }
        }
    }

    /// Publishes results from now on, until the soft shutdown.
    pub fn start_publishing(&self, shutdown: &Shutdown) {
        let scanning = self.clone();
        let stop = shutdown.soft().clone();
        PUBLISHER.spawn(shutdown, async move {
            loop {
                // A failure is logged and counted there.
                let _ = PUBLISHER.attempt("round", scanning.publish()).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = scanning.inner.unpublished.notified() => {}
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        });
    }
}

/// A private hold's documents are for those who may read the image, so its record does not name them.
fn record(scan: &Scan, with_documents: bool) -> Result<ScanRecord, PublishError> {
    let manifest = AtUri::record(
        &scan.owner,
        nsid::MANIFEST,
        &manifest::rkey(scan.digest.as_str())?,
    )?;
    let mut record = ScanRecord::new(
        manifest,
        scan.repository.clone(),
        scan.owner.clone(),
        scan.counts,
        cut(&scan.scanner_version, MAX_VERSION_LEN),
        Datetime::from(scan.scanned_at),
    );
    if with_documents {
        record.sbom_blob = scan.documents.get(&DocumentKind::Sbom).cloned();
        record.vuln_report_blob = scan.documents.get(&DocumentKind::VulnReport).cloned();
    }
    Ok(record)
}
