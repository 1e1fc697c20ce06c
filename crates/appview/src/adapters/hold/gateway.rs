//! `HoldGateway` over a hold's XRPC methods.

use async_trait::async_trait;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::hold_crew::{GetQuotaOutput, RequestCrewInput};
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::pds::PdsClient;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldGateway, HoldRef, Quota};
use http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::HoldClient;
use super::errors::{self, About};
use super::xrpc::{method_url, read};

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

    async fn export_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<Value, HoldError> {
        let url = method_url(hold, nsid::HOLD_EXPORT_USER_DATA)?;
        let request = self.request(Method::GET, &url, Some(token))?;
        let answer = self.ask(request, self.timeouts.call).await?;
        read(About::Account, &answer)
    }

    async fn delete_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<Value, HoldError> {
        let url = method_url(hold, nsid::HOLD_DELETE_USER_DATA)?;
        let request = self.request(Method::POST, &url, Some(token))?.json(&json!({}));
        let answer = self.ask(request, self.timeouts.call).await?;
        read(About::Account, &answer)
    }
}
