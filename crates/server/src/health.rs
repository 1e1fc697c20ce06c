//! Liveness and readiness: whether the process answers, and whether it can work.
//!
//! The public routes answer only yes or no. The metrics listener and the log name the part that fails.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use moka::future::Cache;
use serde::Serialize;

use crate::Shutdown;

/// How long each part may take to say that it works.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer is reused: the parts are asked at most this often, regardless of the number of requests.
pub const FRESH_FOR: Duration = Duration::from_secs(5);

/// 1 when a part works, 0 when it does not; label `part`.
const READY: &str = "atcr_ready";

/// Port: something the process cannot work without.
#[async_trait]
pub trait Part: fmt::Debug + Send + Sync {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Whether it works now.
    ///
    /// # Errors
    /// What keeps it from working, for the log.
    async fn check(&self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// What readiness depends on. Clones share the last answer.
#[derive(Clone, Debug)]
pub struct Readiness {
    parts: Arc<[Box<dyn Part>]>,
    shutdown: Shutdown,
    last: Cache<(), Arc<Report>>,
}

/// Each part, and whether it worked when it was last asked.
pub type Report = BTreeMap<&'static str, bool>;

impl Readiness {
    /// Ready while all of `parts` work and `shutdown` has not begun. An answer is good for `fresh_for`, usually [`FRESH_FOR`].
    #[must_use]
    pub fn new(parts: Vec<Box<dyn Part>>, shutdown: Shutdown, fresh_for: Duration) -> Self {
        Self {
            parts: parts.into(),
            shutdown,
            last: Cache::builder().max_capacity(1).time_to_live(fresh_for).build(),
        }
    }

    /// Whether each part works, as of the last time they were asked. One caller asks; concurrent callers wait for its answer.
    pub async fn report(&self) -> Arc<Report> {
        self.last.get_with((), self.ask()).await
    }

    async fn ask(&self) -> Arc<Report> {
        let checks = self.parts.iter().map(|part| async {
            let works = works(part.as_ref()).await;
            metrics::gauge!(READY, "part" => part.name()).set(if works { 1.0 } else { 0.0 });
            (part.name(), works)
        });
        Arc::new(join_all(checks).await.into_iter().collect())
    }

    async fn state(&self) -> (StatusCode, Answer) {
        let parts = self.report().await;
        let (code, status) = if self.shutdown.soft().is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping")
        } else if parts.values().all(|works| *works) {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "unready")
        };
        (code, Answer { status, parts: None })
    }
}

async fn works(part: &dyn Part) -> bool {
    match tokio::time::timeout(PATIENCE, part.check()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::warn!(part = part.name(), error, "not ready");
            false
        }
        Err(_) => {
            tracing::warn!(part = part.name(), "not ready: no answer within {PATIENCE:?}");
            false
        }
    }
}

/// The answer of `/livez` and `/readyz`: `status` is `ok`, `unready` or `stopping`.
#[derive(Debug, Serialize)]
struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<BTreeMap<&'static str, &'static str>>,
}

/// `GET /livez`: the process answers.
pub async fn live() -> Response {
    Json(Answer {
        status: "ok",
        parts: None,
    })
    .into_response()
}

/// `GET /readyz`: 200 while every part works, else 503.
pub async fn ready(State(readiness): State<Readiness>) -> Response {
    let (code, answer) = readiness.state().await;
    (code, Json(answer)).into_response()
}

/// The operator's routes, for the metrics listener: `/livez`, and a `/readyz` that names each part with `ok` or `failed`.
pub fn operator_routes(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready_in_detail))
        .with_state(readiness)
}

async fn ready_in_detail(State(readiness): State<Readiness>) -> Response {
    let (code, answer) = readiness.state().await;
    let parts = readiness.report().await;
    let word = |works: bool| if works { "ok" } else { "failed" };
    let parts = parts.iter().map(|(name, works)| (*name, word(*works))).collect();
    let answer = Answer {
        parts: Some(parts),
        ..answer
    };
    (code, Json(answer)).into_response()
}
