//! The id of a request, its span, its line in the log, and its place in the metrics.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use tracing::Instrument as _;
use uuid::Uuid;

/// The header that carries the id, in both directions.
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a proxy.
const MAX_ID_LEN: usize = 64;

/// The id of a request, among its extensions.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Gives every request an id, runs it in a span with it, answers with it, and writes one line when it is done.
///
/// The line has no query: upload ids and tokens may be in it.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane(id))
        .map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned);
    let span = tracing::info_span!("request", request.id = %id);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    async move {
        let started = Instant::now();
        let mut response = next.run(request).await;
        let (elapsed, status) = (started.elapsed(), response.status().as_u16());
        tracing::info!(%method, path, status, duration_ms = elapsed.as_secs_f64() * 1e3, "answered");
        let labels = [
            ("route", route),
            ("method", method_label(&method).to_owned()),
            ("status", status.to_string()),
        ];
        metrics::counter!("atcr_appview_requests_total", &labels).increment(1);
        metrics::histogram!("atcr_appview_request_duration_seconds", &labels[..2])
            .record(elapsed.as_secs_f64());
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(X_REQUEST_ID.clone(), value);
        }
        response
    }
    .instrument(span)
    .await
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A method as a label; clients may invent methods, and labels must stay few.
fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
