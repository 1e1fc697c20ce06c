//! `BlobGateway` over a hold's XRPC methods and the signed URLs that it hands out.

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::lexicon::hold_upload::{
    AbortUploadInput, AbortUploadOutput, BlobUrlOutput, CompleteUploadInput, CompleteUploadOutput,
    GetPartUploadUrlInput, GetPartUploadUrlOutput, InitiateUploadInput, InitiateUploadOutput,
    UploadedPart as WirePart,
};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::store_target::{PartTarget as CheckedTarget, StoreUrl};
use atcr_oci::Digest;
use atcr_registry::blob::ports::{
    BegunUpload, BlobDeletion, BlobDownload, BlobGateway, PartBody, PartTarget, Place, SignedUrl,
    StoreTraits, UploadedPart, WholeUpload,
};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::HoldRef;
use secrecy::SecretString;

use super::HoldClient;
use super::xrpc::unusable_url;

/// Bytes per second at which a hold is expected to finish an upload: a store without a move has to copy the whole blob, and a
/// hold that takes no such statement reads it first.
const COMPLETION_RATE: u64 = 20 * 1024 * 1024;

#[async_trait]
impl BlobGateway for HoldClient {
    async fn stat(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<u64>, HoldError> {
        absent_is_none(self.size_of(hold, place, digest, token).await)
    }

    async fn download_url(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<SignedUrl>, HoldError> {
        absent_is_none(self.blob_url(hold, place, digest, token).await)
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

    async fn delete_blob(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        repository: &str,
        digest: &Digest,
    ) -> Result<BlobDeletion, HoldError> {
        self.unlink(hold, token, repository, digest).await
    }

    async fn complete_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        whole: &WholeUpload<'_>,
    ) -> Result<(), HoldError> {
        let wire = |part: &UploadedPart| WirePart {
            part_number: part.number,
            etag: part.etag.clone(),
        };
        let input = CompleteUploadInput {
            upload_id: whole.upload_id.to_owned(),
            digest: whole.digest.to_string(),
            parts: whole.parts.iter().map(wire).collect(),
        };
        let size: u64 = whole.parts.iter().map(|part| part.size).sum();
        let timeout =
            self.timeouts.call.max(self.timeouts.idle) + Duration::from_secs(size / COMPLETION_RATE);
        let _: CompleteUploadOutput = self
            .complete(hold, token, whole.proof, whole.repository, &input, timeout)
            .await?;
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

impl HoldClient {
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
    pub(super) fn signed_url(&self, output: &BlobUrlOutput) -> Result<SignedUrl, HoldError> {
        let url = StoreUrl::from_wire(output, &self.egress).map_err(|error| unusable_url(&error))?;
        Ok(SignedUrl::new(url.into_url()))
    }
}
