//! Is the process there, and can it work?

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::join_all;
use serde::Serialize;

/// How long each part may take to say that it works.
const PATIENCE: Duration = Duration::from_secs(5);

/// Port: something the hold cannot work without.
#[async_trait]
pub trait Part: fmt::Debug + Send + Sync {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Whether it works now.
    ///
    /// # Errors
    /// Whatever keeps it from working, for the log.
    async fn check(&self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// What readiness depends on.
#[derive(Clone, Debug)]
pub struct Readiness {
    parts: Arc<[Box<dyn Part>]>,
}

impl Readiness {
    /// Ready when all of `parts` work.
    #[must_use]
    pub fn new(parts: Vec<Box<dyn Part>>) -> Self {
        Self { parts: parts.into() }
    }
}

/// The answer of `/readyz`: `ok` or `failed` for each part.
type Report = BTreeMap<&'static str, &'static str>;

/// The answer of `/xrpc/_health`.
#[derive(Debug, Serialize)]
pub struct Health {
    version: &'static str,
}

/// `GET /livez`: whoever can answer is alive.
pub async fn live() -> &'static str {
    "ok\n"
}

/// `GET /xrpc/_health`: the version, as PDSes answer it.
pub async fn xrpc_health() -> Json<Health> {
    Json(Health {
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// `GET /readyz`: 200 when every part works, else 503; the log says why.
pub async fn ready(State(readiness): State<Readiness>) -> (StatusCode, Json<Report>) {
    let checks = readiness.parts.iter().map(|part| async {
        let word = if works(part.as_ref()).await {
            "ok"
        } else {
            "failed"
        };
        (part.name(), word)
    });
    let report: Report = join_all(checks).await.into_iter().collect();
    let status = if report.values().all(|word| *word == "ok") {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report))
}

async fn works(part: &dyn Part) -> bool {
    match tokio::time::timeout(PATIENCE, part.check()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(part = part.name(), error, "not ready");
            false
        }
        Err(_) => {
            tracing::warn!(part = part.name(), "not ready: no answer in time");
            false
        }
    }
}
