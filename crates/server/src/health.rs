//! Liveness and readiness: whether the process answers, and whether it can work.
//!
//! The public routes answer only yes or no. The metrics listener and the log name the part that fails, and say why.

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
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::Shutdown;
use crate::exit::sentence;

/// How long each part may take to say that it works.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer is reused: the parts are asked at most this often, regardless of the number of requests.
pub const FRESH_FOR: Duration = Duration::from_secs(5);

/// 1 when a part works, 0 when it does not; label `part`.
const READY: &str = "atcr_ready";

/// Numbers that a part gives about itself, by name. The unit is in the name: `free_bytes`.
pub type Figures = BTreeMap<&'static str, u64>;

/// What keeps a part from working.
pub type Reason = Box<dyn Error + Send + Sync>;

/// Port: something the process cannot work without.
#[async_trait]
pub trait Part: fmt::Debug + Send + Sync {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Whether it works now, with figures for the operator: how far it lags behind, how much room is left.
    ///
    /// # Errors
    /// What keeps it from working, for the operator.
    async fn check(&self) -> Result<Figures, Reason>;
}

/// What readiness depends on. Clones share the last answer.
#[derive(Clone, Debug)]
pub struct Readiness {
    parts: Arc<[Box<dyn Part>]>,
    shutdown: Shutdown,
    last: Cache<(), Arc<Report>>,
}

/// Each part as it was when it was last asked.
pub type Report = BTreeMap<&'static str, PartState>;

/// A part's answer: its figures if it works, else why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartState(Result<Figures, String>);

impl PartState {
    /// Whether the part works.
    #[must_use]
    pub const fn works(&self) -> bool {
        self.0.is_ok()
    }

    /// A figure of a part that works.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.0.as_ref().ok()?.get(name).copied()
    }

    /// Why the part does not work.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }
}

impl Serialize for PartState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0 {
            Ok(figures) => {
                map.serialize_entry("status", "ok")?;
                for (name, figure) in figures {
                    map.serialize_entry(name, figure)?;
                }
            }
            Err(reason) => {
                map.serialize_entry("status", "failed")?;
                map.serialize_entry("reason", reason)?;
            }
        }
        map.end()
    }
}

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
            let state = state_of(part.as_ref()).await;
            metrics::gauge!(READY, "part" => part.name()).set(if state.works() { 1.0 } else { 0.0 });
            (part.name(), state)
        });
        Arc::new(join_all(checks).await.into_iter().collect())
    }

    async fn state(&self) -> (StatusCode, Answer) {
        let parts = self.report().await;
        let all_work = parts.values().all(PartState::works);
        let (code, status) = if self.shutdown.soft().is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping")
        } else if all_work {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "unready")
        };
        (code, Answer { status, parts: None })
    }
}

async fn state_of(part: &dyn Part) -> PartState {
    PartState(match tokio::time::timeout(PATIENCE, part.check()).await {
        Ok(Ok(figures)) => Ok(figures),
        Ok(Err(error)) => {
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::warn!(part = part.name(), error, "not ready");
            Err(sentence(error))
        }
        Err(_) => {
            tracing::warn!(part = part.name(), "not ready: no answer within {PATIENCE:?}");
            Err(format!("no answer within {PATIENCE:?}"))
        }
    })
}

/// The answer of `/livez` and `/readyz`: `status` is `ok`, `unready` or `stopping`.
#[derive(Debug, Serialize)]
struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Arc<Report>>,
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

/// The operator's routes, for the metrics listener: `/livez`, and a `/readyz` that names each part: `ok` with its figures, or
/// `failed` with the reason.
pub fn operator_routes(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready_in_detail))
        .with_state(readiness)
}

async fn ready_in_detail(State(readiness): State<Readiness>) -> Response {
    let (code, answer) = readiness.state().await;
    let answer = Answer {
        parts: Some(readiness.report().await),
        ..answer
    };
    (code, Json(answer)).into_response()
}
