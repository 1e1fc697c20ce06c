//! A hold with its store, in this process, that fails on request.
//!
//! It speaks what the AppView's blob side speaks to a hold: the upload methods, `getBlob`, and signed URLs for parts and blobs. It
//! checks what a real store would refuse: parts out of order or too small, unknown lengths, tokens on signed URLs.

mod methods;
mod office;
mod spelling;
mod store;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha512};
use tokio::sync::Notify;

pub use self::office::HoldOffice;
pub use self::spelling::{HeadAnswer, Spelling, UrlAnswer};

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
    spelling: Spelling,
    members: Option<HashSet<String>>,
    office: Arc<HoldOffice>,
    refused_tokens: HashSet<String>,
    uploads: HashMap<String, Upload>,
    blobs: HashMap<String, Bytes>,
    faults: VecDeque<Fault>,
    calls: Vec<String>,
    violations: Vec<String>,
    silent: bool,
    unanswered: Vec<String>,
    answers: HashMap<String, Bytes>,
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
        let address = listener.local_addr()?;
        let office = Arc::new(HoldOffice::new(did_of(address), base(address)));
        let inner = Inner {
            kind,
            private: false,
            spelling: Spelling::ours(),
            members: None,
            office: Arc::clone(&office),
            refused_tokens: HashSet::new(),
            uploads: HashMap::new(),
            blobs: HashMap::new(),
            faults: VecDeque::new(),
            calls: Vec::new(),
            violations: Vec::new(),
            silent: false,
            unanswered: Vec::new(),
            answers: HashMap::new(),
            next_id: 1,
        };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            called: Notify::new(),
            address,
            office,
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

    /// From now on no request is answered (`true`), or every request again. The DID document is still served: clients cache it
    /// for an hour.
    pub fn set_silent(&self, silent: bool) {
        self.inner().silent = silent;
    }

    /// The paths that were asked for while it was silent.
    #[must_use]
    pub fn unanswered(&self) -> Vec<String> {
        self.inner().unanswered.clone()
    }

    /// Answers a reader's `GET` of this path with these bytes from now on.
    pub fn answer(&self, path: &str, bytes: impl Into<Bytes>) {
        self.inner().answers.insert(path.to_owned(), bytes.into());
    }

    /// Whether only members may read.
    pub fn set_private(&self, private: bool) {
        self.inner().private = private;
    }

    /// Only tokens that begin with one of these have any rights, and those with which crew was asked for.
    pub fn set_members(&self, prefixes: &[&str]) {
        self.inner().members = Some(prefixes.iter().map(|prefix| (*prefix).to_owned()).collect());
    }

    /// Answers like this from now on.
    pub fn spell(&self, spelling: Spelling) {
        self.inner().spelling = spelling;
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

    /// The requests that a real store would have refused; a test must not cause any.
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
            None if !write && self.spelling.forbids_strangers => Err(Box::new(error(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "access denied for blob:read: user is not a crew member (required: blob:read or blob:write)",
            ))),
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
                let is_crew = || self.office.crew().iter().any(|crew| crew.ends_with(token));
                if self.members.as_ref().is_none_or(known) || is_crew() {
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
    let office = office::router(Arc::clone(&shared.office));
    let silence = from_fn_with_state(Arc::clone(&shared), silence);
    methods::router()
        .merge(store::router())
        .with_state(Arc::clone(&shared))
        .merge(office)
        .merge(Router::new().fallback(answered).with_state(shared))
        .layer(silence)
        .layer(DefaultBodyLimit::disable())
}

/// What a test has put at the path.
async fn answered(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Response {
    let inner = shared.lock();
    let Some(bytes) = inner.answers.get(uri.path()) else {
        return error(StatusCode::NOT_FOUND, "NotFound", "there is nothing here");
    };
    match inner.authorise(&headers, false) {
        Ok(()) => bytes.clone().into_response(),
        Err(refusal) => *refusal,
    }
}

async fn silence(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path != "/.well-known/did.json" && shared.swallows(path) {
        return std::future::pending().await;
    }
    next.run(request).await
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
