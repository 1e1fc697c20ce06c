//! A hold as far as a scanner sees one: the WebSocket, private blobs, uploads of documents.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use atcr_oci::Digest;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::super::images::sha256;

pub(crate) const SECRET: &str = "secret of the hold";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Original,
}

struct Shared {
    address: SocketAddr,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    uploads: Mutex<BTreeMap<String, Vec<u8>>>,
    sockets: mpsc::UnboundedSender<Socket>,
    is_open: watch::Sender<bool>,
    takes_uploads: watch::Sender<bool>,
    upload_begins: Notify,
    is_slow: AtomicBool,
    upload_jobs: Mutex<Vec<String>>,
    /// Kept lists, and how often they were asked for.
    lists: Mutex<(Option<Vec<u8>>, usize)>,
    understands: bool,
    asked: Notify,
    asked_for: Mutex<Vec<String>>,
}

pub(crate) struct Hold {
    kind: Kind,
    shared: Arc<Shared>,
    sockets: AsyncMutex<mpsc::UnboundedReceiver<Socket>>,
}

pub(crate) struct Socket {
    pub(crate) query: String,
    stream: WebSocketStream<TokioIo<Upgraded>>,
}

impl Hold {
    pub(crate) async fn start(kind: Kind) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            blobs: Mutex::default(),
            uploads: Mutex::default(),
            sockets: sender,
            is_open: watch::Sender::new(true),
            takes_uploads: watch::Sender::new(true),
            upload_begins: Notify::new(),
            is_slow: AtomicBool::new(false),
            upload_jobs: Mutex::default(),
            lists: Mutex::default(),
            understands: kind == Kind::Ours,
            asked: Notify::new(),
            asked_for: Mutex::default(),
        });
        let router = Router::new()
            .route("/xrpc/io.atcr.hold.subscribeScanJobs", get(subscribe))
            .route("/xrpc/com.atproto.sync.getBlob", get(get_blob))
            .route("/signed/{digest}", get(signed))
            .route("/list", get(list))
            .route("/results/{job}/{kind}", put(upload))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            kind,
            shared,
            sockets: AsyncMutex::new(receiver),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    pub(crate) fn did(&self) -> String {
        format!("did:web:{}", self.shared.address.to_string().replace(':', "%3A"))
    }

    pub(crate) fn put_blobs(&self, blobs: &[(Digest, Vec<u8>)]) {
        let mut kept = self.shared.blobs.lock().unwrap();
        kept.extend(
            blobs
                .iter()
                .map(|(digest, bytes)| (digest.to_string(), bytes.clone())),
        );
    }

    pub(crate) fn job(&self, seq: u64, digest: &str, owner: &str) -> Value {
        let mut job = json!({
            "type": "scan_job",
            "seq": seq,
            "digest": digest,
            "repository": "app",
            "userDid": owner,
            "holdDid": self.did(),
            // Not where the scanner was told that the hold is: only the path counts.
            "holdEndpoint": "https://hold.invalid",
            "tag": "1",
            "priority": 0,
        });
        if self.kind == Kind::Ours {
            job["resultsUrl"] = json!(format!("https://hold.invalid/results/{seq}"));
            job["leaseSeconds"] = json!(600);
        }
        job
    }

    /// The documents, unpacked.
    pub(crate) fn uploads(&self) -> BTreeMap<String, Vec<u8>> {
        self.shared.uploads.lock().unwrap().clone()
    }

    pub(crate) fn forget_uploads(&self) {
        self.shared.uploads.lock().unwrap().clear();
    }

    /// A job with a list of packages; `None` for one that is gone.
    pub(crate) fn with_list(&self, mut job: Value, list: Option<&[u8]>) -> Value {
        self.shared.lists.lock().unwrap().0 = list.map(super::super::images::gzip);
        job["listUrl"] = json!("https://hold.invalid/list");
        job
    }

    pub(crate) fn times_asked_for_lists(&self) -> usize {
        self.shared.lists.lock().unwrap().1
    }

    /// The jobs for which documents came, each once, in order.
    pub(crate) fn upload_jobs(&self) -> Vec<String> {
        let mut jobs = self.shared.upload_jobs.lock().unwrap().clone();
        jobs.dedup();
        jobs
    }

    pub(crate) fn hold_uploads_back(&self) {
        self.shared.takes_uploads.send_replace(false);
    }

    pub(crate) fn let_uploads_through(&self) {
        self.shared.takes_uploads.send_replace(true);
    }

    /// Blobs begin and do not end.
    pub(crate) fn slow_down(&self) {
        self.shared.is_slow.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn upload_begins(&self) {
        self.shared.upload_begins.notified().await;
    }

    /// How often the blob with `digest` was asked for.
    pub(crate) fn times_asked_for(&self, digest: &str) -> usize {
        let asked_for = self.shared.asked_for.lock().unwrap();
        asked_for.iter().filter(|asked| *asked == digest).count()
    }

    /// The next connection of a scanner.
    pub(crate) async fn connected(&self) -> Socket {
        self.sockets.lock().await.recv().await.unwrap()
    }

    pub(crate) fn hold_blobs_back(&self) {
        self.shared.is_open.send_replace(false);
    }

    pub(crate) fn let_blobs_through(&self) {
        self.shared.is_open.send_replace(true);
    }

    pub(crate) async fn blob_is_asked_for(&self) {
        self.shared.asked.notified().await;
    }
}

