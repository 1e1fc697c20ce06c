//! `HoldGateway` over a hold's XRPC methods.

use async_trait::async_trait;
use atcr_atproto::egress::Limits;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::hold_crew::{GetQuotaOutput, RequestCrewInput};
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::pds::PdsClient;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldGateway, HoldRef, Quota};
use bytes::Bytes;
use http::Method;
use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde_json::json;

use super::HoldClient;
use super::errors::{self, About};
use super::xrpc::{method_url, read};

/// The longest export of one hold, 2 MiB: some thousand layers.
const EXPORT_BYTES: usize = 2 * 1024 * 1024;

#[async_trait]
impl HoldGateway for HoldClient {
    async fn find_captain(&self, hold: &HoldRef) -> Result<Option<CaptainRecord>, HoldError> {
        let client =
            PdsClient::new(hold.endpoint.clone(), self.egress.clone()).with_timeout(self.timeouts.call);
        let found = client
            .get_record(&hold.did, CaptainRecord::NSID, &RecordKey::literal_self())
            .await
            .map_err(errors::record)?;
        Ok(found.and_then(|entry| CaptainRecord::from_value(entry.value).ok()))
    }

    async fn request_crew(&self, hold: &HoldRef, token: &SecretString) -> Result<(), HoldError> {
        let input = RequestCrewInput::default();
        self.tell(hold, nsid::HOLD_REQUEST_CREW, token, &input).await
    }

    async fn notify_manifest(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        notice: &NotifyManifestInput,
    ) -> Result<(), HoldError> {
        self.tell(hold, nsid::HOLD_NOTIFY_MANIFEST, token, notice).await
    }

    async fn find_quota(&self, hold: &HoldRef, user: &Did) -> Result<Quota, HoldError> {
        let mut url = method_url(hold, nsid::HOLD_GET_QUOTA)?;
        url.query_pairs_mut().append_pair("userDid", user.as_str());
        let request = self.request(Method::GET, &url, None)?;
        let answer = self.ask(request, self.timeouts.call).await?;
        let quota: GetQuotaOutput = read(About::Account, &answer)?;
        Ok(Quota {
            used_bytes: quota.total_size,
            limit_bytes: quota.limit,
        })
    }

    async fn export_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<Bytes, HoldError> {
        let url = method_url(hold, nsid::HOLD_EXPORT_USER_DATA)?;
        let request = self.request(Method::GET, &url, Some(token))?;
        let limits = Limits {
            max_bytes: EXPORT_BYTES,
            timeout: self.timeouts.call,
        };
        let answer = self.egress.send_capped(request, limits).await;
        let answer = answer.map_err(|error| errors::transport(&error))?;
        if !answer.status.is_success() {
            let (headers, bytes) = (&answer.headers, &answer.bytes);
            return Err(errors::xrpc(About::Account, answer.status, headers, bytes));
        }
        // It goes into a file as it is, so it has to be what it says, and nothing that a reader of the file stumbles over.
        let is_text = std::str::from_utf8(&answer.bytes).is_ok();
        match answer.json::<IgnoredAny>() {
            Ok(_) if is_text => Ok(answer.bytes),
            _ => Err(HoldError::Malformed {
                what: "what its method promises",
            }),
        }
    }

    async fn delete_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<(), HoldError> {
        self.tell(hold, nsid::HOLD_DELETE_USER_DATA, token, &json!({}))
            .await
    }
}
