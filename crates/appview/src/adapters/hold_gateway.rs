//! `HoldGateway` over a hold's XRPC methods.

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::egress::{EgressClient, EgressError, Limits};
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::hold_crew::{GetQuotaOutput, RequestCrewInput};
use atcr_atproto::lexicon::notify_manifest::{self, NotifyManifestInput};
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::pds::{PdsClient, PdsError};
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_atproto::xrpc::XrpcError;
use atcr_registry::error::RegistryError;
use atcr_registry::hold::ports::{HoldGateway, HoldRef, Quota};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What a caller is told to wait when a hold limits us and does not say for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Holds over HTTP.
#[derive(Clone, Debug)]
pub struct XrpcHolds {
    egress: EgressClient,
    timeout: Duration,
}

impl XrpcHolds {
    /// Goes through `egress` and waits for `timeout`.
    #[must_use]
    pub fn new(egress: EgressClient, timeout: Duration) -> Self {
        Self { egress, timeout }
    }

    async fn procedure<I: Serialize + Sync>(
        &self,
        hold: &HoldRef,
        method: &str,
        token: &SecretString,
        input: &I,
    ) -> Result<(), RegistryError> {
        let mut url = hold.endpoint.clone();
        url.set_path(&format!("/xrpc/{method}"));
        let request = self
            .egress
            .request(Method::POST, &url)
            .map_err(|error| unreachable(hold, &error))?
            .bearer_auth(token.expose_secret())
            .json(input);
        let limits = Limits {
            max_bytes: MAX_ANSWER,
            timeout: self.timeout,
        };
        let answer = self
            .egress
            .send_capped(request, limits)
            .await
            .map_err(|error| unreachable(hold, &error))?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(refused(
            hold,
            &XrpcError::from_response(answer.status, &answer.bytes),
        ))
    }
}

#[async_trait]
impl HoldGateway for XrpcHolds {
    async fn find_captain(&self, hold: &HoldRef) -> Result<Option<CaptainRecord>, RegistryError> {
        let client = PdsClient::new(hold.endpoint.clone(), self.egress.clone()).with_timeout(self.timeout);
        let found = client
            .get_record(&hold.did, CaptainRecord::NSID, &RecordKey::literal_self())
            .await;
        match found {
            Ok(entry) => Ok(entry.and_then(|entry| CaptainRecord::from_value(entry.value).ok())),
            Err(error) => Err(match error {
                PdsError::Unreachable { source, .. } => unreachable(hold, &source),
                PdsError::Timeout { .. } => RegistryError::HoldTimeout {
                    hold: hold.did.clone(),
                },
                PdsError::RateLimited { retry_after, .. } => RegistryError::HoldRateLimited {
                    hold: hold.did.clone(),
                    retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
                },
                PdsError::Xrpc(error) => refused(hold, &error),
                error @ (PdsError::TooLarge { .. } | PdsError::Malformed { .. }) => {
                    RegistryError::HoldFailed {
                        hold: hold.did.clone(),
                        status: StatusCode::OK.as_u16(),
                        reason: error.to_string(),
                    }
                }
            }),
        }
    }

    async fn request_crew(&self, hold: &HoldRef, token: &SecretString) -> Result<(), RegistryError> {
        self.procedure(hold, nsid::HOLD_REQUEST_CREW, token, &RequestCrewInput::default())
            .await
    }

    async fn notify_manifest(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        notice: &NotifyManifestInput,
    ) -> Result<(), RegistryError> {
        self.procedure(hold, nsid::HOLD_NOTIFY_MANIFEST, token, notice)
            .await
    }

    async fn find_quota(&self, hold: &HoldRef, user: &Did) -> Result<Quota, RegistryError> {
        let mut url = hold.endpoint.clone();
        url.set_path(&format!("/xrpc/{}", nsid::HOLD_GET_QUOTA));
        url.query_pairs_mut().append_pair("userDid", user.as_str());
        let request = self
            .egress
            .request(Method::GET, &url)
            .map_err(|error| unreachable(hold, &error))?;
        let limits = Limits {
            max_bytes: MAX_ANSWER,
            timeout: self.timeout,
        };
        let answer = self
            .egress
            .send_capped(request, limits)
            .await
            .map_err(|error| unreachable(hold, &error))?;
        if !answer.status.is_success() {
            let error = XrpcError::from_response(answer.status, &answer.bytes);
            return Err(refused(hold, &error));
        }
        let quota: GetQuotaOutput =
            serde_json::from_slice(&answer.bytes).map_err(|error| RegistryError::HoldFailed {
                hold: hold.did.clone(),
                status: answer.status.as_u16(),
                reason: format!("its answer is no quota: {error}"),
            })?;
        Ok(Quota {
            used_bytes: quota.total_size,
            limit_bytes: quota.limit,
        })
    }
}

fn unreachable(hold: &HoldRef, error: &EgressError) -> RegistryError {
    let did = hold.did.clone();
    match error {
        EgressError::Timeout { .. } => RegistryError::HoldTimeout { hold: did },
        other => RegistryError::HoldUnreachable {
            hold: did,
            reason: other.reason(),
        },
    }
}

fn refused(hold: &HoldRef, error: &XrpcError) -> RegistryError {
    let did = hold.did.clone();
    let reason = error.message.clone().unwrap_or_else(|| error.error.clone());
    if error.is(notify_manifest::error::QUOTA_EXCEEDED) {
        return RegistryError::QuotaExceeded { hold: did, reason };
    }
    match error.status {
        StatusCode::UNAUTHORIZED => RegistryError::HoldUnauthorized { hold: did, reason },
        StatusCode::FORBIDDEN => RegistryError::HoldForbidden { hold: did, reason },
        StatusCode::TOO_MANY_REQUESTS => RegistryError::HoldRateLimited {
            hold: did,
            retry_after: DEFAULT_RETRY_AFTER,
        },
        status => RegistryError::HoldFailed {
            hold: did,
            status: status.as_u16(),
            reason,
        },
    }
}