impl Socket {
    pub(crate) async fn send(&mut self, message: &Value) {
        self.stream
            .send(Message::Text(message.to_string().into()))
            .await
            .unwrap();
    }

    /// Returns when the other side has read everything so far.
    pub(crate) async fn ping(&mut self) {
        self.stream.send(Message::Ping(Bytes::new())).await.unwrap();
        while !matches!(self.stream.next().await.unwrap().unwrap(), Message::Pong(_)) {}
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.stream.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The next word about the vulnerability database.
    pub(crate) async fn database(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == "scan_database" {
                return message["built"].clone();
            }
        }
    }

    /// The next result; words about what is under way are passed over.
    pub(crate) async fn result(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == "scan_result" {
                return message;
            }
        }
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Close(_))) | None => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
            }
        }
    }
}

fn has_secret(headers: &HeaderMap) -> bool {
    headers
        .get("x-scanner-secret")
        .is_some_and(|value| value == SECRET)
}

async fn subscribe(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    mut request: Request,
) -> Response {
    if !has_secret(request.headers()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let understands = shared.understands;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().unwrap();
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let query = query.unwrap_or_default();
        let _ = shared.sockets.send(Socket { query, stream });
    });
    let headers = [
        (header::CONNECTION, "upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    if understands {
        let said = HeaderValue::from_static("scan_database");
        response.headers_mut().insert("x-scanner-understands", said);
    }
    response
}

async fn list(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !has_secret(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (list, asked) = &mut *shared.lists.lock().unwrap();
    *asked += 1;
    list.clone().map_or(
        StatusCode::NOT_FOUND.into_response(),
        axum::response::IntoResponse::into_response,
    )
}

async fn get_blob(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if !has_secret(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    shared.asked_for.lock().unwrap().push(query["cid"].clone());
    shared.asked.notify_one();
    let mut is_open = shared.is_open.subscribe();
    is_open.wait_for(|is_open| *is_open).await.unwrap();
    let location = format!("/signed/{}", query["cid"]);
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
}

async fn signed(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Response {
    // The URL is the permission; a store refuses a second one.
    if headers.contains_key("x-scanner-secret") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if shared.is_slow.load(Ordering::Relaxed) {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))]);
        let body = first.chain(futures_util::stream::pending());
        return axum::body::Body::from_stream(body).into_response();
    }
    let blobs = shared.blobs.lock().unwrap();
    blobs
        .get(&digest)
        .map_or(StatusCode::NOT_FOUND.into_response(), |bytes| {
            bytes.clone().into_response()
        })
}

async fn upload(
    State(shared): State<Arc<Shared>>,
    Path((job, kind)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !has_secret(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
    shared.upload_begins.notify_one();
    let mut takes_uploads = shared.takes_uploads.subscribe();
    takes_uploads.wait_for(|takes| *takes).await.unwrap();
    shared.upload_jobs.lock().unwrap().push(job);
    let mut document = Vec::new();
    flate2::read::GzDecoder::new(&*body)
        .read_to_end(&mut document)
        .unwrap();
    let receipt = json!({"digest": sha256(&document).as_str(), "size": document.len()});
    shared.uploads.lock().unwrap().insert(kind, document);
    axum::Json(receipt).into_response()
}
