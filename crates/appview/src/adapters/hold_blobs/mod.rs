//! [`BlobGateway`] over a hold's XRPC methods and the signed URLs that it hands out.
//!
//! | Module | Speaks to |
//! |---|---|
//! | [`xrpc`] | the hold, with the user's service token |
//! | [`store`] | the store behind it, by signed URL and without any token |
//! | [`size`] | the hold, about what it has |
//! | [`outgoing`] | a part's bytes as a request body, watched for progress |
//! | [`errors`] | what their answers mean |
//!
//! Holds and their stores are named by others, so everything goes through the [`EgressClient`].

mod errors;
mod outgoing;
mod size;
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
use atcr_atproto::store_target::{PartTarget as CheckedTarget, StoreUrl, TargetError};
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_registry::blob::ports::{
    BegunUpload, BlobDownload, BlobGateway, HoldError, PartBody, PartTarget, SignedUrl, StoreTraits,
    UploadedPart,
};
use atcr_registry::hold::ports::HoldRef;
use moka::sync::Cache;
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
    /// Holds whose answer to a plain HEAD says nothing of the blob.
    sizes_by_url: Cache<Did, ()>,
    /// Whether a hold looks for a blob before it signs a URL for it.
    looks_first: Cache<Did, bool>,
}

/// How long the ways of a hold are remembered, and of how many holds.
const REMEMBER_WAYS: Duration = Duration::from_hours(1);
const REMEMBERED_WAYS: u64 = 10_000;

impl HoldBlobs {
    /// Reaches holds through `egress`.
    #[must_use]
    pub fn new(egress: EgressClient, timeouts: HoldTimeouts) -> Self {
        fn cache<V: Clone + Send + Sync + 'static>() -> Cache<Did, V> {
            let cache = Cache::builder().max_capacity(REMEMBERED_WAYS);
            cache.time_to_live(REMEMBER_WAYS).build()
        }
        Self {
            egress,
            timeouts,
            sizes_by_url: cache(),
            looks_first: cache(),
        }
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
        absent_is_none(self.size_of(hold, owner, digest, token).await)
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

    async fn open(&self, url: &SignedUrl) -> Result<BlobDownload, HoldError> {
        self.open_url(url).await
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
            Some(part) if part.part_number == 1 => Some(self.target(hold, &part.target)?),
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
        self.target(hold, &output)
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

impl HoldBlobs {
    /// A part's target as the hold named it, checked: the hold has no say in what else this server does in its name.
    fn target(&self, hold: &HoldRef, output: &GetPartUploadUrlOutput) -> Result<PartTarget, HoldError> {
        let target = CheckedTarget::from_wire(output, &hold.endpoint, &self.egress).map_err(|error| {
            tracing::info!(hold.did = %hold.did, %error, "a hold named a target for a part that is not used");
            HoldError::Malformed {
                what: "a usable target for the part",
            }
        })?;
        let headers = target.headers.iter();
        Ok(PartTarget {
            url: SignedUrl::new(target.url.into_url()),
            method: target.method.to_string(),
            headers: headers
                .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
                .collect(),
        })
    }

    /// A URL that the hold named, checked: a client that is sent there is sent nowhere that this server would not go.
    fn signed_url(&self, output: &BlobUrlOutput) -> Result<SignedUrl, HoldError> {
        let url = StoreUrl::from_wire(output, &self.egress).map_err(|error| unusable_url(&error))?;
        Ok(SignedUrl::new(url.into_url()))
    }
}

fn unusable_url(error: &TargetError) -> HoldError {
    tracing::info!(%error, "a hold named a URL that is not used");
    HoldError::Malformed { what: "a usable URL" }
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
