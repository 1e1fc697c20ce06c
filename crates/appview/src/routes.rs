//! Every route on one page.

use axum::Router;
use axum::middleware;
use axum::routing::{any, get};
use tower_http::catch_panic::CatchPanicLayer;

use crate::edge::{health, oauth, registry, request_log, token, well_known};
use crate::state::AppState;

/// The router of the main listener.
///
/// Bodies are bounded where they are read, since a blob may have any size; what is awaited from other servers is bounded by the
/// adapters' time limits.
pub fn router(state: AppState) -> Router {
    Router::new()
        // Container clients.
        .route("/v2", any(registry::serve))
        .route("/v2/", any(registry::serve))
        .route("/v2/{*rest}", any(registry::serve))
        .route("/auth/token", get(token::serve).post(token::serve))
        // Other servers.
        .route("/.well-known/did.json", get(well_known::did_json))
        .route(
            "/oauth-client-metadata.json",
            get(oauth::client_metadata::metadata),
        )
        .route("/client-metadata.json", get(oauth::client_metadata::metadata))
        .route("/oauth-jwks.json", get(oauth::client_metadata::jwks))
        // Operators.
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(request_log::layer))
        .with_state(state)
}
