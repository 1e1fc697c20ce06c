//! The id of a request, its span, its line in the log and its place in the metrics.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

/// The header that carries the id, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a client, in bytes.
const MAX_ID_LEN: usize = 64;

/// The label of requests that no route matches. Paths are unbounded, labels must not be.
const UNMATCHED: &str = "unmatched";

/// Routes that monitoring requests every few seconds.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Counts requests; labels `method`, `route`, `status`.
const REQUESTS: &str = "atcr_http_requests_total";

/// Time from the head of a request to the head of its answer; labels `method`, `route`.
const DURATION: &str = "atcr_http_request_duration_seconds";

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of a request, also among its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id of the request that the current task handles, for an error's body. `None` outside of [`layer`].
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The id as text: letters, digits, `-`, `_`, `.`; at most 64 bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The client's own id if it sent a harmless one, so that the logs of both ends can be read together; else a new one.
    fn of(request: &Request) -> Self {
        let sent = request
            .headers()
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_harmless(id));
        Self(sent.map_or_else(|| uuid::Uuid::new_v4().simple().to_string().into(), Arc::from))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer's extension: the pattern of the endpoint, where the router's own pattern says too little (`/v2/{*rest}`).
#[derive(Clone, Copy, Debug)]
pub struct RoutePattern(pub &'static str);

/// Gives a request its id, runs it in a span, and answers with the id. When it is done, it is counted and written to the log in one
/// line.
///
/// # Security
/// The line has the route's pattern and never the path: paths contain ids of upload sessions, and an id grants write access.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    let method = method_name(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| UNMATCHED.to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", request.id = %id, method);
    request.extensions_mut().insert(id.clone());
    let answered = async {
        let mut response = next.run(request).await;
        let route = match response.extensions().get::<RoutePattern>() {
            Some(RoutePattern(pattern)) => (*pattern).to_owned(),
            None => route,
        };
        report(method, route, response.status().as_u16(), started);
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        response
    };
    CURRENT.scope(id.clone(), answered).instrument(span).await
}

fn report(method: &'static str, route: String, status: u16, started: Instant) {
    let elapsed = started.elapsed();
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if PROBES.contains(&route.as_str()) && status < 400 {
        tracing::debug!(route, status, duration_ms, "answered");
    } else {
        tracing::info!(route, status, duration_ms, "answered");
    }
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", status.to_string()),
    ];
    metrics::counter!(REQUESTS, &labels).increment(1);
    metrics::histogram!(DURATION, &labels[..2]).record(elapsed.as_secs_f64());
}

/// Clients may invent methods, but labels must be few.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn is_harmless(id: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
