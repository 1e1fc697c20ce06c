//! What a fake hold has besides its store: an identity, a captain, crew, and the notices of manifests that it received.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// The repository and the ears of a fake hold.
pub struct HoldOffice {
    did: String,
    url: String,
    inner: Mutex<Inner>,
    notified: Notify,
}

#[derive(Default)]
struct Inner {
    captain: Option<Value>,
    crew: Vec<String>,
    notices: Vec<Value>,
    refused_tokens: u32,
    refusals: usize,
    refused: usize,
    is_silent: bool,
    quota: Option<Value>,
    quota_asked: Vec<String>,
    user_data: Option<Value>,
    erased: usize,
}

impl HoldOffice {
    /// The office of the hold `did` at `url`, without a captain.
    #[must_use]
    pub fn new(did: String, url: String) -> Self {
        Self {
            did,
            url,
            inner: Mutex::default(),
            notified: Notify::new(),
        }
    }

    /// Sets the captain record.
    pub fn set_captain(&self, captain: Value) {
        self.lock().captain = Some(captain);
    }

    /// The next `times` tokens that come with a request for crew or a notice are not taken.
    pub fn refuse_tokens(&self, times: u32) {
        self.lock().refused_tokens = times;
    }

    /// The tokens with which crew was asked for.
    #[must_use]
    pub fn crew(&self) -> Vec<String> {
        self.lock().crew.clone()
    }

    /// The next so many notices are answered with 502.
    pub fn refuse(&self, notices: usize) {
        self.lock().refusals = notices;
    }

    /// Notices are not answered any more.
    pub fn fall_silent(&self) {
        self.lock().is_silent = true;
    }

    /// What `getQuota` answers of every user, besides the DID; until it is set the method fails with 500.
    pub fn set_quota(&self, quota: Value) {
        self.lock().quota = Some(quota);
    }

    /// The users whose quota was asked for.
    #[must_use]
    pub fn quota_asked(&self) -> Vec<String> {
        self.lock().quota_asked.clone()
    }

    /// What `exportUserData` answers, and that `deleteUserData` is offered; until it is set there are no such methods.
    pub fn set_user_data(&self, data: Value) {
        self.lock().user_data = Some(data);
    }

    /// How often a user's data was erased.
    #[must_use]
    pub fn erased(&self) -> usize {
        self.lock().erased
    }

    /// Waits until so many notices in all were answered with 502.
    pub async fn refused(&self, notices: usize) {
        loop {
            let notified = self.notified.notified();
            if self.lock().refused >= notices {
                return;
            }
            notified.await;
        }
    }

    /// How many notices of this operation came.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        let inner = self.lock();
        inner
            .notices
            .iter()
            .filter(|notice| notice["operation"] == operation)
            .count()
    }

    /// Waits for the first notice of this operation and digest.
    pub async fn notice(&self, operation: &str, digest: &str) -> Value {
        loop {
            let notified = self.notified.notified();
            let found = self.lock().notices.iter().find_map(|notice| {
                (notice["operation"] == operation && notice["manifestDigest"] == digest)
                    .then(|| notice.clone())
            });
            if let Some(notice) = found {
                return notice;
            }
            notified.await;
        }
    }

    /// The refusal of a token, if one is due.
    fn refusal(&self) -> Option<Response> {
        let mut inner = self.lock();
        inner.refused_tokens = inner.refused_tokens.checked_sub(1)?;
        let body = json!({ "error": "InvalidToken", "message": "as the test wants it" });
        Some((StatusCode::UNAUTHORIZED, axum::Json(body)).into_response())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of the office.
pub(super) fn router(office: Arc<HoldOffice>) -> Router {
    Router::new()
        .route("/.well-known/did.json", get(did_json))
        .route("/xrpc/com.atproto.repo.getRecord", get(captain))
        .route("/xrpc/io.atcr.hold.requestCrew", post(request_crew))
        .route("/xrpc/io.atcr.hold.getQuota", get(get_quota))
        .route("/xrpc/io.atcr.hold.exportUserData", get(export_user_data))
        .route("/xrpc/io.atcr.hold.deleteUserData", post(delete_user_data))
        .route("/xrpc/io.atcr.hold.notifyManifest", post(notify_manifest))
        .with_state(office)
}

async fn did_json(State(office): State<Arc<HoldOffice>>) -> Response {
    axum::Json(json!({
        "id": office.did,
        "service": [{ "id": "#atcr_hold", "type": "AtcrHoldService", "serviceEndpoint": office.url }],
    }))
    .into_response()
}

async fn captain(State(office): State<Arc<HoldOffice>>) -> Response {
    match &office.lock().captain {
        Some(captain) => axum::Json(json!({
            "uri": format!("at://{}/io.atcr.hold.captain/self", office.did), "value": captain
        }))
        .into_response(),
        None => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({ "error": "RecordNotFound" })),
        )
            .into_response(),
    }
}

