//! Finding a blob, and handing out where to read it.
//!
//! A caller to whom a blob is promised hears that it exists, and waits a while to read it.

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use tokio::time::{Instant, timeout_at};

use super::ports::{DownloadMethod, ObjectStat, PresignedUrl};
use super::{BlobError, BlobService, BlobStat, ObjectKey, Promised, Purpose, Shared};

impl BlobService {
    /// The blob's size; `None` if it is not here, nor promised to `caller`. Who hears a size may count on the blob.
    ///
    /// # Errors
    /// `Store`, `Sessions`: try again.
    pub async fn stat(&self, caller: Option<&Did>, digest: &Digest) -> Result<Option<BlobStat>, BlobError> {
        self.shared.size(caller, digest, Purpose::Exists).await
    }

    /// As [`stat`](Self::stat), but nobody is promised anything.
    ///
    /// # Errors
    /// `Store`, `Sessions`: try again.
    pub async fn look(&self, caller: Option<&Did>, digest: &Digest) -> Result<Option<BlobStat>, BlobError> {
        self.shared.size(caller, digest, Purpose::Look).await
    }

    /// As [`stat`](Self::stat), of a blob that a manifest names: it is condemned no longer, and nobody is promised anything.
    ///
    /// # Errors
    /// `Store`, `Sessions`: try again.
    pub async fn stat_named(
        &self,
        caller: Option<&Did>,
        digest: &Digest,
    ) -> Result<Option<BlobStat>, BlobError> {
        self.shared.size(caller, digest, Purpose::Kept).await
    }

    /// A signed URL to read the blob at, valid for 5 minutes and one method; `None` if the blob is not here. If it is promised to
    /// `caller`, waits for it for at most [`BlobOptions::promise_wait`](super::BlobOptions).
    ///
    /// # Errors
    /// - `StillPromised`: it was not there in time
    /// - `Store`, `Sessions`: try again
    pub async fn download_url(
        &self,
        caller: Option<&Did>,
        digest: &Digest,
        method: DownloadMethod,
    ) -> Result<Option<PresignedUrl>, BlobError> {
        let shared = &*self.shared;
        let purpose = match method {
            DownloadMethod::Get => Purpose::Read,
            DownloadMethod::Head => Purpose::Exists,
        };
        let give_up_at = Instant::now() + shared.options.promise_wait;
        loop {
            // Before the questions, so that no closing falls between them and the wait.
            let mut closings = shared.closings();
            let promised = shared.promised(caller, digest).await?;
            if let Some((key, _)) = shared.find(digest, purpose).await? {
                return Ok(Some(shared.sign(&key, method).await?));
            }
            let Some(promised) = promised else {
                return Ok(None);
            };
            // The length can be read before the bytes may be.
            let joined = &promised.upload.key;
            if method == DownloadMethod::Head && shared.store.stat(joined).await?.is_some() {
                return Ok(Some(shared.sign(joined, method).await?));
            }
            if timeout_at(give_up_at, closings.changed()).await.is_err() {
                return Err(BlobError::StillPromised);
            }
        }
    }
}

impl Shared {
    async fn sign(&self, key: &ObjectKey, method: DownloadMethod) -> Result<PresignedUrl, BlobError> {
        let expires_at = self.clock.now() + self.options.download_url_lifetime;
        Ok(self.store.download_url(key, method, expires_at).await?)
    }

    async fn size(
        &self,
        caller: Option<&Did>,
        digest: &Digest,
        purpose: Purpose,
    ) -> Result<Option<BlobStat>, BlobError> {
        // Asked first: a promise that is kept between the two questions is found by the second one.
        let promised = self.promised(caller, digest).await?;
        let size = match self.find(digest, purpose).await? {
            Some((_, object)) => Some(object.size),
            None => promised.map(|blob| blob.size),
        };
        Ok(size.map(|size| BlobStat { size }))
    }

    /// Looks at the content address, then where older holds kept blobs. What is found is promised for `purpose`.
    pub(super) async fn find(
        &self,
        digest: &Digest,
        purpose: Purpose,
    ) -> Result<Option<(ObjectKey, ObjectStat)>, BlobError> {
        // Before the store is asked: afterwards the blob could be gone.
        if self.options.standings.promise(digest, purpose).await? == Promised::No {
            return Ok(None);
        }
        for key in [ObjectKey::blob(digest), ObjectKey::legacy_blob(digest)] {
            if let Some(object) = self.store.stat(&key).await? {
                return Ok(Some((key, object)));
            }
        }
        Ok(None)
    }
}
