//! Sessions by app password, and tokens for other services.

use std::collections::HashMap;

use atcr_atproto::clock::{Clock as _, SystemClock};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{FakePds, Inner, Shared, refuse};

impl FakePds {
    /// Every access token given out so far has expired.
    pub fn expire_access_tokens(&self) {
        let mut inner = self.inner();
        let tokens: Vec<String> = inner.access.keys().cloned().collect();
        inner.expired.extend(tokens);
    }

    /// Access tokens made from now on live so many seconds.
    pub fn set_access_lifetime(&self, seconds: i64) {
        self.inner().access_secs = seconds;
    }

    /// Every session is over, as when the app passwords are revoked.
    pub fn end_sessions(&self) {
        let mut inner = self.inner();
        inner.access.clear();
        inner.refresh.clear();
    }

    /// Service tokens made from now on are in JWT's form and say that they end at `exp`, in Unix seconds; `None` goes back to the
    /// short form. Their signature is never good.
    pub fn set_service_token_exp(&self, exp: Option<i64>) {
        self.inner().service_exp = exp;
    }
}

impl Shared {
    pub(super) fn new_session(inner: &mut Inner, did: &str) -> Value {
        let handle = inner
            .accounts
            .get(did)
            .map(|account| account.handle.clone())
            .unwrap_or_default();
        let mut token = |kind: &str| {
            inner.tokens += 1;
            let claims = json!({ "sub": did, "exp": SystemClock.now().timestamp().saturating_add(inner.access_secs), "n": inner.tokens });
            format!("{kind}.{}.fake", URL_SAFE_NO_PAD.encode(claims.to_string()))
        };
        let (access, refresh) = (token("access"), token("refresh"));
        inner.access.insert(access.clone(), did.to_owned());
        inner.refresh.insert(refresh.clone(), did.to_owned());
        json!({ "did": did, "handle": handle, "accessJwt": access, "refreshJwt": refresh })
    }
}

impl Inner {
    /// The account whose access token came with the request.
    pub(super) fn caller(
        &mut self,
        method: &str,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<String, Box<Response>> {
        if let Some(caller) = self.oauth.caller(headers, method, url) {
            return caller;
        }
        let token = bearer(headers);
        match self.access.get(token) {
            Some(_) if self.expired.contains(token) => Err(Box::new(refuse(
                StatusCode::BAD_REQUEST,
                "ExpiredToken",
                "Token has expired",
            ))),
            Some(did) => Ok(did.clone()),
            None => Err(Box::new(refuse(
                StatusCode::UNAUTHORIZED,
                "InvalidToken",
                "no such token",
            ))),
        }
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> &str {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default()
}

/// Answers `com.atproto.server.getServiceAuth`: `service:<did>:<audience>`, or a token in JWT's form where a test has set its end.
pub(super) fn service_token(
    shared: &Shared,
    inner: &mut Inner,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
) -> Response {
    const METHOD: &str = "com.atproto.server.getServiceAuth";
    let aud = query.get("aud").map(String::as_str).unwrap_or_default();
    let scope = "rpc:com.atproto.repo.getRecord?aud=*";
    let lxm = query.get("lxm").map(String::as_str);
    if !inner.oauth.permits(headers, scope) || lxm != Some("com.atproto.repo.getRecord") {
        return refuse(
            StatusCode::FORBIDDEN,
            "ScopeMissingError",
            "Missing required scope",
        );
    }
    let did = match inner.caller("GET", &shared.method_url(METHOD), headers) {
        Ok(did) => did,
        Err(refusal) => return *refusal,
    };
    let token = match inner.service_exp {
        None => format!("service:{did}:{aud}"),
        Some(exp) => {
            let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let header = part(json!({ "typ": "JWT", "alg": "ES256K" }));
            let claims = part(json!({ "iss": did, "aud": aud, "lxm": lxm, "exp": exp }));
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([1; 64]))
        }
    };
    axum::Json(json!({ "token": token })).into_response()
}
