//! Objects that the hold itself writes.

use std::path::Path;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use futures_util::stream;

use super::S3Store;
use super::error::{is_absent, unavailable};
use crate::blobs::{ObjectBytes, ObjectKey, StoreError};
use crate::repo_blobs::OwnObjects;

#[async_trait]
impl OwnObjects for S3Store {
    async fn put_file(&self, key: &ObjectKey, file: &Path, size: u64) -> Result<(), StoreError> {
        let action = "store an object";
        if self.head(key).await?.is_some() {
            return Ok(());
        }
        let body = ByteStream::from_path(file)
            .await
            .map_err(|error| StoreError::unavailable(action, error))?;
        let length = i64::try_from(size).map_err(|error| StoreError::unavailable(action, error))?;
        self.client
            .put_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_length(length)
            .body(body)
            .send()
            .await
            .map(drop)
            .map_err(|error| unavailable(action, error))
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<(u64, ObjectBytes)>, StoreError> {
        let action = "read an object";
        let sent = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .send()
            .await;
        let object = match sent {
            Ok(object) => object,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(unavailable(action, error)),
        };
        let size = object.content_length().and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| StoreError::unavailable(action, "the answer has no length"))?;
        let bytes: ObjectBytes = Box::pin(stream::try_unfold(object.body, move |mut body| async move {
            let piece = body
                .try_next()
                .await
                .map_err(|error| StoreError::unavailable(action, error))?;
            Ok(piece.map(|piece| (piece, body)))
        }));
        Ok(Some((size, bytes)))
    }

    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.delete(key).await
    }
}
