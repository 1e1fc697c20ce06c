//! A hold with its store, in this process, that fails on request.
//!
//! It speaks what the AppView's blob side speaks to a hold: the upload methods, `getBlob`, and signed URLs for parts and blobs. It
//! checks what a real store would refuse: parts out of order or too small, unknown lengths, tokens on signed URLs.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LOCATION, RANGE, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post, put};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::sync::Notify;

use super::hold::{self, HoldOffice};

/// What is behind the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Takes parts of any size and unknown length, in order, and hashes them.
    Streaming,
    /// S3: parts of known length of at least so many bytes, the last excepted.
    Parts {
        /// Smallest size in bytes of every part but the last.
        min: u64,
    },
    /// S3 behind a hold that says nothing about its store.
    Silent,
}

/// What goes wrong, once per fault, at the next occasion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The part of this number is answered with this status.
    PartStatus {
        /// Number of the part.
        number: u32,
        /// The status.
        status: u16,
    },
    /// The connection breaks while the part of this number arrives.
    PartBreaks {
        /// Number of the part.
        number: u32,
    },
    /// The upload is completed, but the answer gets lost.
    CompletionLost,
    /// `completeUpload` is answered with this status.
    CompletionStatus(u16),
    /// The hold forgets every upload under way.
    UploadsForgotten,
}

#[derive(Default)]
struct Upload {
    parts: BTreeMap<u32, (String, Bytes)>,
}

struct Inner {
    kind: StoreKind,
    private: bool,
    redirects_head: bool,
    members: Option<HashSet<String>>,
    refused_tokens: HashSet<String>,
    uploads: HashMap<String, Upload>,
    blobs: HashMap<String, Bytes>,
    faults: VecDeque<Fault>,
    calls: Vec<String>,
    violations: Vec<String>,
    silent: bool,
    unanswered: Vec<String>,
    next_id: u64,
}

struct Shared {
    inner: Mutex<Inner>,
    called: Notify,
    address: SocketAddr,
    office: Arc<HoldOffice>,
}

/// A running fake. Dropping it stops it.
pub struct FakeHold {
    shared: Arc<Shared>,
    server: Option<tokio::runtime::Runtime>,
}

