//! One request to an authorization server: authenticated, proven, and its answer sorted.

use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::dpop::{Answered, DpopProver};
use atcr_atproto::egress::{CappedBody, EgressClient, Limits};
use atcr_atproto::retry_after::RetryAfter;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Url, form_urlencoded};

use super::assertion;
use super::discovery::{AuthorizationServer, host};
use super::error::OAuthError;
use super::registration::Registration;
use crate::bounds::{MAX_DESCRIPTION_CHARS, MAX_OAUTH_ANSWER_BYTES, MAX_OAUTH_RETRY_AFTER};

/// How long a server that is asked too often is left alone.
const BUSY: RetryAfter = RetryAfter::new(Duration::from_mins(1), MAX_OAUTH_RETRY_AFTER);

/// A greater difference of the clocks is named in the error when a server refuses something dated.
const NOTABLE_SKEW_SECS: i64 = 10;

/// A greater difference of the clocks is always logged.
const WORRYING_SKEW_SECS: i64 = 60;

/// Codes with which servers refuse a client assertion or proof, for its dates among other reasons.
const DATED_ERRORS: &[&str] = &["invalid_client", "invalid_dpop_proof", "invalid_client_assertion"];

/// An authorization server, asked with one key.
pub(super) struct Server<'a> {
    pub(super) egress: &'a EgressClient,
    pub(super) registration: &'a Registration,
    pub(super) server: &'a AuthorizationServer,
    pub(super) prover: &'a DpopProver,
    pub(super) clock: &'a dyn Clock,
    pub(super) timeout: Duration,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
    error_description: Option<String>,
}

impl Server<'_> {
    /// Posts `form` with the client's authentication. A request that lacks the server's nonce is repeated with it, once.
    pub(super) async fn post(&self, endpoint: &Url, form: &[(&str, &str)]) -> Result<CappedBody, OAuthError> {
        let host = host(endpoint);
        for is_last in [false, true] {
            let limits = Limits {
                max_bytes: MAX_OAUTH_ANSWER_BYTES,
                timeout: self.timeout,
            };
            let failed = |error| OAuthError::from_egress(&host, &error);
            // Built again for each attempt: an assertion works only once.
            let request = self
                .egress
                .request(Method::POST, endpoint)
                .map_err(failed)?
                .header(header::ACCEPT, "application/json")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(self.body(form)?);
            let answered = self
                .prover
                .send_once(self.egress, request, None, limits)
                .await
                .map_err(failed)?;
            match answered {
                Answered::WithNonce(_) if !is_last => {}
                answered => return self.sort(&host, answered.into_body()),
            }
        }
        Err(OAuthError::Internal("a request was not sent"))
    }

    /// The same, and its answer as JSON.
    pub(super) async fn post_for<T: DeserializeOwned>(
        &self,
        endpoint: &Url,
        form: &[(&str, &str)],
    ) -> Result<T, OAuthError> {
        let answer = self.post(endpoint, form).await?;
        // The parser's words may quote the body, which holds tokens.
        answer.json().map_err(|_| OAuthError::Unsuitable {
            host: host(endpoint),
            reason: "its answer is malformed".to_owned(),
        })
    }

    fn body(&self, form: &[(&str, &str)]) -> Result<String, OAuthError> {
        let client_id = self.registration.metadata().client_id.as_str();
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form).append_pair("client_id", client_id);
        if let Some(key) = self.registration.key() {
            let assertion = assertion::sign(key, client_id, &self.server.issuer, self.clock.now())?;
            body.append_pair("client_assertion_type", assertion::ASSERTION_TYPE)
                .append_pair("client_assertion", &assertion);
        }
        Ok(body.finish())
    }

    fn sort(&self, host: &str, answer: CappedBody) -> Result<CappedBody, OAuthError> {
        let now = self.clock.now();
        let skew = skew(&answer.headers, now);
        if let Some(seconds) = skew.filter(|seconds| seconds.abs() >= WORRYING_SKEW_SECS) {
            tracing::warn!(
                host,
                seconds,
                "the clock of this server differs from that of an authorization server"
            );
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        let unavailable = |retry_after| OAuthError::Unavailable {
            host: host.to_owned(),
            reason: format!("it answered {}", answer.status.as_u16()),
            retry_after,
        };
        if answer.status.is_server_error() {
            return Err(unavailable(None));
        }
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(unavailable(Some(BUSY.read(&answer.headers, now))));
        }
        let Ok(body) = answer.json::<ErrorBody>() else {
            return Err(OAuthError::Unsuitable {
                host: host.to_owned(),
                reason: format!("it answered {} without a reason", answer.status.as_u16()),
            });
        };
        Err(match skew {
            Some(seconds)
                if seconds.abs() >= NOTABLE_SKEW_SECS && DATED_ERRORS.contains(&body.error.as_str()) =>
            {
                OAuthError::ClockSkew {
                    host: host.to_owned(),
                    seconds,
                }
            }
            _ => OAuthError::Refused {
                host: host.to_owned(),
                error: body.error.chars().take(MAX_DESCRIPTION_CHARS).collect(),
                description: body
                    .error_description
                    .map(|text| text.chars().take(MAX_DESCRIPTION_CHARS).collect()),
            },
        })
    }
}

/// This clock minus the server's, in seconds.
fn skew(headers: &HeaderMap, now: DateTime<Utc>) -> Option<i64> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    Some(now.timestamp().saturating_sub(date.timestamp()))
}
