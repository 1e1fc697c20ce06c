//! Multipart uploads, and copies to the content address.

use std::collections::BTreeMap;
use std::ops::Range;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::S3Store;
use super::client::patient;
use super::error::{is_absent, unavailable};
use crate::blobs::{Assembled, MAX_PART_NUMBER, ObjectKey, PartTag, StoreError, StoreUpload};

/// The bytes can be anything: no browser shall make a page of them.
const CONTENT_TYPE: &str = "application/octet-stream";
/// Ranges that the service copies at once.
const COPIES_AT_ONCE: usize = 16;

impl S3Store {
    pub(super) async fn create_multipart_upload(&self, key: &ObjectKey) -> Result<String, StoreError> {
        let action = "begin an upload";
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type(CONTENT_TYPE)
            .send()
            .await
            .map_err(|error| unavailable(action, error))?;
        created
            .upload_id
            .ok_or_else(|| StoreError::unavailable(action, "the answer names no upload"))
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        upload: &StoreUpload,
        parts: &[PartTag],
    ) -> Result<(), StoreError> {
        let parts = parts
            .iter()
            .map(|part| completed_part(part.part_number, &part.etag))
            .collect::<Result<_, StoreError>>()?;
        self.complete(&upload.key, &upload.id, parts).await
    }

    /// The length of `parts` together, which must all have been sent; `None` if the service has no part of this upload.
    pub(super) async fn size_of_parts(
        &self,
        upload: &StoreUpload,
        parts: &[PartTag],
    ) -> Result<Option<u64>, StoreError> {
        let action = "list the parts of an upload";
        let mut sent: BTreeMap<i32, (u64, Option<String>)> = BTreeMap::new();
        let mut marker = None;
        // A page has a thousand parts; a service that pages without end is not followed.
        for _ in 0..=MAX_PART_NUMBER {
            let listed = self
                .client
                .list_parts()
                .bucket(&*self.bucket)
                .key(upload.key.as_str())
                .upload_id(&upload.id)
                .set_part_number_marker(marker)
                .send()
                .await;
            let page = match listed {
                Ok(page) => page,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(unavailable(action, error)),
            };
            for part in page.parts.unwrap_or_default() {
                let size = part.size.and_then(|size| u64::try_from(size).ok());
                if let (Some(number), Some(size)) = (part.part_number, size) {
                    sent.insert(number, (size, part.e_tag));
                }
            }
            marker = page.next_part_number_marker;
            if page.is_truncated != Some(true) || marker.is_none() {
                break;
            }
        }
        if sent.is_empty() {
            return Ok(None);
        }
        let mut total: u64 = 0;
        for part in parts {
            let missing = || StoreError::PartMismatch {
                reason: format!(
                    "the store did not receive part {} as it is named",
                    part.part_number
                ),
            };
            let (size, tag) = sent.get(&part_number(part.part_number)?).ok_or_else(missing)?;
            let is_it = |tag: &String| tag.trim_matches('"') == part.etag.trim_matches('"');
            if !tag.as_ref().is_none_or(is_it) {
                return Err(missing());
            }
            total = total.saturating_add(*size);
        }
        Ok(Some(total))
    }

    pub(super) async fn abort_multipart_upload(&self, key: &ObjectKey, id: &str) -> Result<(), StoreError> {
        let sent = self
            .client
            .abort_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(id)
            .send()
            .await;
        match sent {
            Err(error) if !is_absent(&error) => Err(unavailable("abort an upload", error)),
            _ => Ok(()),
        }
    }

