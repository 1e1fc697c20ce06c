//! A bucket, reached by the S3 protocol: AWS itself, or any service that speaks it.
//!
//! An upload is a multipart upload at a key of its own; when its bytes are known, the server copies them to the content
//! address. Clients send parts and fetch objects by URLs signed here, and never through the hold.
//!
//! - `client`: the SDK's client from [`S3Options`] · `presign`: URLs · `multipart`: upload, join, copy · `listing`: pages
//! - `inventory`: the published blobs, and how one of them goes
//! - `own_objects`: what the hold itself stores
//! - `expiry`: rules by which the bucket removes objects by itself
//! - `backup`: names below a prefix, for the repository's backup
//! - `error`: the SDK's errors → the port's

mod backup;
mod client;
mod error;
mod expiry;
mod inventory;
mod listing;
mod multipart;
mod own_objects;
mod presign;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_oci::Algorithm;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use chrono::{DateTime, Utc};
use futures_util::stream;
use url::Url;

pub use self::backup::S3Backup;
pub use self::client::S3Options;
use self::error::{is_absent, unavailable};
pub use self::expiry::{Expiry, ExpiryRule};
use crate::blobs::{
    Assembled, DownloadMethod, ObjectBytes, ObjectKey, ObjectStat, ObjectStore, PartTag, PartUrl,
    PresignedUrl, StoreError, StoreTraits, StoreUpload, Unfinished,
};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Sizes, in bytes, at which the way of copying changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// The largest object that is copied by one request; S3 allows 5 GiB, and copies many parts at once much sooner.
    pub whole: u64,
    /// What is copied at once of a larger one; more if it would be over 10,000 parts.
    pub part: u64,
}

impl Default for CopyLimits {
    fn default() -> Self {
        Self {
            whole: GIB,
            part: 256 * MIB,
        }
    }
}

/// A bucket as an object store.
#[derive(Clone, Debug)]
pub struct S3Store {
    client: Client,
    bucket: Arc<str>,
    pull_zone: Option<Url>,
    copy_limits: CopyLimits,
    clock: Arc<dyn Clock>,
}

impl S3Store {
    /// Uses the bucket that `options` name. Nothing is asked of it yet; see [`ObjectStore::ping`].
    #[must_use]
    pub fn new(options: &S3Options, clock: Arc<dyn Clock>) -> Self {
        Self {
            client: client::build(options),
            bucket: options.bucket.as_str().into(),
            pull_zone: options.pull_zone.clone(),
            copy_limits: CopyLimits::default(),
            clock,
        }
    }

    /// Copies as `limits` say, for a service whose own limits are lower.
    #[must_use]
    pub fn with_copy_limits(mut self, limits: CopyLimits) -> Self {
        self.copy_limits = limits;
        self
    }

    /// Length and version of an object; `None` if it is not there.
    async fn head(&self, key: &ObjectKey) -> Result<Option<(u64, Option<String>)>, StoreError> {
        let action = "look for an object";
        let sent = self
            .client
            .head_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .send()
            .await;
        match sent {
            Ok(found) => {
                let size = found.content_length().and_then(|size| u64::try_from(size).ok());
                let size = size.ok_or_else(|| StoreError::unavailable(action, "the answer has no length"))?;
                Ok(Some((size, found.e_tag)))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(unavailable(action, error)),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let sent = self
            .client
            .delete_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .send()
            .await;
        match sent {
            Err(error) if !is_absent(&error) => Err(unavailable("delete an object", error)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn traits(&self) -> StoreTraits {
        StoreTraits {
            min_part_size: 5 * MIB,
            max_part_size: Some(5 * GIB),
            hashes: false,
            streaming: false,
        }
    }

    async fn begin(&self, key: &ObjectKey, _algorithm: Algorithm) -> Result<StoreUpload, StoreError> {
        Ok(StoreUpload {
            key: key.clone(),
            id: self.create_multipart_upload(key).await?,
        })
    }

    async fn part_url(
        &self,
        upload: &StoreUpload,
        part_number: u32,
        expires_at: DateTime<Utc>,
    ) -> Result<PartUrl, StoreError> {
        self.presign_part(upload, part_number, expires_at).await
    }

    async fn measure(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Option<u64>, StoreError> {
        match self.size_of_parts(upload, parts).await? {
            Some(size) => Ok(Some(size)),
            // An earlier attempt may have joined them.
            None => Ok(self.head(&upload.key).await?.map(|(size, _)| size)),
        }
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Assembled, StoreError> {
        let completed = self.complete_multipart_upload(upload, parts).await;
        // Asked even after a failure: an earlier attempt may have joined the parts, and services differ in what they then
        // answer to another one. Nothing else ever writes to this key.
        match (self.head(&upload.key).await?, completed) {
            (Some((size, version)), _) => Ok(Assembled {
                size,
                digest: None,
                version,
            }),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::UnknownUpload),
        }
    }

    async fn read_assembled(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        range: Range<u64>,
    ) -> Result<ObjectBytes, StoreError> {
        let action = "read an upload back";
        let sent = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(upload.key.as_str())
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .set_if_match(assembled.version.clone())
            .send()
            .await;
        let object = match sent {
            Ok(object) => object,
            Err(error) if is_absent(&error) || error.code() == Some("PreconditionFailed") => {
                return Err(StoreError::UnknownUpload);
            }
            Err(error) => return Err(unavailable(action, error)),
        };
        Ok(Box::pin(stream::try_unfold(
            object.body,
            move |mut body| async move {
                let piece = body
                    .try_next()
                    .await
                    .map_err(|error| StoreError::unavailable(action, error))?;
                Ok(piece.map(|piece| (piece, body)))
            },
        )))
    }

    async fn publish(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        if self.head(key).await?.is_none() {
            self.copy(upload, assembled, key).await?;
        }
        if let Err(error) = self.delete(&upload.key).await {
            // The blob is there, and that is what counts; the sweep finds the rest.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an uploaded object stays behind"
            );
        }
        Ok(())
    }

    async fn discard(&self, upload: &StoreUpload) -> Result<(), StoreError> {
        // Either the parts were joined, and the multipart upload is no more, or they were not, and there is no object. A copy
        // that broke off has a blob's key, where an object is never to be removed.
        let is_clients = upload.key.upload_uuid().is_some();
        if is_clients && (upload.id.is_empty() || self.head(&upload.key).await?.is_some()) {
            self.delete(&upload.key).await
        } else {
            self.abort_multipart_upload(&upload.key, &upload.id).await
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        Ok(self.head(key).await?.map(|(size, _)| ObjectStat { size }))
    }

    async fn download_url(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<PresignedUrl, StoreError> {
        self.presign_download(key, method, expires_at).await
    }

    async fn list_unfinished(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError> {
        let mut unfinished = self.list_multipart_uploads(limit).await?;
        unfinished.extend(self.list_joined_uploads(limit - unfinished.len()).await?);
        Ok(unfinished)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let sent = self.client.head_bucket().bucket(&*self.bucket).send().await;
        sent.map(|_| ())
            .map_err(|error| unavailable("find the bucket", error))
    }
}
