//! Finding a blob, and handing out where to read it.

use atcr_oci::Digest;

use super::ports::{DownloadMethod, ObjectStat, PresignedUrl};
use super::{BlobError, BlobService, BlobStat, ObjectKey, Shared};

impl BlobService {
    /// The blob's size; `None` if it is not here.
    ///
    /// # Errors
    /// `Store`: try again.
    pub async fn stat(&self, digest: &Digest) -> Result<Option<BlobStat>, BlobError> {
        let found = self.shared.find(digest).await?;
        Ok(found.map(|(_, object)| BlobStat { size: object.size }))
    }

    /// A signed URL to read the blob at, valid for 5 minutes and one method; `None` if the blob is not here.
    ///
    /// # Errors
    /// `Store`: try again.
    pub async fn download_url(
        &self,
        digest: &Digest,
        method: DownloadMethod,
    ) -> Result<Option<PresignedUrl>, BlobError> {
        let shared = &*self.shared;
        let Some((key, _)) = shared.find(digest).await? else {
            return Ok(None);
        };
        let expires_at = shared.clock.now() + shared.options.download_url_lifetime;
        Ok(Some(shared.store.download_url(&key, method, expires_at).await?))
    }
}

impl Shared {
    /// Looks at the content address, then where older holds kept blobs.
    async fn find(&self, digest: &Digest) -> Result<Option<(ObjectKey, ObjectStat)>, BlobError> {
        for key in [ObjectKey::blob(digest), ObjectKey::legacy_blob(digest)] {
            if let Some(object) = self.store.stat(&key).await? {
                return Ok(Some((key, object)));
            }
        }
        Ok(None)
    }
}
