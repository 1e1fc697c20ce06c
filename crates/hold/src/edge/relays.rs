//! What the operator is told of the relays, on the metrics listener.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use url::Url;

use crate::relays::{Announcements, RelayState};

/// `GET /relays`: how far each relay is. `POST /relays` asks them all once more, and answers the same.
pub fn operator_routes(announcements: Announcements) -> Router {
    Router::new()
        .route("/relays", get(states).post(announce))
        .with_state(announcements)
}

async fn states(State(announcements): State<Announcements>) -> Json<BTreeMap<Url, RelayState>> {
    Json(announcements.states())
}

async fn announce(State(announcements): State<Announcements>) -> Json<BTreeMap<Url, RelayState>> {
    announcements.announce();
    Json(announcements.states())
}
