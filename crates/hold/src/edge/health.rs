//! Is the process there, and can it work?

use std::future::Future;
use std::time::Duration;

use atcr_hold_pds::HoldRepo;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::adapters::sqlite::Database;
use crate::blobs::BlobService;

/// How long each part may take to say that it works.
const PATIENCE: Duration = Duration::from_secs(5);

/// What readiness depends on.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The table of uploads.
    pub database: Database,
    /// The repository.
    pub repo: HoldRepo,
    /// The object store.
    pub blobs: BlobService,
}

/// The answer of `/readyz`: `ok` or `failed` for each part.
#[derive(Debug, Serialize)]
pub struct Report {
    database: &'static str,
    repository: &'static str,
    store: &'static str,
}

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

/// `GET /readyz`: 200 when database, repository and store all work, else 503; the log says why.
pub async fn ready(State(parts): State<Readiness>) -> (StatusCode, Json<Report>) {
    let (database, repository, store) = tokio::join!(
        check("database", async {
            sqlx::query("SELECT 1").execute(parts.database.writer()).await
        }),
        check("repository", parts.repo.captain()),
        check("store", parts.blobs.ping()),
    );
    let status = if database && repository && store {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = |works| if works { "ok" } else { "failed" };
    let report = Report {
        database: word(database),
        repository: word(repository),
        store: word(store),
    };
    (status, Json(report))
}

async fn check<T, E: std::error::Error>(part: &str, work: impl Future<Output = Result<T, E>>) -> bool {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!(part, %error, "not ready");
            false
        }
        Err(_) => {
            tracing::warn!(part, "not ready: no answer in time");
            false
        }
    }
}
