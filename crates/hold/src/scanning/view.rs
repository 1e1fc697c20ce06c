//! What those who may read an image are told of its scan.

use atcr_atproto::lexicon::BlobRef;
use atcr_hold_pds::access::{BlobRead, Granted};
use atcr_oci::Digest;
use atcr_scan_protocol::{
    DocumentKind, DocumentView, FailureView, JobState, JobView, ResultView, ScanView, ScannersView,
};
use atcr_server::client_address::ClientAddress;

use super::{JobStatus, Scan, ScanTableError, Scanning};
use crate::repo_blobs::{OpenBlob, RepoBlobError};

/// Jobs that are counted to say how many come first.
const COUNTED: u32 = 1000;

impl Scanning {
    /// What is known about the scan of a manifest. The proof is for the hold's blobs, and so for what is in them.
    ///
    /// # Errors
    /// The table's.
    pub async fn view(&self, _: &Granted<BlobRead>, digest: &Digest) -> Result<ScanView, ScanTableError> {
        let inner = &*self.inner;
        let result = inner.table.scan(digest).await?;
        let job = inner.table.status(digest, COUNTED).await?;
        Ok(ScanView {
            digest: digest.clone(),
            result: result.map(result_view),
            job: job.map(job_view),
            scanners: ScannersView {
                enabled: self.is_enabled(),
                connected: inner.with_scanners(|scanners| u32::try_from(scanners.len()).unwrap_or(u32::MAX)),
            },
        })
    }

    /// Opens a document of the last result, for `client`.
    ///
    /// # Errors
    /// The blobs'; `None` if there is none.
    pub async fn document(
        &self,
        _: &Granted<BlobRead>,
        digest: &Digest,
        kind: DocumentKind,
        client: Option<&ClientAddress>,
    ) -> Result<Option<OpenBlob>, OpenDocumentError> {
        let Some(scan) = self.inner.table.scan(digest).await? else {
            return Ok(None);
        };
        match scan.documents.get(&kind) {
            Some(blob) => Ok(self.inner.blobs.read_own(blob, client).await?),
            None => Ok(None),
        }
    }
}

/// Why a document was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenDocumentError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] ScanTableError),
    /// The blobs failed.
    #[error(transparent)]
    Blob(#[from] RepoBlobError),
}

fn result_view(scan: Scan) -> ResultView {
    let documents = scan
        .documents
        .into_iter()
        .map(|(kind, blob): (DocumentKind, BlobRef)| {
            let view = DocumentView {
                cid: blob.cid.to_string(),
                size: blob.size,
                media_type: blob.mime_type,
            };
            (kind.as_str().to_owned(), view)
        });
    ResultView {
        state: scan.state,
        owner: scan.owner,
        summary: scan.state.has_counts().then_some(scan.counts),
        scanner_version: scan.scanner_version,
        scanned_at: scan.scanned_at,
        database_built: scan.database_built,
        tools: scan.tools,
        documents: documents.collect(),
    }
}

fn job_view(status: JobStatus) -> JobView {
    let is_failure = status.state != JobState::NotApplicable;
    let has_failed = is_failure && (status.failure.is_some() || status.failure_class.is_some());
    JobView {
        state: status.state,
        queued_at: status.queued_at,
        ahead: status.ahead,
        stage: status.stage,
        tries: status.tries,
        reason: status.failure_class.clone().filter(|_| !is_failure),
        failure: has_failed.then_some(FailureView {
            class: status.failure_class,
            message: status.failure,
            at: status.ended_at,
        }),
    }
}
