//! Relays over the network.

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::egress::{CappedBody, EgressClient, EgressError, Limits};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::{Did, Tid};
use atcr_atproto::xrpc::XrpcErrorBody;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::relays::{HostStatus, RelayApi, RelayError};

/// A relay answers in a few words, but first connects to the host it is told of.
const LIMITS: Limits = Limits {
    max_bytes: 64 * 1024,
    timeout: Duration::from_secs(30),
};
/// Letters of a relay's message that are kept.
const MESSAGE_CHARS: usize = 300;

/// [`RelayApi`] through the client for hosts that the operator configures.
#[derive(Clone, Debug)]
pub struct RelayClient(EgressClient);

impl RelayClient {
    /// Asks relays of the operator's choice.
    ///
    /// # Errors
    /// If the TLS roots cannot be loaded.
    pub fn new() -> Result<Self, EgressError> {
        EgressClient::for_configured_hosts().map(Self)
    }
}

/// The answer, if it is not a refusal.
fn agreed(answer: CappedBody) -> Result<CappedBody, RelayError> {
    if answer.status == StatusCode::OK {
        return Ok(answer);
    }
    let body: Option<XrpcErrorBody> = answer.json().ok();
    let message = body.map_or_else(
        || "no reason given".to_owned(),
        |body| body.message.unwrap_or(body.error),
    );
    Err(RelayError::Refused {
        status: answer.status.as_u16(),
        message: message.chars().take(MESSAGE_CHARS).collect(),
    })
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> RelayError {
    RelayError::Unavailable(Box::new(error))
}

fn method(relay: &Url, nsid: &str) -> Url {
    let mut url = relay.clone();
    url.set_path(&format!("/xrpc/{nsid}"));
    url
}

#[async_trait]
impl RelayApi for RelayClient {
    async fn request_crawl(&self, relay: &Url, hostname: &str) -> Result<(), RelayError> {
        let url = method(relay, nsid::SYNC_REQUEST_CRAWL);
        let request = self.0.request(Method::POST, &url).map_err(unavailable)?;
        let request = request.json(&json!({ "hostname": hostname }));
        let answer = self.0.send_capped(request, LIMITS).await.map_err(unavailable)?;
        agreed(answer).map(drop)
    }

    async fn host_status(&self, relay: &Url, hostname: &str) -> Result<HostStatus, RelayError> {
        let mut url = method(relay, nsid::SYNC_GET_HOST_STATUS);
        url.query_pairs_mut().append_pair("hostname", hostname);
        let request = self.0.request(Method::GET, &url).map_err(unavailable)?;
        let answer = self.0.send_capped(request, LIMITS).await.map_err(unavailable)?;
        agreed(answer)?.json().map_err(unavailable)
    }

    async fn latest_commit(&self, relay: &Url, did: &Did) -> Result<Tid, RelayError> {
        #[derive(Deserialize)]
        struct Output {
            rev: Tid,
        }
        let mut url = method(relay, nsid::SYNC_GET_LATEST_COMMIT);
        url.query_pairs_mut().append_pair("did", did.as_str());
        let request = self.0.request(Method::GET, &url).map_err(unavailable)?;
        let answer = self.0.send_capped(request, LIMITS).await.map_err(unavailable)?;
        let output: Output = agreed(answer)?.json().map_err(unavailable)?;
        Ok(output.rev)
    }
}
