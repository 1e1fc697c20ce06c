//! One XRPC call: build, send, read, tell errors apart.
//!
//! The calls are made with `reqwest` rather than with atrium's `XrpcClient`, which drops `Retry-After` and the error
//! name whenever a server sends `WWW-Authenticate`.

use std::time::Duration;

use chrono::DateTime;
use http::{HeaderMap, Method, StatusCode, header};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{PdsAuth, PdsClient, PdsError};
use crate::bounds::MAX_RETRY_AFTER;
use crate::egress::json::JsonError;
use crate::egress::{CappedBody, Limits};
use crate::retry_after::asked;
use crate::xrpc::XrpcError;

/// Rate-limit reset times below this are seconds from now, above it Unix seconds.
const EARLIEST_UNIX_RESET: i64 = 1_000_000_000;

impl PdsClient {
    /// The host, for errors.
    pub(super) fn host(&self) -> String {
        self.base.host_str().unwrap_or_default().to_owned()
    }

    pub(super) fn malformed(&self, what: &'static str) -> PdsError {
        PdsError::Malformed {
            host: self.host(),
            what,
        }
    }

    pub(super) fn method_url(&self, nsid: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/xrpc/{nsid}"));
        url.set_query(None);
        url.set_fragment(None);
        url
    }

    pub(super) fn request(
        &self,
        method: Method,
        nsid: &str,
        auth: PdsAuth<'_>,
    ) -> Result<reqwest::RequestBuilder, PdsError> {
        let request = self
            .egress
            .request(method, &self.method_url(nsid))
            .map_err(|error| PdsError::from_egress(error, &self.host()))?;
        Ok(match auth {
            // A proof is of one sending, see `send`.
            PdsAuth::None | PdsAuth::Dpop { .. } => request,
            PdsAuth::Bearer(token) => request.bearer_auth(token.expose_secret()),
        })
    }

    pub(super) async fn query<P: Serialize, O: DeserializeOwned>(
        &self,
        nsid: &str,
        parameters: &P,
        auth: PdsAuth<'_>,
    ) -> Result<O, PdsError> {
        let request = self.request(Method::GET, nsid, auth)?.query(parameters);
        self.decode(&self.send(request, auth).await?)
    }

    pub(super) async fn procedure<I: Serialize, O: DeserializeOwned>(
        &self,
        nsid: &str,
        input: &I,
        auth: PdsAuth<'_>,
    ) -> Result<O, PdsError> {
        let request = self.request(Method::POST, nsid, auth)?.json(input);
        self.decode(&self.send(request, auth).await?)
    }

    /// Sends what [`Self::request`] began with the same `auth`. A DPoP-bound token may be sent twice, see
    /// [`crate::dpop::DpopProver::send`].
    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        auth: PdsAuth<'_>,
    ) -> Result<CappedBody, PdsError> {
        let limits = Limits {
            max_bytes: self.max_answer,
            timeout: self.timeout,
        };
        let request = request.header(header::ACCEPT, "application/json");
        let answer = match auth {
            PdsAuth::None | PdsAuth::Bearer(_) => self.egress.send_capped(request, limits).await,
            PdsAuth::Dpop { token, prover } => prover.send(&self.egress, request, Some(token), limits).await,
        };
        let answer = answer.map_err(|error| PdsError::from_egress(error, &self.host()))?;
        match self.refusal(answer.status, &answer.headers, &answer.bytes) {
            None => Ok(answer),
            Some(error) => Err(error),
        }
    }

    pub(super) fn decode<O: DeserializeOwned>(&self, answer: &CappedBody) -> Result<O, PdsError> {
        answer.json().map_err(|error| match error {
            // For a page: fewer records at a time may do.
            JsonError::TooManyValues => PdsError::TooLarge {
                host: self.host(),
                limit: u64::try_from(self.max_answer).unwrap_or(u64::MAX),
            },
            JsonError::TooDeep => self.malformed("answer: it is nested too deeply"),
            JsonError::Malformed => self.malformed("answer"),
        })
    }

    /// The error that an answer stands for; `None` if it is a success.
    pub(super) fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<PdsError> {
        if status.is_success() {
            None
        } else if status == StatusCode::TOO_MANY_REQUESTS {
            Some(PdsError::RateLimited {
                host: self.host(),
                retry_after: retry_after(headers),
            })
        } else if status.is_client_error() || status.is_server_error() {
            Some(PdsError::Xrpc(XrpcError::from_response(status, body)))
        } else {
            Some(self.malformed("status"))
        }
    }
}

/// How long the server asks to wait: `Retry-After` in either form, else `RateLimit-Reset`. Instants are measured against
/// the server's own `Date`, so that clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let server_now = text("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let reset = || {
        let value = text("ratelimit-reset")?.parse::<i64>().ok()?;
        let seconds = if value < EARLIEST_UNIX_RESET {
            value
        } else {
            value.saturating_sub(server_now?.timestamp()).max(0)
        };
        u64::try_from(seconds).ok().map(Duration::from_secs)
    };
    Some(
        asked(headers, server_now.map(|now| now.to_utc()))
            .or_else(reset)?
            .min(MAX_RETRY_AFTER),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| n.to_string()),
            Just(i64::MIN.to_string()),
            Just(i64::MAX.to_string()),
            Just("Fri, 31 Dec 9999 23:59:59 GMT".to_owned()),
            Just("Mon, 01 Jan 0001 00:00:00 GMT".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn a_server_asks_for_a_day_at_most(after in number(), reset in number(), date in number()) {
            let mut headers = HeaderMap::new();
            for (name, value) in [("retry-after", after), ("ratelimit-reset", reset), ("date", date)] {
                headers.insert(name, HeaderValue::try_from(value).unwrap());
            }
            prop_assert!(retry_after(&headers).is_none_or(|wait| wait <= MAX_RETRY_AFTER));
            headers.remove("retry-after");
            prop_assert!(retry_after(&headers).is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }
    }
}
