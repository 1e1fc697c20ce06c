//! The published blobs: what is there, and how one of them goes.

use std::time::Duration;

use async_trait::async_trait;
use atcr_oci::Digest;
use aws_sdk_s3::config::Config;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;

use super::S3Store;
use super::error::{is_absent, unavailable};
use crate::blobs::{BlobInventory, BlobPage, ObjectKey, StoreError, StoredBlob};

/// What blobs lie below, in this layout and in the older one.
const PREFIXES: [&str; 2] = ["docker/registry/v2/blobs/", "blobs/"];
/// One attempt to remove a blob, and there is only one: a second one could come to effect after the blob was sent again.
const REMOVAL_TIMEOUT: Duration = Duration::from_mins(1);
/// A request counts for 15 minutes by the service's clock, which may itself be 15 minutes behind: for so long it may still be carried out.
const LATE_REMOVAL: Duration = Duration::from_mins(31);

#[async_trait]
impl BlobInventory for S3Store {
    async fn list_blobs(&self, after: Option<&str>) -> Result<BlobPage, StoreError> {
        // "<prefix>" at the beginning of one, "<prefix> <token>" within.
        let (prefix, token) = match after {
            None => (PREFIXES[0], None),
            Some(after) => match after.split_once(' ') {
                Some((prefix, token)) => (prefix, Some(token.to_owned())),
                None => (after, None),
            },
        };
        let Some(place) = PREFIXES.iter().position(|known| *known == prefix) else {
            return Err(StoreError::unavailable("list blobs", "no such place"));
        };
        let page = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(prefix)
            .set_continuation_token(token)
            .send()
            .await
            .map_err(|error| unavailable("list blobs", error))?;
        let is_truncated = page.is_truncated == Some(true);
        let next = match page.next_continuation_token {
            Some(token) if is_truncated => Some(format!("{prefix} {token}")),
            _ => PREFIXES.get(place + 1).map(|next| (*next).to_owned()),
        };
        let stored = |object: aws_sdk_s3::types::Object| {
            let key: ObjectKey = object.key?.parse().ok()?;
            Some(StoredBlob {
                digest: key.blob_digest()?,
                size: u64::try_from(object.size?).ok()?,
            })
        };
        let blobs = page.contents.unwrap_or_default().into_iter().filter_map(stored);
        Ok(BlobPage {
            blobs: blobs.collect(),
            next,
        })
    }

    async fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        for key in [ObjectKey::blob(digest), ObjectKey::legacy_blob(digest)] {
            let once = Config::builder()
                .retry_config(RetryConfig::disabled())
                .timeout_config(
                    TimeoutConfig::builder()
                        .operation_timeout(REMOVAL_TIMEOUT)
                        .build(),
                );
            let sent = self
                .client
                .delete_object()
                .bucket(&*self.bucket)
                .key(key.as_str())
                .customize()
                .config_override(once)
                .send()
                .await;
            match sent {
                Err(error) if !is_absent(&error) => return Err(unavailable("remove a blob", error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn late_removal(&self) -> Duration {
        LATE_REMOVAL
    }
}