async fn request_crew(State(office): State<Arc<HoldOffice>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = office.refusal() {
        return refusal;
    }
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    office.lock().crew.push(token.to_owned());
    (StatusCode::CREATED, axum::Json(json!({ "status": "created" }))).into_response()
}

async fn get_quota(
    State(office): State<Arc<HoldOffice>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let user = query.get("userDid").cloned().unwrap_or_default();
    let mut inner = office.lock();
    inner.quota_asked.push(user.clone());
    let Some(mut quota) = inner.quota.clone() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    quota["userDid"] = json!(user);
    axum::Json(quota).into_response()
}

/// The user's data, for whoever brings a token.
fn user_data(office: &HoldOffice, headers: &HeaderMap) -> Result<Value, Box<Response>> {
    if !headers.contains_key(AUTHORIZATION) {
        let body = json!({ "error": "AuthRequired" });
        return Err(Box::new(
            (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response(),
        ));
    }
    office.lock().user_data.clone().ok_or_else(|| {
        let body = json!({ "error": "MethodNotImplemented" });
        Box::new((StatusCode::NOT_IMPLEMENTED, axum::Json(body)).into_response())
    })
}

async fn export_user_data(State(office): State<Arc<HoldOffice>>, headers: HeaderMap) -> Response {
    match user_data(&office, &headers) {
        Ok(data) => axum::Json(data).into_response(),
        Err(refusal) => *refusal,
    }
}

async fn delete_user_data(State(office): State<Arc<HoldOffice>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = user_data(&office, &headers) {
        return *refusal;
    }
    office.lock().erased += 1;
    axum::Json(json!({ "success": true, "crewDeleted": true, "layersDeleted": 1, "statsDeleted": 1 }))
        .into_response()
}

async fn notify_manifest(State(office): State<Arc<HoldOffice>>, headers: HeaderMap, body: Bytes) -> Response {
    if !headers.contains_key(AUTHORIZATION) {
        return (
            StatusCode::UNAUTHORIZED,
            axum::Json(json!({ "error": "AuthRequired" })),
        )
            .into_response();
    }
    if let Some(refusal) = office.refusal() {
        return refusal;
    }
    if office.lock().is_silent {
        return std::future::pending().await;
    }
    {
        let mut inner = office.lock();
        if inner.refusals > 0 {
            inner.refusals -= 1;
            inner.refused += 1;
            drop(inner);
            office.notified.notify_waiters();
            return (
                StatusCode::BAD_GATEWAY,
                axum::Json(json!({ "error": "UpstreamFailure" })),
            )
                .into_response();
        }
    }
    let notice: Value = serde_json::from_slice(&body).unwrap_or_default();
    let operation = notice["operation"].clone();
    office.lock().notices.push(notice);
    office.notified.notify_waiters();
    axum::Json(json!({ "success": true, "operation": operation, "statsUpdated": true })).into_response()
}
