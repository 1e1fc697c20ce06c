//! What the command line asks of the hold that runs: over a socket in the data folder, which only the folder's owner can open.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_server::Shutdown;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::gc::ports::Item;
use crate::gc::{Gc, GcError};

/// Items and runs in one answer.
const PAGE: u32 = 1000;

/// The socket at `path`, which only the user of this process can open, whoever may look into the folder. One that a process left behind is
/// removed: no other process has the folder open.
///
/// # Errors
/// The folder's.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the routes on `listener` until the soft shutdown.
pub fn serve(listener: UnixListener, gc: Gc, shutdown: &Shutdown) {
    let stop = shutdown.soft().clone();
    shutdown.spawn(async move {
        let serving = axum::serve(listener, router(gc)).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "commands for the running hold are no longer served");
        }
    });
}

fn router(gc: Gc) -> Router {
    Router::new()
        .route("/gc/status", get(status))
        .route("/gc/history", get(history))
        .route("/gc/items", get(items))
        .route("/gc/plan", post(plan))
        .route("/gc/run", post(run))
        .route("/gc/undo", post(undo))
        .route("/gc/account", post(judge))
        .with_state(gc)
}

/// Which run.
#[derive(Debug, Deserialize)]
struct OfRun {
    run: i64,
}

/// Which items.
#[derive(Debug, Deserialize)]
struct OfItems {
    run: i64,
    /// The one before the first.
    after: Option<Digest>,
}

/// Which plan is to be carried out; without one, a new one.
#[derive(Debug, Deserialize)]
struct Confirmed {
    confirm: Option<i64>,
}

/// What the captain says of an account.
#[derive(Debug, Deserialize)]
struct Judgement {
    did: Did,
    released: bool,
    accepted: bool,
}

/// Why not, in one sentence.
struct Refused(GcError);

impl From<GcError> for Refused {
    fn from(error: GcError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            GcError::Busy | GcError::NotNow(_) | GcError::Stopping => StatusCode::CONFLICT,
            GcError::Interrupted | GcError::Table(_) | GcError::Store(_) | GcError::Repo(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        // Its reader is the operator.
        let message = format!("{:#}", anyhow::Error::new(self.0));
        (status, Json(json!({ "message": message }))).into_response()
    }
}

async fn status(State(gc): State<Gc>) -> Result<Response, Refused> {
    Ok(Json(gc.status().await?).into_response())
}

async fn history(State(gc): State<Gc>) -> Result<Response, Refused> {
    Ok(Json(gc.history(PAGE).await?).into_response())
}

/// At most [`PAGE`] items of a plan.
async fn items(State(gc): State<Gc>, Query(of): Query<OfItems>) -> Result<Json<Vec<Value>>, Refused> {
    let all = gc.items(of.run, None, of.after.as_ref(), PAGE).await?;
    let shown = |item: Item| {
        json!({
            "digest": item.digest,
            "action": item.action.as_str(),
            "bytes": item.bytes,
            "owner": item.owner,
            "outcome": item.outcome,
        })
    };
    Ok(Json(all.into_iter().map(shown).collect()))
}

async fn plan(State(gc): State<Gc>) -> Result<Response, Refused> {
    Ok(Json(gc.plan().await?).into_response())
}

async fn run(State(gc): State<Gc>, Query(confirmed): Query<Confirmed>) -> Result<Response, Refused> {
    let run = match confirmed.confirm {
        Some(id) => gc.confirm(id).await?,
        None => gc.run().await?,
    };
    Ok(Json(run).into_response())
}

async fn undo(State(gc): State<Gc>, Query(of): Query<OfRun>) -> Result<Response, Refused> {
    let lifted = gc.undo(of.run).await?;
    Ok(Json(json!({ "run": of.run, "lifted": lifted })).into_response())
}

async fn judge(State(gc): State<Gc>, Query(said): Query<Judgement>) -> Result<Response, Refused> {
    gc.judge(&said.did, said.released, said.accepted).await?;
    Ok(
        Json(json!({ "did": said.did, "released": said.released, "accepted": said.accepted }))
            .into_response(),
    )
}
