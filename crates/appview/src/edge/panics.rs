//! The answer to a request whose handler panicked: 500 in the dialect of the endpoint, with the request's id. The log has the rest.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use atcr_registry::error::RegistryError;
use atcr_server::supervise::panic_message;
use atcr_web::site::Site;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::StatusCode;
use http::header::ACCEPT;

use super::dialect::{oci, page};
use super::error::EdgeError;
use super::response::json_error;

/// Who asks, as far as it decides in which words a defect is admitted.
enum Asker {
    /// A container client.
    Registry,
    /// A person, at this path and query.
    Person(String),
    /// A program.
    Program,
}

impl Asker {
    fn of(request: &Request) -> Self {
        let path = request.uri().path();
        let accept = request.headers().get(ACCEPT);
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if path == "/v2" || path.starts_with("/v2/") || path == "/auth/token" {
            Self::Registry
        } else if accept.contains("text/html") {
            Self::Person(request.uri().to_string())
        } else {
            Self::Program
        }
    }
}

/// Answers in place of a handler that panics.
pub async fn layer(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let asker = Asker::of(&request);
    // What the handler shares with others is behind locks that go on after a panic, or is replaced as a whole.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let what = format!("a handler panicked: {}", panic_message(panic.as_ref()));
            answer(&asker, &site, what)
        }
    }
}

fn answer(asker: &Asker, site: &Arc<Site>, what: String) -> Response {
    match asker {
        Asker::Registry => oci::response(&EdgeError::Registry(RegistryError::Internal { what }), None),
        Asker::Person(here) => page::internal(site, here, &what),
        Asker::Program => {
            tracing::error!(error = what, "the request failed");
            json_error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "this server failed; its log has more under the request id",
            )
        }
    }
}

#[cfg(test)]
mod tests;
