//! The device flow's endpoints: what the credential helper speaks.
//!
//! # Spec
//! RFC 8628 §3.1–3.5, with JSON in place of forms and without clients' registration; errors have status 400.

use std::net::SocketAddr;

use atcr_auth::device::{DeviceCode, DeviceName, flow, polling};
use atcr_server::body;
use atcr_server::client_address::client_key;
use atcr_server::rate_limit::Limited;
use atcr_server::request_log::RequestId;
use atcr_server::retry_after;
use atcr_sessions::SessionError;
use atcr_sessions::devices::Polled;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::dialect::oci_status;
use super::response::{empty, json};
use crate::state::AppState;

/// Longest body that is read, in bytes.
const MAX_LEN: usize = 8 * 1024;

#[derive(Deserialize)]
struct CodeRequest {
    #[serde(default)]
    device_name: String,
}

#[derive(Deserialize)]
struct TokenRequest {
    device_code: String,
}

#[derive(Deserialize)]
struct RevokeRequest {
    device_secret: SecretString,
}

/// Why a request is not answered as asked.
enum DeviceError {
    /// The body is not of the endpoint's form.
    Malformed,
    Limited(Limited),
    /// One of the flow's own errors.
    Flow(&'static str),
    Failed(SessionError),
}

impl From<SessionError> for DeviceError {
    fn from(error: SessionError) -> Self {
        Self::Failed(error)
    }
}

impl From<Limited> for DeviceError {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

/// `POST /auth/device/code`: a device wants to be signed in.
pub async fn code(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    answer(begin(&state, peer, request).await)
}

async fn begin(state: &AppState, peer: SocketAddr, request: Request) -> Result<Response, DeviceError> {
    let client = state.proxies.client(peer, request.headers());
    state.limits.device_codes.take(&client_key(client.counted))?;
    let asked: CodeRequest = read(request).await?;
    let started = state
        .devices
        .start(DeviceName::new(&asked.device_name), client.own)
        .await?;
    let user_code = started.pending.user_code.as_str();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("user_code", user_code)
        .finish();
    Ok(json(
        StatusCode::OK,
        &json!({
            "device_code": started.code.expose(),
            "user_code": user_code,
            "verification_uri": state.site.url("/device"),
            "verification_uri_complete": state.site.url(&format!("/device?{query}")),
            "expires_in": flow::CODE_LIFETIME.num_seconds(),
            "interval": polling::POLL_INTERVAL.num_seconds(),
        }),
    ))
}

/// `POST /auth/device/token`: asks for the decision.
pub async fn token(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    answer(poll(&state, peer, request).await)
}

async fn poll(state: &AppState, peer: SocketAddr, request: Request) -> Result<Response, DeviceError> {
    let client = client_key(state.proxies.client(peer, request.headers()).counted);
    state.limits.unknown_polls.check(&client)?;
    let asked: TokenRequest = read(request).await?;
    match state
        .devices
        .poll(&DeviceCode::from_wire(asked.device_code))
        .await?
    {
        Polled::Pending => Err(DeviceError::Flow("authorization_pending")),
        Polled::SlowDown => Err(DeviceError::Flow("slow_down")),
        Polled::Denied => Err(DeviceError::Flow("access_denied")),
        Polled::Expired => {
            // Also what a code is told that was never given.
            let _ = state.limits.unknown_polls.take(&client);
            Err(DeviceError::Flow("expired_token"))
        }
        Polled::Approved { secret, approval } => Ok(json(
            StatusCode::OK,
            &json!({
                "device_secret": secret.expose().expose_secret(),
                "handle": approval.handle,
                "did": approval.did,
            }),
        )),
    }
}

/// `POST /auth/device/revoke`: a device signs itself out. An unknown secret is signed out already.
pub async fn revoke(State(state): State<AppState>, request: Request) -> Response {
    answer(end(&state, request).await)
}

async fn end(state: &AppState, request: Request) -> Result<Response, DeviceError> {
    let asked: RevokeRequest = read(request).await?;
    state.sign_out.device_secret(&asked.device_secret).await?;
    Ok(empty(StatusCode::NO_CONTENT, Vec::new()))
}

async fn read<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, DeviceError> {
    let (parts, body): (_, Body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, MAX_LEN)
        .await
        .map_err(|_| DeviceError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| DeviceError::Malformed)
}

/// The refusal of a client that asks too often.
pub fn too_many_requests(limited: Limited) -> Response {
    answer(Err(limited.into()))
}

fn answer(outcome: Result<Response, DeviceError>) -> Response {
    let error = |status, error: &str, description: Option<&str>| {
        let mut body = json!({ "error": error });
        if let Some(id) = RequestId::current() {
            body["request_id"] = Value::from(id.as_str());
        }
        if let Some(description) = description {
            body["error_description"] = Value::from(description);
        }
        json(status, &body)
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(DeviceError::Malformed) => error(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            Some("the body is not the JSON object that this endpoint takes"),
        ),
        Err(DeviceError::Flow(name)) => error(StatusCode::BAD_REQUEST, name, None),
        Err(DeviceError::Limited(limited)) => {
            let mut response = error(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                Some("too many requests; try again later"),
            );
            let wait = retry_after::header_value(limited.retry_after);
            response.headers_mut().insert(RETRY_AFTER, wait);
            response
        }
        Err(DeviceError::Failed(failure)) => {
            tracing::error!(
                error = &failure as &dyn std::error::Error,
                "the device flow failed"
            );
            error(
                oci_status::session_rendering(&failure).status,
                "server_error",
                None,
            )
        }
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
