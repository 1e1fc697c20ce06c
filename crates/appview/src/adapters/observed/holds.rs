//! Calls to holds and to their stores, observed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_registry::blob::ports::{
    BegunUpload, BlobDeletion, BlobDownload, BlobGateway, PartBody, PartTarget, Place, SignedUrl, WholeUpload,
};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldGateway, HoldRef, Quota};
use atcr_server::port_call::{Outcome, PortCall};
use bytes::Bytes;
use secrecy::SecretString;

/// A part is up to some gigabytes, and comes as fast as the client sends it.
const SLOW_PART: Duration = Duration::from_mins(1);

/// A store on S3 may read and join a whole object first.
const SLOW_COMPLETION: Duration = Duration::from_secs(30);

/// A hold client with every call observed as port `hold`. Of a transfer to the AppView, the time until the first byte is.
#[derive(Clone)]
pub struct ObservedHolds<T>(Arc<T>);

impl<T> ObservedHolds<T> {
    /// Observes `holds`.
    #[must_use]
    pub fn new(holds: Arc<T>) -> Self {
        Self(holds)
    }
}

fn call<'a>(operation: &'static str, host: Option<&'a str>) -> PortCall<'a> {
    PortCall::new("hold", operation).peer(host.unwrap_or_default())
}

/// What an error says of the hold: most say that it works, and that it refused.
fn outcome_of(error: &HoldError) -> Outcome {
    match error {
        HoldError::Unauthorized
        | HoldError::Forbidden { .. }
        | HoldError::UrlRefused
        | HoldError::QuotaExceeded { .. }
        | HoldError::BlobNotFound
        | HoldError::UploadNotFound
        | HoldError::DigestRefused
        | HoldError::Busy { .. }
        | HoldError::Refused { .. } => Outcome::Refused,
        HoldError::Unresolvable { .. }
        | HoldError::Failed { .. }
        | HoldError::Unreachable { .. }
        | HoldError::TimedOut
        | HoldError::Malformed { .. } => Outcome::Failed,
        // The client went away, or sent less than it promised.
        HoldError::BodyBroken => Outcome::Dropped,
    }
}

#[async_trait]
impl<T: HoldGateway> HoldGateway for ObservedHolds<T> {
    async fn find_captain(&self, hold: &HoldRef) -> Result<Option<CaptainRecord>, HoldError> {
        call("find_captain", hold.endpoint.host_str())
            .run_with(self.0.find_captain(hold), outcome_of)
            .await
    }

    async fn request_crew(&self, hold: &HoldRef, token: &SecretString) -> Result<(), HoldError> {
        call("request_crew", hold.endpoint.host_str())
            .run_with(self.0.request_crew(hold, token), outcome_of)
            .await
    }

    async fn notify_manifest(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        notice: &NotifyManifestInput,
    ) -> Result<(), HoldError> {
        call("notify_manifest", hold.endpoint.host_str())
            .run_with(self.0.notify_manifest(hold, token, notice), outcome_of)
            .await
    }

    async fn find_quota(&self, hold: &HoldRef, user: &Did) -> Result<Quota, HoldError> {
        call("find_quota", hold.endpoint.host_str())
            .run_with(self.0.find_quota(hold, user), outcome_of)
            .await
    }

    async fn export_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<Bytes, HoldError> {
        call("export_user_data", hold.endpoint.host_str())
            .run_with(self.0.export_user_data(hold, token), outcome_of)
            .await
    }

    async fn delete_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<(), HoldError> {
        call("delete_user_data", hold.endpoint.host_str())
            .run_with(self.0.delete_user_data(hold, token), outcome_of)
            .await
    }
}

#[async_trait]
impl<T: BlobGateway> BlobGateway for ObservedHolds<T> {
    async fn stat(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<u64>, HoldError> {
        call("stat_blob", hold.endpoint.host_str())
            .run_with(self.0.stat(hold, place, digest, token), outcome_of)
            .await
    }

    async fn download_url(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<SignedUrl>, HoldError> {
        call("get_download_url", hold.endpoint.host_str())
            .run_with(self.0.download_url(hold, place, digest, token), outcome_of)
            .await
    }

    async fn open(&self, url: &SignedUrl) -> Result<BlobDownload, HoldError> {
        call("open_blob", url.expose().host_str())
            .run_with(self.0.open(url), outcome_of)
            .await
    }

    async fn begin_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        temporary_id: &str,
        size: Option<u64>,
    ) -> Result<BegunUpload, HoldError> {
        call("begin_upload", hold.endpoint.host_str())
            .run_with(self.0.begin_upload(hold, token, temporary_id, size), outcome_of)
            .await
    }

    async fn part_target(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        upload_id: &str,
        number: u32,
    ) -> Result<PartTarget, HoldError> {
        call("get_part_target", hold.endpoint.host_str())
            .run_with(self.0.part_target(hold, token, upload_id, number), outcome_of)
            .await
    }

    async fn send_part(&self, target: &PartTarget, body: PartBody) -> Result<String, HoldError> {
        call("send_part", target.url.expose().host_str())
            .slow_after(SLOW_PART)
            .run_with(self.0.send_part(target, body), outcome_of)
            .await
    }

    async fn delete_blob(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        repository: &str,
        digest: &Digest,
    ) -> Result<BlobDeletion, HoldError> {
        call("delete_blob", hold.endpoint.host_str())
            .run_with(self.0.delete_blob(hold, token, repository, digest), outcome_of)
            .await
    }

    async fn complete_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        whole: &WholeUpload<'_>,
    ) -> Result<(), HoldError> {
        call("complete_upload", hold.endpoint.host_str())
            .slow_after(SLOW_COMPLETION)
            .run_with(self.0.complete_upload(hold, token, whole), outcome_of)
            .await
    }

    async fn abort_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        upload_id: &str,
    ) -> Result<(), HoldError> {
        call("abort_upload", hold.endpoint.host_str())
            .run_with(self.0.abort_upload(hold, token, upload_id), outcome_of)
            .await
    }
}