impl FakeHold {
    /// Starts a public hold whose every caller with a token may write.
    pub async fn start(kind: StoreKind) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let inner = Inner {
            kind,
            private: false,
            redirects_head: false,
            members: None,
            refused_tokens: HashSet::new(),
            uploads: HashMap::new(),
            blobs: HashMap::new(),
            faults: VecDeque::new(),
            calls: Vec::new(),
            violations: Vec::new(),
            silent: false,
            unanswered: Vec::new(),
            next_id: 1,
        };
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            called: Notify::new(),
            address,
            office: Arc::new(HoldOffice::new(did_of(address), base(address))),
        });
        let mut hold = Self { shared, server: None };
        hold.serve(listener.into_std()?)?;
        Ok(hold)
    }

    /// The hold's DID.
    #[must_use]
    pub fn did(&self) -> String {
        did_of(self.shared.address)
    }

    /// What the hold is besides its store.
    #[must_use]
    pub fn office(&self) -> &HoldOffice {
        &self.shared.office
    }

    /// The hold's base URL.
    #[must_use]
    pub fn url(&self) -> String {
        base(self.shared.address)
    }

    /// Kills the hold with every connection; what it has stored stays.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped =
                tokio::task::spawn_blocking(move || server.shutdown_timeout(Duration::from_secs(10)));
            // A task of a fake that panics is seen by the test that talks to it.
            let _ = stopped.await;
        }
    }

    /// Starts the hold again on the same port.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(self.shared.address).await?;
        self.serve(listener.into_std()?)
    }

    /// From now on nothing is answered, or everything again. Its DID document is still served: whoever asks has it for an hour.
    pub fn set_silent(&self, silent: bool) {
        self.inner().silent = silent;
    }

    /// The paths that were asked for while it was silent.
    #[must_use]
    pub fn unanswered(&self) -> Vec<String> {
        self.inner().unanswered.clone()
    }

    /// Members only may read, or everybody.
    pub fn set_private(&self, private: bool) {
        self.inner().private = private;
    }

    /// Only tokens that begin with one of these have any rights.
    pub fn set_members(&self, prefixes: &[&str]) {
        self.inner().members = Some(prefixes.iter().map(|prefix| (*prefix).to_owned()).collect());
    }

    /// A plain HEAD of a blob is answered with a redirect to the store.
    pub fn redirect_head(&self) {
        self.inner().redirects_head = true;
    }

    /// Answers 401 to this token from now on.
    pub fn refuse_token(&self, token: &str) {
        self.inner().refused_tokens.insert(token.to_owned());
    }

    /// Lets something go wrong.
    pub fn fail(&self, fault: Fault) {
        let mut inner = self.inner();
        if fault == Fault::UploadsForgotten {
            inner.uploads.clear();
        } else {
            inner.faults.push_back(fault);
        }
    }

    /// Changes the store.
    pub fn set_kind(&self, kind: StoreKind) {
        self.inner().kind = kind;
    }

    /// Stores a blob and returns its SHA-256 digest.
    pub fn put_blob(&self, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = digest_like("sha256:", &bytes);
        self.put_blob_as(&digest, bytes);
        digest
    }

    /// Stores bytes under any digest, right or wrong.
    pub fn put_blob_as(&self, digest: &str, bytes: impl Into<Bytes>) {
        self.inner().blobs.insert(digest.to_owned(), bytes.into());
    }

    /// A stored blob.
    #[must_use]
    pub fn blob(&self, digest: &str) -> Option<Bytes> {
        self.inner().blobs.get(digest).cloned()
    }

    /// Removes a blob.
    pub fn remove_blob(&self, digest: &str) {
        self.inner().blobs.remove(digest);
    }

    /// What was asked of the hold and its store so far: `initiateUpload size=5`, `part 1`, `completeUpload proof`, `abortUpload`,
    /// `getBlob HEAD`, `getBlob method=GET`, `blob GET` …
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.inner().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.inner().calls.clear();
    }

    /// Waits until `call` has been made.
    pub async fn called(&self, call: &str) {
        loop {
            let notified = self.shared.called.notified();
            if self.inner().calls.iter().any(|made| made == call) {
                return;
            }
            notified.await;
        }
    }

    /// Uploads that were neither completed nor given up.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.inner().uploads.len()
    }

    /// What a real store would have refused and nobody may have sent.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock()
    }

    fn serve(&mut self, listener: std::net::TcpListener) -> anyhow::Result<()> {
        // A runtime of its own, so that stopping it takes every connection along.
        let server = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let router = router(Arc::clone(&self.shared));
        server.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        });
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for FakeHold {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: impl Into<String>) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.calls.push(call.into());
        self.called.notify_waiters();
        inner
    }

    /// Whether a request gets no answer; it is noted then.
    fn swallows(&self, path: &str) -> bool {
        let mut inner = self.lock();
        if inner.silent {
            inner.unanswered.push(path.to_owned());
        }
        inner.silent
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", base(self.address))
    }
}

impl Inner {
    fn take_fault(&mut self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let found = self.faults.iter().position(wanted)?;
        self.faults.remove(found)
    }

    /// Checks the caller as a hold does. Reading a public hold needs nothing.
    fn authorise(&self, headers: &HeaderMap, write: bool) -> Result<(), Box<Response>> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if !write && !self.private {
            return Ok(());
        }
        match token {
            None => Err(Box::new(error(
                StatusCode::UNAUTHORIZED,
                "AuthRequired",
                "no token",
            ))),
            Some(token) if self.refused_tokens.contains(token) => Err(Box::new(error(
                StatusCode::UNAUTHORIZED,
                "AuthRequired",
                "bad token",
            ))),
            Some(token) => {
                let known = |members: &HashSet<String>| {
                    members.iter().any(|member| token.starts_with(member.as_str()))
                };
                if self.members.as_ref().is_none_or(known) {
                    Ok(())
                } else {
                    Err(Box::new(error(
                        StatusCode::FORBIDDEN,
                        "Forbidden",
                        "user is not a crew member",
                    )))
                }
            }
        }
    }
}

fn did_of(address: SocketAddr) -> String {
    format!("did:web:127.0.0.1%3A{}", address.port())
}

