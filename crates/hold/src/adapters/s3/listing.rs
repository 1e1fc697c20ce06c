//! What uploads have left in the bucket.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::DateTime as SdkDateTime;
use chrono::{DateTime, Utc};

use super::S3Store;
use super::error::unavailable;
use crate::blobs::{ObjectKey, StoreError, StoreUpload, UPLOADS_PREFIX, Unfinished};

const ACTION: &str = "list uploads";
/// Below it lie uploads, and the blobs to which a large upload is copied in parts.
const LAYOUT_PREFIX: &str = "docker/registry/v2/";

impl S3Store {
    /// Multipart uploads whose parts were not joined: those of clients, and copies that broke off.
    pub(super) async fn list_multipart_uploads(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError> {
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        while found.len() < limit {
            let sent = self
                .client
                .list_multipart_uploads()
                .bucket(&*self.bucket)
                .prefix(LAYOUT_PREFIX)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await;
            let page = match sent {
                Ok(page) => page,
                Err(error) if error.code() == Some("NotImplemented") => {
                    tracing::debug!("the object store does not list multipart uploads");
                    break;
                }
                Err(error) => return Err(unavailable(ACTION, error)),
            };
            let uploads = page.uploads.unwrap_or_default().into_iter();
            found.extend(
                uploads.filter_map(|upload| unfinished(upload.key, upload.upload_id, upload.initiated)),
            );
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated != Some(true) || key_marker.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Objects that were joined and neither published nor discarded.
    pub(super) async fn list_joined_uploads(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError> {
        let mut found = Vec::new();
        let mut continuation = None;
        while found.len() < limit {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&*self.bucket)
                .prefix(UPLOADS_PREFIX)
                .set_continuation_token(continuation)
                .send()
                .await
                .map_err(|error| unavailable(ACTION, error))?;
            let objects = page.contents.unwrap_or_default().into_iter();
            found.extend(
                objects
                    .filter_map(|object| unfinished(object.key, Some(String::new()), object.last_modified)),
            );
            continuation = page.next_continuation_token;
            if page.is_truncated != Some(true) || continuation.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// `None` for what is not of this program's making.
fn unfinished(key: Option<String>, id: Option<String>, since: Option<SdkDateTime>) -> Option<Unfinished> {
    let key: ObjectKey = key?.parse().ok()?;
    if key.upload_uuid().is_none() && key.blob_digest().is_none() {
        return None;
    }
    let since = since?;
    Some(Unfinished {
        upload: StoreUpload { key, id: id? },
        since: DateTime::<Utc>::from_timestamp(since.secs(), since.subsec_nanos())?,
    })
}
