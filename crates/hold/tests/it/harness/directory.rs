//! A did:plc directory in memory, which checks what it is given as the real one does, and can be made to fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::plc::Operation;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

/// What it knows, and how it behaves.
#[derive(Default)]
struct Known {
    logs: HashMap<String, Vec<(Operation, String)>>,
    /// Every answer is 503.
    is_down: bool,
    /// Operations are taken, and their answers are 503.
    loses_answers: bool,
    /// Operations are refused.
    refuses: bool,
    /// Operations are answered with 429.
    is_busy: bool,
    /// The log is read from a copy that lacks so many of the newest operations.
    lacks: usize,
}

/// The directory.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) url: Url,
    known: Arc<Mutex<Known>>,
}

impl Directory {
    pub(crate) async fn start() -> Self {
        let known = Arc::<Mutex<Known>>::default();
        let router = Router::new()
            .route("/{did}/log/audit", get(log))
            .route("/{did}", post(submit))
            .with_state(known.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url: url.parse().expect("a URL"),
            known,
        }
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.known.lock().expect("not poisoned").is_down = is_down;
    }

    pub(crate) fn set_loses_answers(&self, loses: bool) {
        self.known.lock().expect("not poisoned").loses_answers = loses;
    }

    pub(crate) fn set_refuses(&self, refuses: bool) {
        self.known.lock().expect("not poisoned").refuses = refuses;
    }

    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.known.lock().expect("not poisoned").is_busy = is_busy;
    }

    /// What is read lacks the `count` newest operations.
    pub(crate) fn set_lacks(&self, count: usize) {
        self.known.lock().expect("not poisoned").lacks = count;
    }

    /// The operations of a DID.
    pub(crate) fn operations(&self, did: &str) -> Vec<Operation> {
        let known = self.known.lock().expect("not poisoned");
        let log = known.logs.get(did).into_iter().flatten();
        log.map(|(operation, _)| operation.clone()).collect()
    }

    /// The DIDs it knows.
    pub(crate) fn dids(&self) -> Vec<String> {
        self.known
            .lock()
            .expect("not poisoned")
            .logs
            .keys()
            .cloned()
            .collect()
    }

    /// Makes `operation` the newest of `did`, as of the time `at`.
    pub(crate) fn add(&self, did: &str, operation: Operation, at: &str) {
        let mut known = self.known.lock().expect("not poisoned");
        known
            .logs
            .entry(did.to_owned())
            .or_default()
            .push((operation, at.to_owned()));
    }

    /// All operations are as old as `at`.
    pub(crate) fn date_all(&self, at: &str) {
        let mut known = self.known.lock().expect("not poisoned");
        for (_, date) in known.logs.values_mut().flatten() {
            at.clone_into(date);
        }
    }
}

async fn log(State(known): State<Arc<Mutex<Known>>>, Path(did): Path<String>) -> Response {
    let known = known.lock().expect("not poisoned");
    if known.is_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(log) = known.logs.get(&did) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let entry = |(operation, at): &(Operation, String)| {
        json!({
            "did": did, "operation": operation, "cid": operation.cid().to_string(),
            "nullified": false, "createdAt": at,
        })
    };
    let shown = log.len().saturating_sub(known.lacks).max(1);
    Json(log.iter().take(shown).map(entry).collect::<Vec<_>>()).into_response()
}

async fn submit(
    State(known): State<Arc<Mutex<Known>>>,
    Path(did): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let mut known = known.lock().expect("not poisoned");
    if known.is_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if known.is_busy {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let Ok(operation) = serde_json::from_value::<Operation>(body) else {
        return (StatusCode::BAD_REQUEST, "not an operation").into_response();
    };
    let log = known.logs.get(&did).cloned().unwrap_or_default();
    let newest = log.last().map(|(operation, _)| operation);
    let follows = match newest {
        None => operation.prev().is_none() && operation.did().is_some_and(|made| made.as_str() == did),
        Some(newest) => operation.prev() == Some(newest.cid().to_string().as_str()),
    };
    let signers = newest.unwrap_or(&operation).data().rotation_keys;
    if known.refuses || !follows || !operation.is_signed_by_one_of(&signers) {
        return (StatusCode::BAD_REQUEST, "invalid operation").into_response();
    }
    let now = SystemClock.now_datetime().to_string();
    known.logs.entry(did).or_default().push((operation, now));
    if known.loses_answers {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    StatusCode::OK.into_response()
}