fn base(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn router(shared: Arc<Shared>) -> Router {
    let office = hold::router(Arc::clone(&shared.office));
    let silence = from_fn_with_state(Arc::clone(&shared), silence);
    Router::new()
        .route("/xrpc/io.atcr.hold.initiateUpload", post(initiate))
        .route("/xrpc/io.atcr.hold.getPartUploadUrl", post(part_url))
        .route("/xrpc/io.atcr.hold.completeUpload", post(complete))
        .route("/xrpc/io.atcr.hold.abortUpload", post(abort))
        .route("/xrpc/com.atproto.sync.getBlob", get(get_blob))
        .route("/store/parts/{upload}/{number}", put(put_part))
        .route("/store/blobs/{digest}", any(store_blob))
        .with_state(shared)
        .merge(office)
        .layer(silence)
        .layer(DefaultBodyLimit::disable())
}

async fn silence(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path != "/.well-known/did.json" && shared.swallows(path) {
        return std::future::pending().await;
    }
    next.run(request).await
}

async fn initiate(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let size = input["size"]
        .as_u64()
        .map(|size| format!(" size={size}"))
        .unwrap_or_default();
    let mut inner = shared.note(format!("initiateUpload{size}"));
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    let id = format!("upload-{}", inner.next_id);
    inner.next_id += 1;
    inner.uploads.insert(id.clone(), Upload::default());
    let part = json!({
        "partNumber": 1, "url": shared.url(&format!("/store/parts/{id}/1?sig=secret")), "method": "PUT", "headers": {}
    });
    axum::Json(match inner.kind {
        StoreKind::Silent => json!({ "uploadId": id }),
        StoreKind::Streaming => json!({
            "uploadId": id, "part": part, "store": { "minPartSize": 0, "hashes": true, "streaming": true }
        }),
        StoreKind::Parts { min } => json!({
            "uploadId": id, "part": part, "store": { "minPartSize": min, "hashes": false, "streaming": false }
        }),
    })
    .into_response()
}

async fn part_url(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (id, number) = (
        input["uploadId"].as_str().unwrap_or_default(),
        &input["partNumber"],
    );
    let inner = shared.note(format!("getPartUploadUrl {number}"));
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    if !inner.uploads.contains_key(id) {
        return error(StatusCode::NOT_FOUND, "InvalidUploadId", "no such upload");
    }
    let url = shared.url(&format!("/store/parts/{id}/{number}?sig=secret"));
    axum::Json(json!({ "url": url, "method": "PUT", "headers": { "x-store": "please" } })).into_response()
}

async fn put_part(
    State(shared): State<Arc<Shared>>,
    Path((id, number)): Path<(String, u32)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (fault, kind) = {
        let mut inner = shared.note(format!("part {number}"));
        if headers.contains_key(AUTHORIZATION) {
            inner.violations.push(format!("part {number} came with a token"));
        }
        let fault = inner.take_fault(|fault| match fault {
            Fault::PartStatus { number: at, .. } | Fault::PartBreaks { number: at } => *at == number,
            _ => false,
        });
        (fault, inner.kind)
    };
    if kind != StoreKind::Streaming && headers.contains_key(TRANSFER_ENCODING) {
        shared
            .lock()
            .violations
            .push(format!("part {number} came without its length"));
        return StatusCode::LENGTH_REQUIRED.into_response();
    }
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    if let Some(Fault::PartBreaks { .. }) = fault {
        let _ = stream.next().await;
        break_connection();
    }
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(_) => {
                drop(shared.note(format!("part {number} broken")));
                return StatusCode::BAD_REQUEST.into_response();
            }
        }
    }
    if let Some(Fault::PartStatus { status, .. }) = fault {
        return StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
    }
    let mut inner = shared.note(format!("part {number} stored {}", bytes.len()));
    let Some(upload) = inner.uploads.get_mut(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let last = upload.parts.keys().next_back().copied().unwrap_or(0);
    if kind == StoreKind::Streaming && (number < last || number > last + 1) {
        inner
            .violations
            .push(format!("part {number} came after part {last}"));
        return StatusCode::CONFLICT.into_response();
    }
    let etag = hex(&Sha256::digest(&bytes))[..32].to_owned();
    upload.parts.insert(number, (etag.clone(), bytes.into()));
    (StatusCode::OK, [(ETAG, format!("\"{etag}\""))]).into_response()
}