    /// Copies the joined upload to `key`, within the service.
    pub(super) async fn copy(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        if assembled.size > self.copy_limits.whole {
            return self.copy_in_parts(upload, assembled, key).await;
        }
        let sent = self
            .client
            .copy_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .copy_source(self.copy_source(upload))
            .set_copy_source_if_match(assembled.version.clone())
            .customize()
            .config_override(patient())
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) if is_absent(&error) || error.code() == Some("PreconditionFailed") => {
                Err(StoreError::UnknownUpload)
            }
            Err(error) => Err(unavailable("copy an object", error)),
        }
    }

    async fn copy_in_parts(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        let id = self.create_multipart_upload(key).await?;
        let copies = ranges(assembled.size, self.copy_limits.part)
            .zip(1..)
            .map(|(range, number)| self.copy_part(upload, assembled, key, &id, number, range));
        // Boxed, or the compiler cannot see through the borrows.
        let parts: Result<Vec<CompletedPart>, StoreError> = stream::iter(copies)
            .buffered(COPIES_AT_ONCE)
            .boxed()
            .try_collect()
            .await;
        let outcome = match parts {
            Ok(parts) => self.complete(key, &id, parts).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // The failure that is reported is the first one. What this leaves, the sweep finds.
            let _ = self.abort_multipart_upload(key, &id).await;
        }
        outcome
    }

    async fn copy_part(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
        id: &str,
        number: u32,
        range: Range<u64>,
    ) -> Result<CompletedPart, StoreError> {
        let action = "copy a part of an object";
        let copied = self
            .client
            .upload_part_copy()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(id)
            .part_number(part_number(number)?)
            .copy_source(self.copy_source(upload))
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .set_copy_source_if_match(assembled.version.clone())
            .customize()
            .config_override(patient())
            .send()
            .await
            .map_err(|error| unavailable(action, error))?;
        let etag = copied.copy_part_result.and_then(|result| result.e_tag);
        let etag = etag.ok_or_else(|| StoreError::unavailable(action, "the answer has no ETag"))?;
        completed_part(number, &etag)
    }

    async fn complete(&self, key: &ObjectKey, id: &str, parts: Vec<CompletedPart>) -> Result<(), StoreError> {
        let sent = self
            .client
            .complete_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(patient())
            .send()
            .await;
        let Err(error) = sent else {
            return Ok(());
        };
        match error.code() {
            Some("InvalidPart" | "InvalidPartOrder") => Err(StoreError::PartMismatch {
                reason: error
                    .message()
                    .unwrap_or("the store did not receive these parts")
                    .to_owned(),
            }),
            Some("EntityTooSmall") => Err(StoreError::PartTooSmall),
            _ if is_absent(&error) => Err(StoreError::UnknownUpload),
            _ => Err(unavailable("join the parts", error)),
        }
    }

    fn copy_source(&self, upload: &StoreUpload) -> String {
        // An upload's key has no character that would need escaping.
        format!("{}/{}", self.bucket, upload.key)
    }
}

fn completed_part(number: u32, etag: &str) -> Result<CompletedPart, StoreError> {
    Ok(CompletedPart::builder()
        .part_number(part_number(number)?)
        // With exactly one pair of quotes, however it came.
        .e_tag(format!("\"{}\"", etag.trim_matches('"')))
        .build())
}

fn part_number(number: u32) -> Result<i32, StoreError> {
    i32::try_from(number).map_err(|error| StoreError::unavailable("number a part", error))
}

/// Cuts `size` bytes into parts of `part` bytes, or of as many as make 10,000 parts of it.
fn ranges(size: u64, part: u64) -> impl Iterator<Item = Range<u64>> {
    let part = part.max(size.div_ceil(u64::from(MAX_PART_NUMBER))).max(1);
    (0..size.div_ceil(part)).map(move |index| index * part..((index + 1) * part).min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_everything_in_at_most_ten_thousand_parts() {
        assert_eq!(ranges(10, 4).collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
        assert_eq!(ranges(8, 4).count(), 2);
        let five_tib = 5 * 1024 * super::super::GIB;
        let parts: Vec<_> = ranges(five_tib, super::super::GIB).collect();
        assert_eq!((parts.len(), parts[5119].end), (5120, five_tib));
        let parts: Vec<_> = ranges(five_tib, super::super::MIB).collect();
        assert!(parts.len() <= 10_000);
        assert_eq!(parts.last().unwrap().end, five_tib);
    }
}
