//! The blob use cases behind their permissions: no handler reaches [`BlobService`] without a proof.

use atcr_atproto::syntax::Did;
use atcr_hold_pds::access::{BlobRead, BlobWrite, Granted};
use atcr_oci::Digest;

use crate::blobs::{
    BlobError, BlobService, BlobStat, Completed, ContentProof, DownloadMethod, Initiated, PartTag, PartUrl,
    PresignedUrl,
};
use crate::gc::{Gc, UnlinkError, Unlinked};

/// [`BlobService`] whose every method takes a proof of permission. An upload belongs to the account that the proof names.
#[derive(Clone, Debug)]
pub struct GuardedBlobs {
    blobs: BlobService,
}

impl GuardedBlobs {
    /// Guards `blobs`.
    #[must_use]
    pub fn new(blobs: BlobService) -> Self {
        Self { blobs }
    }

    /// Whether the store hashes what it stores, so that a content proof would change nothing.
    #[must_use]
    pub fn store_hashes(&self) -> bool {
        self.blobs.store_traits().hashes
    }

    /// Begins an upload; see [`BlobService::initiate`].
    ///
    /// # Errors
    /// As there.
    pub async fn initiate(
        &self,
        grant: &Granted<BlobWrite>,
        identifier: &str,
        size: Option<u64>,
    ) -> Result<Initiated, BlobError> {
        self.blobs.initiate(grant.subject(), identifier, size).await
    }

    /// A URL for one part; see [`BlobService::part_url`].
    ///
    /// # Errors
    /// As there.
    pub async fn part_url(
        &self,
        grant: &Granted<BlobWrite>,
        upload_id: &str,
        part_number: u32,
    ) -> Result<PartUrl, BlobError> {
        self.blobs.part_url(grant.subject(), upload_id, part_number).await
    }

    /// Finishes an upload; see [`BlobService::complete`].
    ///
    /// # Errors
    /// As there.
    pub async fn complete(
        &self,
        grant: &Granted<BlobWrite>,
        upload_id: &str,
        digest: &Digest,
        parts: &[PartTag],
        vouched: Option<ContentProof>,
    ) -> Result<Completed, BlobError> {
        self.blobs
            .complete(grant.subject(), upload_id, digest, parts, vouched)
            .await
    }

    /// Deletes a blob from a repository of the account that the proof names; see [`Gc::unlink`].
    ///
    /// # Errors
    /// As there.
    pub async fn unlink(
        &self,
        grant: &Granted<BlobWrite>,
        gc: &Gc,
        repository: &str,
        digest: &Digest,
    ) -> Result<Unlinked, UnlinkError> {
        gc.unlink(&self.blobs, grant.subject(), repository, digest).await
    }

    /// Aborts an upload; see [`BlobService::abort`].
    ///
    /// # Errors
    /// As there.
    pub async fn abort(&self, grant: &Granted<BlobWrite>, upload_id: &str) -> Result<(), BlobError> {
        self.blobs.abort(grant.subject(), upload_id).await
    }

    /// Whether a blob is promised to any account, so that it matters who asks for it; see [`BlobService::is_promised`].
    ///
    /// # Errors
    /// As there.
    pub async fn is_promised(&self, _: &Granted<BlobRead>, digest: &Digest) -> Result<bool, BlobError> {
        self.blobs.is_promised(digest).await
    }

    /// A blob's size; see [`BlobService::stat`]. On a public hold the proof names no `caller`.
    ///
    /// # Errors
    /// As there.
    pub async fn stat(
        &self,
        _: &Granted<BlobRead>,
        caller: Option<&Did>,
        digest: &Digest,
    ) -> Result<Option<BlobStat>, BlobError> {
        self.blobs.stat(caller, digest).await
    }

    /// Where a blob can be read; see [`BlobService::download_url`]. On a public hold the proof names no `caller`.
    ///
    /// # Errors
    /// As there.
    pub async fn download_url(
        &self,
        _: &Granted<BlobRead>,
        caller: Option<&Did>,
        digest: &Digest,
        method: DownloadMethod,
    ) -> Result<Option<PresignedUrl>, BlobError> {
        self.blobs.download_url(caller, digest, method).await
    }
}
