//! Asks a PDS which account an access token belongs to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::egress::{CappedBody, EgressClient, Limits, party};
use atcr_atproto::identity::{IdentityError, IdentityResolver};
use atcr_atproto::lexicon::nsid::SERVER_GET_SESSION;
use atcr_atproto::syntax::Did;
use atcr_atproto::xrpc::XrpcErrorBody;
use atcr_server::shared_places::SharedPlaces;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderMap};
use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::access_tokens::{AccountSessions, SessionError};

/// Tokens checked at once: each check is a request to a host that the caller names. Hosts below one registered name have a quarter.
const CHECKS_AT_ONCE: usize = 16;
const CHECKS_OF_PARTY: usize = 4;
/// Bytes of a proof. Real ones have some 500.
const MAX_PROOF_LEN: usize = 8 * 1024;
/// Bytes of a nonce that is handed on to the caller.
const MAX_NONCE_LEN: usize = 256;
/// A session is some hundred bytes.
const SESSION_LIMITS: Limits = Limits {
    max_bytes: 64 * 1024,
    timeout: Duration::from_secs(10),
};
/// What a PDS calls a proof that lacks its nonce.
const USE_DPOP_NONCE: &str = "use_dpop_nonce";

/// [`AccountSessions`] over the network.
pub struct PdsSessions {
    egress: EgressClient,
    resolver: Arc<dyn IdentityResolver>,
    checks: SharedPlaces,
}

impl PdsSessions {
    /// Asks through `egress`, and looks up with `resolver` which PDS may speak for an account.
    #[must_use]
    pub fn new(egress: EgressClient, resolver: Arc<dyn IdentityResolver>) -> Self {
        Self {
            egress,
            resolver,
            checks: SharedPlaces::new(CHECKS_AT_ONCE, CHECKS_OF_PARTY),
        }
    }

    async fn session(&self, url: &Url, token: &str, proof: &str) -> Result<CappedBody, SessionError> {
        let unavailable = |error| SessionError::Unavailable(Box::new(error));
        let request = self
            .egress
            .request(Method::GET, url)
            .map_err(unavailable)?
            .header(AUTHORIZATION, format!("DPoP {token}"))
            .header("dpop", proof);
        self.egress
            .send_capped(request, SESSION_LIMITS)
            .await
            .map_err(unavailable)
    }

    /// Whether the document of `did` names the PDS of `url`. The document is fetched again once, since accounts move.
    async fn lives_at(&self, did: &Did, url: &Url) -> Result<bool, IdentityError> {
        let names = |pds: Option<Url>| pds.is_some_and(|pds| pds.origin() == url.origin());
        if names(self.resolver.resolve_document(did).await?.service("atproto_pds")) {
            return Ok(true);
        }
        let current = self.resolver.refresh_document(did).await?;
        Ok(names(current.service("atproto_pds")))
    }
}

impl fmt::Debug for PdsSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PdsSessions").finish_non_exhaustive()
    }
}

#[async_trait]
impl AccountSessions for PdsSessions {
    async fn account_of(&self, token: &str, proof: &str) -> Result<Did, SessionError> {
        let url = session_url(proof).ok_or(SessionError::WrongProof)?;
        let host = url.host_str().unwrap_or_default();
        let _check = self.checks.try_acquire(&party(host)).ok_or(SessionError::Busy)?;
        let answer = self.session(&url, token, proof).await?;
        if answer.status != StatusCode::OK {
            return Err(refused(&answer));
        }
        let session: Session = serde_json::from_slice(&answer.bytes).map_err(|_| SessionError::Refused)?;
        let lives_there = self.lives_at(&session.did, &url).await;
        match lives_there {
            Ok(true) => Ok(session.did),
            Ok(false) => {
                tracing::warn!(did = %session.did, host = url.host_str(), "a host vouches for an account that lives elsewhere");
                Err(SessionError::Refused)
            }
            Err(error) => Err(SessionError::Unavailable(Box::new(error))),
        }
    }
}

/// The part of the answer that matters.
#[derive(Deserialize)]
struct Session {
    did: Did,
}

/// What a proof is for.
#[derive(Deserialize)]
struct ProofClaims {
    htm: String,
    htu: Url,
}

/// The URL that the proof is made for, if it is `getSession` and nothing else. The PDS checks the proof.
fn session_url(proof: &str) -> Option<Url> {
    if proof.len() > MAX_PROOF_LEN {
        return None;
    }
    let payload = proof.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let ProofClaims { htm, htu } = serde_json::from_slice(&payload).ok()?;
    let path = format!("/xrpc/{SERVER_GET_SESSION}");
    let is_session = htm == "GET" && htu.path() == path && htu.query().is_none() && htu.fragment().is_none();
    is_session.then_some(htu)
}

fn refused(answer: &CappedBody) -> SessionError {
    if answer.status.is_server_error() {
        return SessionError::Unavailable(format!("the PDS answered {}", answer.status).into());
    }
    let error: Option<XrpcErrorBody> = serde_json::from_slice(&answer.bytes).ok();
    match nonce(&answer.headers) {
        Some(nonce) if error.is_some_and(|body| body.error == USE_DPOP_NONCE) => {
            SessionError::NonceNeeded { nonce }
        }
        _ => SessionError::Refused,
    }
}

fn nonce(headers: &HeaderMap) -> Option<String> {
    let nonce = headers.get("dpop-nonce")?.to_str().ok()?;
    (nonce.len() <= MAX_NONCE_LEN).then(|| nonce.to_owned())
}