async fn complete(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = input["uploadId"].as_str().unwrap_or_default().to_owned();
    let digest = input["digest"].as_str().unwrap_or_default().to_owned();
    let proved = if headers.contains_key("x-atcr-content-proof") {
        " proof"
    } else {
        ""
    };
    let mut inner = shared.note(format!("completeUpload{proved}"));
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    let fault = inner.take_fault(|fault| matches!(fault, Fault::CompletionLost | Fault::CompletionStatus(_)));
    if let Some(Fault::CompletionStatus(status)) = fault {
        return StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
    }
    let Some(upload) = inner.uploads.get(&id) else {
        return error(StatusCode::NOT_FOUND, "InvalidUploadId", "no such upload");
    };
    let named: Vec<(u64, &str)> = input["parts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|part| {
            (
                part["partNumber"].as_u64().unwrap_or(0),
                part["etag"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    let stored: Vec<(u64, &str)> = upload
        .parts
        .iter()
        .map(|(number, (etag, _))| (u64::from(*number), etag.as_str()))
        .collect();
    if named.is_empty() || named != stored {
        return error(
            StatusCode::BAD_REQUEST,
            "MissingParts",
            "the parts named are not the parts sent",
        );
    }
    let min = match inner.kind {
        StoreKind::Streaming => 0,
        StoreKind::Parts { min } => min,
        StoreKind::Silent => 5 * 1024 * 1024,
    };
    let sizes: Vec<u64> = upload
        .parts
        .values()
        .map(|(_, bytes)| bytes.len() as u64)
        .collect();
    if sizes[..sizes.len() - 1].iter().any(|size| *size < min) {
        inner.violations.push(format!("parts of {sizes:?} bytes"));
        return error(StatusCode::BAD_REQUEST, "CompletionFailed", "EntityTooSmall");
    }
    let bytes = upload
        .parts
        .values()
        .map(|(_, bytes)| bytes.as_ref())
        .collect::<Vec<&[u8]>>()
        .concat();
    inner.uploads.remove(&id);
    // A silent hold believes what it is told.
    if inner.kind != StoreKind::Silent && digest_like(&digest, &bytes) != digest {
        return error(StatusCode::BAD_REQUEST, "InvalidDigest", "other content");
    }
    inner.blobs.insert(digest.clone(), bytes.into());
    drop(inner);
    if fault == Some(Fault::CompletionLost) {
        break_connection();
    }
    axum::Json(json!({ "status": "completed", "digest": digest })).into_response()
}

async fn abort(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut inner = shared.note("abortUpload");
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    match inner
        .uploads
        .remove(input["uploadId"].as_str().unwrap_or_default())
    {
        Some(_) => axum::Json(json!({ "status": "aborted" })).into_response(),
        None => error(StatusCode::NOT_FOUND, "InvalidUploadId", "no such upload"),
    }
}

async fn get_blob(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let digest = query.get("cid").cloned().unwrap_or_default();
    let wanted = query
        .get("method")
        .map_or_else(|| method.to_string(), |method| format!("method={method}"));
    let inner = shared.note(format!("getBlob {wanted}"));
    if let Err(refusal) = inner.authorise(&headers, false) {
        return *refusal;
    }
    let Some(bytes) = inner.blobs.get(&digest) else {
        return error(StatusCode::NOT_FOUND, "BlobNotFound", "no such blob");
    };
    let url = shared.url(&format!("/store/blobs/{digest}?sig=secret"));
    if query.contains_key("method") {
        return axum::Json(json!({ "url": url })).into_response();
    }
    if method == Method::HEAD && !inner.redirects_head {
        return (StatusCode::OK, [(CONTENT_LENGTH, bytes.len().to_string())]).into_response();
    }
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url)]).into_response()
}

async fn store_blob(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let mut inner = shared.note(format!("blob {method}"));
    if headers.contains_key(AUTHORIZATION) {
        inner
            .violations
            .push("a blob was asked for with a token".to_owned());
    }
    let Some(bytes) = inner.blobs.get(&digest).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if method == Method::HEAD {
        return (StatusCode::OK, [(CONTENT_LENGTH, bytes.len().to_string())]).into_response();
    }
    let range = headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else {
        return bytes.into_response();
    };
    let (first, last) = (
        first.parse().unwrap_or(0),
        last.parse().unwrap_or(bytes.len() - 1),
    );
    if first >= bytes.len() {
        let range = format!("bytes */{}", bytes.len());
        return (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]).into_response();
    }
    let last = last.min(bytes.len() - 1);
    let range = format!("bytes {first}-{last}/{}", bytes.len());
    (
        StatusCode::PARTIAL_CONTENT,
        [(CONTENT_RANGE, range)],
        bytes.slice(first..=last),
    )
        .into_response()
}

fn error(status: StatusCode, name: &str, message: &str) -> Response {
    (status, axum::Json(json!({ "error": name, "message": message }))).into_response()
}

/// Ends the connection of the request that is being answered: the unwinding takes the connection's task along, and unlike a panic it
/// writes nothing.
fn break_connection() -> ! {
    std::panic::resume_unwind(Box::new("the connection breaks"))
}

/// The digest of `bytes` under the algorithm of `like`.
fn digest_like(like: &str, bytes: &[u8]) -> String {
    if like.starts_with("sha512:") {
        format!("sha512:{}", hex(&Sha512::digest(bytes)))
    } else {
        format!("sha256:{}", hex(&Sha256::digest(bytes)))
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
