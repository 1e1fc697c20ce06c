//! What every request gets: an id, a span, one log line, its metrics, and a body when the hold itself failed.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::Instrument as _;

use super::error::{ServerFault, server_fault_body};

/// Carries the id of a request, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken over from a client.
const MAX_REQUEST_ID_LEN: usize = 64;

/// The label of requests that no route matches: paths are unbounded, labels must not be.
const UNMATCHED: &str = "unmatched";

/// Routes that are asked every few seconds, for ever.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// Runs the rest of the stack inside the request's span, and reports what came of it.
///
/// The id is the client's own if it sent a harmless one, so that an AppView's log and ours can be read together.
pub async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| UNMATCHED.to_owned(), |path| path.as_str().to_owned());
    let id = request_id(&request);
    let span = tracing::info_span!("request", request.id = %id, %method, route);

    let response = async {
        let response = next.run(request).await;
        let status = response.status().as_u16();
        let elapsed = started.elapsed();
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if PROBES.contains(&route.as_str()) && status < 400 {
            tracing::debug!(status, duration_ms, "answered");
        } else {
            tracing::info!(status, duration_ms, "answered");
        }
        let labels = [
            ("method", method_label(&method).to_owned()),
            ("route", route.clone()),
            ("status", status.to_string()),
        ];
        metrics::counter!("hold_http_requests_total", &labels).increment(1);
        metrics::histogram!("hold_http_request_duration_seconds", &labels[..2]).record(elapsed.as_secs_f64());
        response
    }
    .instrument(span)
    .await;

    let mut response = match response.extensions().get::<ServerFault>() {
        Some(fault) => (response.status(), server_fault_body(*fault, &id)).into_response(),
        None => response,
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// A client may make up methods; labels must be few.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn request_id(request: &Request) -> String {
    request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=MAX_REQUEST_ID_LEN).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        })
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}
