//! A backup in a bucket.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::client::{self, S3Options, patient};
use super::error::{is_absent, unavailable};
use crate::backup::{BackupStore, Listed, read_whole};
use crate::blobs::{ObjectBytes, StoreError};

const ACTION: &str = "write the backup";
const MIB: usize = 1024 * 1024;
/// The most that is sent in one request; S3 wants 5 MiB of every part but the last.
const WHOLE: u64 = 8 * MIB as u64;
/// Parts of one object; S3's limit.
const MAX_PARTS: u64 = 10_000;

/// Names below a prefix of a bucket.
#[derive(Clone, Debug)]
pub struct S3Backup {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Backup {
    /// The bucket that `options` name, below `prefix`. Nothing is asked of it yet.
    #[must_use]
    pub fn new(options: &S3Options, prefix: &str) -> Self {
        Self {
            client: client::build(options),
            bucket: options.bucket.clone(),
            prefix: prefix.trim_matches('/').to_owned(),
        }
    }

    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        }
    }

    async fn put_whole(&self, name: &str, content: Bytes) -> Result<(), StoreError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .body(ByteStream::from(content))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| unavailable(ACTION, error))
    }

    async fn put_in_parts(&self, name: &str, mut content: ObjectBytes, size: u64) -> Result<(), StoreError> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(self.key(name))
            .send()
            .await
            .map_err(|error| unavailable(ACTION, error))?;
        let id = created
            .upload_id
            .ok_or_else(|| StoreError::unavailable(ACTION, "the answer names no upload"))?;
        let sent = async {
            let parts = self.send_parts(name, &id, &mut content, size).await?;
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            self.client
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(self.key(name))
                .upload_id(&id)
                .multipart_upload(parts)
                .customize()
                .config_override(patient())
                .send()
                .await
                .map_err(|error| unavailable(ACTION, error))
        };
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The failure that is reported is the first one.
                let _ = self
                    .client
                    .abort_multipart_upload()
                    .bucket(&self.bucket)
                    .key(self.key(name))
                    .upload_id(&id)
                    .send()
                    .await;
                Err(error)
            }
        }
    }

    async fn send_parts(
        &self,
        name: &str,
        id: &str,
        content: &mut ObjectBytes,
        size: u64,
    ) -> Result<Vec<CompletedPart>, StoreError> {
        let part_size = usize::try_from(WHOLE.max(size.div_ceil(MAX_PARTS))).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        let mut buffer = BytesMut::new();
        let mut is_over = false;
        while !is_over {
            match content.try_next().await? {
                Some(piece) => buffer.extend_from_slice(&piece),
                None => is_over = true,
            }
            while buffer.len() >= part_size || (is_over && !buffer.is_empty()) {
                let part = buffer.split_to(part_size.min(buffer.len())).freeze();
                let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
                let sent = self
                    .client
                    .upload_part()
                    .bucket(&self.bucket)
                    .key(self.key(name))
                    .upload_id(id)
                    .part_number(number)
                    .body(ByteStream::from(part))
                    .send()
                    .await
                    .map_err(|error| unavailable(ACTION, error))?;
                parts.push(
                    CompletedPart::builder()
                        .part_number(number)
                        .set_e_tag(sent.e_tag)
                        .build(),
                );
            }
        }
        Ok(parts)
    }
}

#[async_trait]
impl BackupStore for S3Backup {
    fn place(&self) -> String {
        format!("bucket {}, below {}", self.bucket, self.key(""))
    }

    async fn put(&self, name: &str, content: ObjectBytes, size: u64) -> Result<(), StoreError> {
        if size > WHOLE {
            return self.put_in_parts(name, content, size).await;
        }
        let limit = usize::try_from(size).unwrap_or(usize::MAX);
        let whole = read_whole(content, limit).await?;
        self.put_whole(name, whole).await
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<bool, StoreError> {
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .if_none_match("*")
            .body(ByteStream::from(content))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.code(),
                    Some("PreconditionFailed" | "ConditionalRequestConflict")
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(unavailable(ACTION, error)),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<ObjectBytes>, StoreError> {
        let action = "read the backup";
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .send()
            .await;
        let body = match sent {
            Ok(found) => found.body,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(unavailable(action, error)),
        };
        let pieces = stream::try_unfold(body, move |mut body| async move {
            let piece = body
                .try_next()
                .await
                .map_err(|error| StoreError::unavailable(action, error))?;
            Ok(piece.map(|piece| (piece, body)))
        });
        Ok(Some(pieces.boxed()))
    }

    async fn list(&self, folder: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let action = "list the backup";
        let (prefix, own) = (format!("{}/", self.key(folder)), self.key(""));
        let mut found = Vec::new();
        let mut continuation = None;
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&prefix)
                .set_continuation_token(continuation)
                .send()
                .await
                .map_err(|error| unavailable(action, error))?;
            for object in page.contents.unwrap_or_default() {
                let name = object.key.as_deref().and_then(|key| key.strip_prefix(&own));
                if let Some(name) = name {
                    let bytes = object.size.and_then(|size| u64::try_from(size).ok());
                    found.push(Listed {
                        name: name.to_owned(),
                        bytes: bytes.ok_or_else(|| {
                            StoreError::unavailable(action, "an object is listed without its size")
                        })?,
                    });
                }
            }
            if found.len() > limit {
                return Err(StoreError::unavailable(action, "there are too many objects"));
            }
            continuation = page.next_continuation_token;
            if page.is_truncated != Some(true) {
                return Ok(found);
            }
            if continuation.is_none() {
                return Err(StoreError::unavailable(action, "the list is cut off"));
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let sent = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .send()
            .await;
        match sent {
            Err(error) if !is_absent(&error) => Err(unavailable("remove from the backup", error)),
            _ => Ok(()),
        }
    }

    async fn remove_unfinished(&self, folder: &str, before: DateTime<Utc>) -> Result<usize, StoreError> {
        let action = "remove unfinished uploads of the backup";
        let prefix = format!("{}/", self.key(folder));
        let mut removed = 0;
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let sent = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(&prefix)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await;
            let page = match sent {
                Ok(page) => page,
                Err(error) if error.code() == Some("NotImplemented") => return Ok(removed),
                Err(error) => return Err(unavailable(action, error)),
            };
            for upload in page.uploads() {
                let is_old = upload
                    .initiated()
                    .is_some_and(|at| at.secs() < before.timestamp());
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                    continue;
                };
                if is_old && key.starts_with(&prefix) {
                    let aborted = self.client.abort_multipart_upload().bucket(&self.bucket);
                    let aborted = aborted.key(key).upload_id(id).send().await;
                    aborted.map_err(|error| unavailable(action, error))?;
                    removed += 1;
                }
            }
            if page.is_truncated != Some(true) || page.next_key_marker.is_none() {
                return Ok(removed);
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }
}
