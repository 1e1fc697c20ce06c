//! Signed URLs, made without asking the service.

use std::time::Duration;

use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use chrono::{DateTime, Utc};
use url::Url;

use super::S3Store;
use crate::blobs::{DownloadMethod, ObjectKey, PartUrl, PresignedUrl, StoreError, StoreUpload};

const ACTION: &str = "sign a URL";

impl S3Store {
    pub(super) async fn presign_part(
        &self,
        upload: &StoreUpload,
        part_number: u32,
        expires_at: DateTime<Utc>,
    ) -> Result<PartUrl, StoreError> {
        let request = self
            .client
            .upload_part()
            .bucket(&*self.bucket)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .part_number(i32::try_from(part_number).map_err(failed)?)
            .presigned(self.presigning(expires_at)?)
            .await
            .map_err(failed)?;
        let headers = request
            .headers()
            // The sender's HTTP client sets it from the URL.
            .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(PartUrl {
            url: url_of(&request)?,
            method: "PUT",
            headers,
        })
    }

    pub(super) async fn presign_download(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<PresignedUrl, StoreError> {
        let presigning = self.presigning(expires_at)?;
        let (bucket, key) = (&*self.bucket, key.as_str());
        let request = match method {
            DownloadMethod::Get => {
                let get = self.client.get_object().bucket(bucket).key(key);
                get.presigned(presigning).await.map_err(failed)?
            }
            DownloadMethod::Head => {
                let head = self.client.head_object().bucket(bucket).key(key);
                head.presigned(presigning).await.map_err(failed)?
            }
        };
        let signed = url_of(&request)?;
        let url = match &self.pull_zone {
            Some(pull_zone) => in_pull_zone(&signed, pull_zone),
            None => signed,
        };
        Ok(PresignedUrl { url, expires_at })
    }

    fn presigning(&self, expires_at: DateTime<Utc>) -> Result<PresigningConfig, StoreError> {
        let now = self.clock.now();
        let lifetime = (expires_at - now).to_std().unwrap_or(Duration::ZERO);
        PresigningConfig::builder()
            .start_time(now.into())
            .expires_in(lifetime)
            .build()
            .map_err(failed)
    }
}

/// The signature covers the service's host, which the CDN puts back; path and query stay as they were signed.
fn in_pull_zone(signed: &Url, pull_zone: &Url) -> Url {
    let mut url = pull_zone.clone();
    url.set_path(signed.path());
    url.set_query(signed.query());
    url
}

fn url_of(request: &PresignedRequest) -> Result<Url, StoreError> {
    request.uri().parse().map_err(failed)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::unavailable(ACTION, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_zone_takes_the_place_of_scheme_host_and_port() {
        let signed = "http://bucket.s3.example:9000/a%2525b/data?X-Amz-Signature=1%2F2&x=y"
            .parse()
            .unwrap();
        let pull_zone = "https://cdn.example".parse().unwrap();
        assert_eq!(
            in_pull_zone(&signed, &pull_zone).as_str(),
            "https://cdn.example/a%2525b/data?X-Amz-Signature=1%2F2&x=y"
        );
    }
}
