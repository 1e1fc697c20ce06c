//! [`BlobGateway`] over a hold's XRPC methods and the signed URLs that it hands out.
//!
//! | Module | Speaks to |
//! |---|---|
//! | [`xrpc`] | the hold, with the user's service token |
//! | [`store`] | the store behind it, by signed URL and without any token |
//! | [`outgoing`] | a part's bytes as a request body, watched for progress |
//! | [`errors`] | what their answers mean |
//!
//! Holds and their stores are named by others, so everything goes through the [`EgressClient`].

mod errors;
mod outgoing;
mod store;
mod xrpc;

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::lexicon::hold_upload::{
    AbortUploadInput, AbortUploadOutput, BlobUrlOutput, CompleteUploadInput, CompleteUploadOutput,
    GetPartUploadUrlInput, GetPartUploadUrlOutput, InitiateUploadInput, InitiateUploadOutput,
    UploadedPart as WirePart,
};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_registry::blob::ports::{
    BegunUpload, BlobDownload, BlobGateway, HoldError, PartBody, PartTarget, SignedUrl, StoreTraits,
    UploadedPart,
};
use atcr_registry::hold::ports::HoldRef;
use http::Method;
use secrecy::SecretString;
use url::Url;

/// How long holds and their stores may take.
#[derive(Clone, Copy, Debug)]
pub struct HoldTimeouts {
    /// For an answer of the hold, and for the first byte of its store.
    pub call: Duration,
    /// Without any progress in the middle of a transfer.
    pub idle: Duration,
}

impl Default for HoldTimeouts {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(15),
            idle: Duration::from_mins(1),
        }
    }
}

/// Bytes per second at which a hold is expected to finish an upload: a store without a move has to copy the whole blob, and a
/// hold that takes nobody's word reads it before.
const COMPLETION_RATE: u64 = 20 * 1024 * 1024;

/// Blobs of holds over HTTP.
#[derive(Clone, Debug)]
pub struct HoldBlobs {
    egress: EgressClient,
    timeouts: HoldTimeouts,
}

impl HoldBlobs {
    /// Reaches holds through `egress`.
    #[must_use]
    pub fn new(egress: EgressClient, timeouts: HoldTimeouts) -> Self {
        Self { egress, timeouts }
    }
}

#[async_trait]
impl BlobGateway for HoldBlobs {
    async fn stat(
        &self,
        hold: &HoldRef,
        owner: &Did,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<u64>, HoldError> {
        absent_is_none(self.head_blob(hold, owner, digest, token).await)
    }

    async fn download_url(
        &self,
        hold: &HoldRef,
        owner: &Did,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<SignedUrl>, HoldError> {
        absent_is_none(self.blob_url(hold, owner, digest, token).await)
    }

    async fn open(&self, url: &SignedUrl, range: Option<&str>) -> Result<BlobDownload, HoldError> {
        self.open_url(url, range).await
    }

    async fn begin_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        temporary_id: &str,
        size: Option<u64>,
    ) -> Result<BegunUpload, HoldError> {
        let input = InitiateUploadInput {
            digest: temporary_id.to_owned(),
            size,
        };
        let begun: InitiateUploadOutput = self
            .procedure(
                hold,
                nsid::HOLD_INITIATE_UPLOAD,
                token,
                &input,
                self.timeouts.call,
            )
            .await?;
        let announced = begun.store.is_some();
        let traits = begun.store_traits();
        let first_part = match begun.part {
            Some(part) if part.part_number == 1 => Some(part_target(part.target)?),
            _ => None,
        };
        Ok(BegunUpload {
            upload_id: begun.upload_id,
            traits: StoreTraits {
                min_part_size: traits.min_part_size,
                max_part_size: traits.max_part_size,
                hashes: traits.hashes,
                streaming: traits.streaming,
                announced,
            },
            first_part,
        })
    }

    async fn part_target(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        upload_id: &str,
        number: u32,
    ) -> Result<PartTarget, HoldError> {
        let input = GetPartUploadUrlInput {
            upload_id: upload_id.to_owned(),
            part_number: number,
        };
        let output: GetPartUploadUrlOutput = self
            .procedure(
                hold,
                nsid::HOLD_GET_PART_UPLOAD_URL,
                token,
                &input,
                self.timeouts.call,
            )
            .await?;
        part_target(output)
    }

    async fn send_part(&self, target: &PartTarget, body: PartBody) -> Result<String, HoldError> {
        self.put_part(target, body).await
    }

    async fn complete_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        upload_id: &str,
        digest: &Digest,
        parts: &[UploadedPart],
        proof: Option<&SecretString>,
    ) -> Result<(), HoldError> {
        let wire = |part: &UploadedPart| WirePart {
            part_number: part.number,
            etag: part.etag.clone(),
        };
        let input = CompleteUploadInput {
            upload_id: upload_id.to_owned(),
            digest: digest.to_string(),
            parts: parts.iter().map(wire).collect(),
        };
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let timeout =
            self.timeouts.call.max(self.timeouts.idle) + Duration::from_secs(size / COMPLETION_RATE);
        let _: CompleteUploadOutput = self.complete(hold, token, proof, &input, timeout).await?;
        Ok(())
    }

    async fn abort_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        upload_id: &str,
    ) -> Result<(), HoldError> {
        let input = AbortUploadInput {
            upload_id: upload_id.to_owned(),
        };
        let _: AbortUploadOutput = self
            .procedure(hold, nsid::HOLD_ABORT_UPLOAD, token, &input, self.timeouts.call)
            .await?;
        Ok(())
    }
}

fn absent_is_none<T>(found: Result<T, HoldError>) -> Result<Option<T>, HoldError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(HoldError::BlobNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn part_target(output: GetPartUploadUrlOutput) -> Result<PartTarget, HoldError> {
    let url = signed_url(&output.url)?;
    // A hold has no say in what else this server does in its name.
    if !matches!(output.method.as_str(), "PUT" | "POST") {
        return Err(HoldError::Malformed {
            what: "a usable method for the part",
        });
    }
    Ok(PartTarget {
        url,
        method: output.method,
        headers: output.headers.into_iter().collect(),
    })
}

fn blob_url(output: &BlobUrlOutput) -> Result<SignedUrl, HoldError> {
    signed_url(&output.url)
}

fn signed_url(text: &str) -> Result<SignedUrl, HoldError> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    url.map(SignedUrl::new)
        .ok_or(HoldError::Malformed { what: "a usable URL" })
}

/// The URL of one of the hold's methods.
fn method_url(hold: &HoldRef, nsid: &str) -> Result<Url, HoldError> {
    let mut url = hold.endpoint.clone();
    url.path_segments_mut()
        .map_err(|()| HoldError::Unreachable {
            reason: "its endpoint is no web address".to_owned(),
        })?
        .pop_if_empty()
        .extend(["xrpc", nsid]);
    Ok(url)
}

fn http_method(name: &str) -> Method {
    if name == "POST" { Method::POST } else { Method::PUT }
}
