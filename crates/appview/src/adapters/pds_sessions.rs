//! `SessionServer` over a PDS's `createSession` and `refreshSession`.

use async_trait::async_trait;
use atcr_atproto::pds::{PdsError, PdsFailure};
use atcr_atproto::syntax::Did;
use atcr_sessions::ports::{NoSession, PdsSession, SessionServer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::pds_client::{PdsClients, seen};

/// Sessions made by PDSes.
#[derive(Clone, Debug)]
pub struct PdsSessions {
    clients: PdsClients,
}

impl PdsSessions {
    /// Asks through `clients`.
    #[must_use]
    pub fn new(clients: PdsClients) -> Self {
        Self { clients }
    }
}

#[async_trait]
impl SessionServer for PdsSessions {
    async fn create(&self, pds: &Url, did: &Did, password: &SecretString) -> Result<PdsSession, NoSession> {
        let client = self.clients.at(pds);
        let answer = seen(
            "create_session",
            pds,
            client.create_session(did.as_str(), password),
        )
        .await;
        session(pds, did, answer)
    }

    async fn refresh(&self, session: &PdsSession) -> Result<PdsSession, NoSession> {
        let client = self.clients.at(&session.pds);
        let call = client.refresh_session(&session.refresh);
        let answer = seen("refresh_session", &session.pds, call).await;
        self::session(&session.pds, &session.did, answer)
    }

    async fn end(&self, session: &PdsSession) {
        let client = self.clients.at(&session.pds);
        let call = client.delete_session(&session.refresh);
        let answer = seen("delete_session", &session.pds, call).await;
        if let Err(error) = answer {
            tracing::info!(did = %session.did, %error, "a session could not be ended at its PDS");
        }
    }
}

fn session(
    pds: &Url,
    did: &Did,
    answer: Result<atcr_atproto::pds::PdsSession, PdsError>,
) -> Result<PdsSession, NoSession> {
    let answer = answer.map_err(|error| refusal(pds, error))?;
    if answer.did != *did {
        return Err(NoSession::Refused("the PDS signed in another account".to_owned()));
    }
    Ok(PdsSession {
        did: answer.did,
        pds: pds.clone(),
        access_expires_at: expiry(answer.access_jwt.expose_secret()),
        access: answer.access_jwt,
        refresh: answer.refresh_jwt,
    })
}

fn refusal(pds: &Url, error: PdsError) -> NoSession {
    if error.is_xrpc("AuthFactorTokenRequired") {
        return NoSession::Refused(
            "this account asks for a second factor: sign in with an app password".to_owned(),
        );
    }
    let refused = error.as_xrpc().is_some_and(|error| {
        error.status == StatusCode::UNAUTHORIZED
            || [
                "ExpiredToken",
                "InvalidToken",
                "AuthenticationRequired",
                "AccountTakedown",
            ]
            .iter()
            .any(|name| error.is(name))
    });
    match error.as_xrpc() {
        Some(error) if refused => NoSession::Refused(
            error
                .message
                .clone()
                .unwrap_or_else(|| "the PDS refused the sign-in".to_owned()),
        ),
        _ => NoSession::Unavailable(PdsFailure::at(pds, error).into()),
    }
}

#[derive(Deserialize)]
struct ExpiryClaim {
    exp: i64,
}

/// When a token expires, read without believing it: at worst a call is made with a token that is refused.
fn expiry(token: &str) -> Option<DateTime<Utc>> {
    let payload = token.split('.').nth(1)?;
    let claims: ExpiryClaim = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    DateTime::from_timestamp(claims.exp, 0)
}
