//! Whether the process lives, and whether it can serve.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::response::json;
use crate::state::AppState;

/// `GET /livez`: the process answers.
pub async fn livez() -> Response {
    json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// `GET /readyz`: both database files take writes. PDSes and holds are many and not ours; they do not count.
pub async fn readyz(State(state): State<AppState>) -> Response {
    if state.shutdown.soft().is_cancelled() {
        return json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "stopping" }));
    }
    match state.database.check().await {
        Ok(()) => json(StatusCode::OK, &json!({ "status": "ok" })),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "not ready: the database"
            );
            json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({ "status": "unready", "failing": ["database"] }),
            )
        }
    }
}
