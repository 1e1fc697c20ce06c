//! `/xrpc/_health`. Whether the hold is alive and ready is `atcr_server::health`.

use axum::Json;
use serde::Serialize;

/// The answer of `/xrpc/_health`.
#[derive(Debug, Serialize)]
pub struct Health {
    version: &'static str,
}

/// `GET /xrpc/_health`: the version, as PDSes answer it.
pub async fn xrpc_health() -> Json<Health> {
    Json(Health {
        version: env!("CARGO_PKG_VERSION"),
    })
}
