//! A PDS in this process, with the PLC directory and the handle resolver of its little network, that fails on request.
//!
//! It keeps accounts with app passwords, records, blobs and one chain of revisions per account, and checks what the reference PDS
//! checks: passwords, tokens, conditional commits, creation over an existing record, the number of writes, the size of a blob and of a
//! request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atcr_atproto::clock::{Clock as _, SystemClock, TidClock};
use atcr_atproto::data_model;
use atcr_atproto::lexicon::BlobRef;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::authorization_server::{self, OAuth, with_nonce};

/// How long an access token says it lives, in seconds, unless a test says otherwise.
const ACCESS_SECS: i64 = 7200;

/// Writes that one commit takes, and bytes that a JSON request may have: the reference PDS's own limits.
const MAX_WRITES: usize = 200;
const MAX_JSON_BYTES: usize = 150 * 1024;

/// How every call of one method is answered until the fault is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PdsFault {
    /// With this status and error name.
    Status(u16, &'static str),
    /// With 429 and this `Retry-After` in seconds.
    RateLimited(u64),
    /// Not at all.
    Silence,
}

/// Holds up the pages of an account's records: each waits until it is let through.
#[derive(Debug)]
pub struct PageGate {
    arrived: Semaphore,
    open: Semaphore,
}

impl PageGate {
    /// Waits until a page is asked for that was not waited for before.
    pub async fn arrived(&self) {
        if let Ok(arrived) = self.arrived.acquire().await {
            arrived.forget();
        }
    }

    /// Lets so many pages through.
    pub fn let_through(&self, pages: usize) {
        self.open.add_permits(pages);
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        if let Ok(open) = self.open.acquire().await {
            open.forget();
        }
    }
}

#[derive(Default)]
struct Account {
    handle: String,
    password: String,
    collections: BTreeMap<String, BTreeMap<String, Value>>,
    blobs: HashMap<String, (String, Bytes)>,
    head: Option<(String, String)>,
    gate: Option<Arc<PageGate>>,
    is_restless: bool,
    is_endless: bool,
}

pub(super) struct Inner {
    pub(super) oauth: OAuth,
    homes: HashMap<String, String>,
    accounts: BTreeMap<String, Account>,
    access: HashMap<String, String>,
    refresh: HashMap<String, String>,
    expired: HashSet<String>,
    faults: HashMap<String, PdsFault>,
    overtaken: u32,
    blob_limit: usize,
    access_secs: i64,
    tokens: u64,
    calls: Vec<String>,
}

pub(super) struct Shared {
    inner: Mutex<Inner>,
    tids: TidClock,
    address: SocketAddr,
}

/// A running fake. Dropping it stops it.
pub struct FakePds {
    shared: Arc<Shared>,
    server: Option<tokio::runtime::Runtime>,
}

impl FakePds {
    /// Starts a PDS without accounts.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let inner = Inner {
            oauth: OAuth::default(),
            homes: HashMap::new(),
            accounts: BTreeMap::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            expired: HashSet::new(),
            faults: HashMap::new(),
            overtaken: 0,
            blob_limit: 5 * 1024 * 1024,
            access_secs: ACCESS_SECS,
            tokens: 0,
            calls: Vec::new(),
        };
        let address = listener.local_addr()?;
        let tids = TidClock::with_clock_id(Arc::new(SystemClock), 1);
        let mut pds = Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(inner),
                tids,
                address,
            }),
            server: None,
        };
        pds.serve(listener.into_std()?)?;
        Ok(pds)
    }

    /// The base URL of PDS, PLC directory and handle resolver.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// Kills it with every connection; what it has stored stays.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped =
                tokio::task::spawn_blocking(move || server.shutdown_timeout(Duration::from_secs(10)));
            // A task of a fake that panics is seen by the test that talks to it.
            let _ = stopped.await;
        }
    }

    /// Starts it again on the same port.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(self.shared.address).await?;
        self.serve(listener.into_std()?)
    }

    /// Makes an account and returns its DID.
    pub fn add_account(&self, handle: &str, password: &str) -> String {
        let mut inner = self.inner();
        // 24 characters of base32, as a PLC identifier has.
        let did = format!(
            "did:plc:{:a>24}",
            handle.replace(|c: char| !c.is_ascii_lowercase(), "")
        );
        let account = Account {
            handle: handle.to_owned(),
            password: password.to_owned(),
            ..Account::default()
        };
        inner.accounts.insert(did.clone(), account);
        self.shared.commit(&mut inner, &did);
        did
    }

    /// The record under a key.
    #[must_use]
    pub fn record(&self, did: &str, collection: &str, rkey: &str) -> Option<Value> {
        self.inner()
            .accounts
            .get(did)?
            .collections
            .get(collection)?
            .get(rkey)
            .cloned()
    }

    /// The keys of a collection, in order.
    #[must_use]
    pub fn rkeys(&self, did: &str, collection: &str) -> Vec<String> {
        let inner = self.inner();
        let records = inner
            .accounts
            .get(did)
            .and_then(|account| account.collections.get(collection));
        records
            .map(|records| records.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Writes a record as another client of the account would.
    pub fn put_record(&self, did: &str, collection: &str, rkey: &str, value: Value) {
        let mut inner = self.inner();
        if let Some(account) = inner.accounts.get_mut(did) {
            account
                .collections
                .entry(collection.to_owned())
                .or_default()
                .insert(rkey.to_owned(), value);
        }
        self.shared.commit(&mut inner, did);
    }

    /// Deletes a record as another client of the account would.
    pub fn delete_record(&self, did: &str, collection: &str, rkey: &str) {
        let mut inner = self.inner();
        if let Some(records) = inner
            .accounts
            .get_mut(did)
            .and_then(|account| account.collections.get_mut(collection))
        {
            records.remove(rkey);
        }
        self.shared.commit(&mut inner, did);
    }

    /// Puts other bytes in place of a blob.
    pub fn damage_blob(&self, did: &str, cid: &str, bytes: impl Into<Bytes>) {
        if let Some((_, stored)) = self
            .inner()
            .accounts
            .get_mut(did)
            .and_then(|account| account.blobs.get_mut(cid))
        {
            *stored = bytes.into();
        }
    }

    /// The account's document names another PDS from now on.
    pub fn move_account(&self, did: &str, pds: &str) {
        self.inner().homes.insert(did.to_owned(), pds.to_owned());
    }

    /// The newest revision of an account.
    #[must_use]
    pub fn rev(&self, did: &str) -> Option<String> {
        self.inner()
            .accounts
            .get(did)?
            .head
            .as_ref()
            .map(|(_, rev)| rev.clone())
    }

    /// Lets every call of `method` (an NSID, or `plc`) go wrong; `None` mends it.
    pub fn set_fault(&self, method: &str, fault: Option<PdsFault>) {
        let mut inner = self.inner();
        match fault {
            Some(fault) => inner.faults.insert(method.to_owned(), fault),
            None => inner.faults.remove(method),
        };
    }

    /// Somebody else commits right before each of the next `times` commits.
    pub fn overtake(&self, times: u32) {
        self.inner().overtaken = times;
    }

    /// Every page of the account's records has to be let through from now on.
    pub fn gate_pages(&self, did: &str) -> Arc<PageGate> {
        let gate = Arc::new(PageGate {
            arrived: Semaphore::new(0),
            open: Semaphore::new(0),
        });
        if let Some(account) = self.inner().accounts.get_mut(did) {
            account.gate = Some(Arc::clone(&gate));
        }
        gate
    }

    /// The account has another revision at every look from now on, or no longer.
    pub fn set_restless(&self, did: &str, is_restless: bool) {
        if let Some(account) = self.inner().accounts.get_mut(did) {
            account.is_restless = is_restless;
        }
    }

    /// The account's tags never end from now on.
    pub fn set_endless(&self, did: &str) {
        if let Some(account) = self.inner().accounts.get_mut(did) {
            account.is_endless = true;
        }
    }

    /// Blobs beyond this size are refused.
    pub fn set_blob_limit(&self, bytes: usize) {
        self.inner().blob_limit = bytes;
    }

    /// Every access token given out so far has expired.
    pub fn expire_access_tokens(&self) {
        let mut inner = self.inner();
        let tokens: Vec<String> = inner.access.keys().cloned().collect();
        inner.expired.extend(tokens);
    }

    /// Access tokens made from now on live so many seconds.
    pub fn set_access_lifetime(&self, seconds: i64) {
        self.inner().access_secs = seconds;
    }

    /// Every session is over, as when the app passwords are revoked.
    pub fn end_sessions(&self) {
        let mut inner = self.inner();
        inner.access.clear();
        inner.refresh.clear();
    }

    /// The methods called so far, by NSID.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.inner().calls.clone()
    }

    /// How often `method` was called.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        self.inner().calls.iter().filter(|call| *call == method).count()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.inner().calls.clear();
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock()
    }

    fn serve(&mut self, listener: std::net::TcpListener) -> anyhow::Result<()> {
        // A runtime of its own, so that stopping it takes every connection along.
        let server = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let router = Router::new()
            .route("/xrpc/{method}", get(query).post(procedure))
            .route("/{did}", get(plc_document))
            .route("/xrpc/com.atproto.repo.uploadBlob", post(upload_blob))
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(Arc::clone(&self.shared), with_nonce))
            .merge(authorization_server::routes(&self.shared))
            .with_state(Arc::clone(&self.shared));
        server.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        });
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for FakePds {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a proof for a call of `method` must name.
    fn method_url(&self, method: &str) -> String {
        format!("{}/xrpc/{method}", self.url())
    }

    /// Notes the call and does what its fault says.
    pub(super) async fn enter(&self, method: &str) -> Option<Response> {
        let fault = {
            let mut inner = self.lock();
            inner.calls.push(method.to_owned());
            inner.faults.get(method).copied()
        };
        match fault? {
            PdsFault::Status(status, name) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Some(refuse(status, name, "as the test wants it"))
            }
            PdsFault::RateLimited(seconds) => {
                let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", "slow down");
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
                Some(response)
            }
            PdsFault::Silence => std::future::pending().await,
        }
    }

    /// A new commit of an account.
    fn commit(&self, inner: &mut Inner, did: &str) -> (String, String) {
        let rev = self.tids.next_tid().to_string();
        let cid = data_model::cid_of(data_model::RAW, rev.as_bytes()).to_string();
        if let Some(account) = inner.accounts.get_mut(did) {
            account.head = Some((cid.clone(), rev.clone()));
        }
        (cid, rev)
    }

    fn new_session(inner: &mut Inner, did: &str) -> Value {
        let handle = inner
            .accounts
            .get(did)
            .map(|account| account.handle.clone())
            .unwrap_or_default();
        let mut token = |kind: &str| {
            inner.tokens += 1;
            let claims = json!({ "sub": did, "exp": SystemClock.now().timestamp() + inner.access_secs, "n": inner.tokens });
            format!("{kind}.{}.fake", URL_SAFE_NO_PAD.encode(claims.to_string()))
        };
        let (access, refresh) = (token("access"), token("refresh"));
        inner.access.insert(access.clone(), did.to_owned());
        inner.refresh.insert(refresh.clone(), did.to_owned());
        json!({ "did": did, "handle": handle, "accessJwt": access, "refreshJwt": refresh })
    }
}

impl Inner {
    /// The account whose access token came with the request.
    fn caller(&mut self, method: &str, url: &str, headers: &HeaderMap) -> Result<String, Box<Response>> {
        if let Some(caller) = self.oauth.caller(headers, method, url) {
            return caller;
        }
        let token = bearer(headers);
        match self.access.get(token) {
            Some(_) if self.expired.contains(token) => Err(Box::new(refuse(
                StatusCode::BAD_REQUEST,
                "ExpiredToken",
                "Token has expired",
            ))),
            Some(did) => Ok(did.clone()),
            None => Err(Box::new(refuse(
                StatusCode::UNAUTHORIZED,
                "InvalidToken",
                "no such token",
            ))),
        }
    }
}

fn bearer(headers: &HeaderMap) -> &str {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default()
}

fn refuse(status: StatusCode, name: &str, message: &str) -> Response {
    (status, axum::Json(json!({ "error": name, "message": message }))).into_response()
}

fn invalid(message: &str) -> Response {
    refuse(StatusCode::BAD_REQUEST, "InvalidRequest", message)
}

async fn plc_document(State(shared): State<Arc<Shared>>, Path(did): Path<String>) -> Response {
    if let Some(fault) = shared.enter("plc").await {
        return fault;
    }
    let inner = shared.lock();
    let Some(account) = inner.accounts.get(&did) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let home = inner.homes.get(&did).cloned().unwrap_or_else(|| shared.url());
    axum::Json(json!({
        "id": did,
        "alsoKnownAs": [format!("at://{}", account.handle)],
        "verificationMethod": [],
        "service": [{
            "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": home
        }],
    }))
    .into_response()
}

async fn query(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = shared.enter(&method).await {
        return fault;
    }
    if method == "com.atproto.repo.listRecords" {
        let gate = query
            .get("repo")
            .and_then(|did| shared.lock().accounts.get(did)?.gate.clone());
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }
    let mut inner = shared.lock();
    if method == "com.atproto.sync.getLatestCommit"
        && let Some(did) = query.get("did")
        && inner.accounts.get(did).is_some_and(|account| account.is_restless)
    {
        shared.commit(&mut inner, did);
    }
    if method == "com.atproto.server.getServiceAuth" {
        let aud = query.get("aud").map(String::as_str).unwrap_or_default();
        let scope = "rpc:com.atproto.repo.getRecord?aud=*";
        let lxm = query.get("lxm").map(String::as_str);
        if !inner.oauth.permits(&headers, scope) || lxm != Some("com.atproto.repo.getRecord") {
            return refuse(
                StatusCode::FORBIDDEN,
                "ScopeMissingError",
                "Missing required scope",
            );
        }
        return match inner.caller("GET", &shared.method_url(&method), &headers) {
            Ok(did) => axum::Json(json!({ "token": format!("service:{did}:{aud}") })).into_response(),
            Err(refusal) => *refusal,
        };
    }
    let parameter = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let account = inner
        .accounts
        .get(parameter("repo"))
        .or_else(|| inner.accounts.get(parameter("did")));
    match method.as_str() {
        "com.atproto.identity.resolveHandle" => {
            let found = inner
                .accounts
                .iter()
                .find(|(_, account)| account.handle == parameter("handle"));
            match found {
                Some((did, _)) => axum::Json(json!({ "did": did })).into_response(),
                None => refuse(
                    StatusCode::BAD_REQUEST,
                    "HandleNotFound",
                    "Unable to resolve handle",
                ),
            }
        }
        "com.atproto.sync.getLatestCommit" => match account.and_then(|account| account.head.clone()) {
            Some((cid, rev)) => axum::Json(json!({ "cid": cid, "rev": rev })).into_response(),
            None => refuse(StatusCode::BAD_REQUEST, "RepoNotFound", "no such repository"),
        },
        "com.atproto.repo.getRecord" => {
            let (collection, rkey) = (parameter("collection"), parameter("rkey"));
            let record = account
                .and_then(|account| account.collections.get(collection))
                .and_then(|records| records.get(rkey));
            match record {
                Some(value) => axum::Json(entry(parameter("repo"), collection, rkey, value)).into_response(),
                None => refuse(
                    StatusCode::BAD_REQUEST,
                    "RecordNotFound",
                    "Could not locate record",
                ),
            }
        }
        "com.atproto.repo.listRecords" => {
            let Some(account) = account else {
                return invalid("Could not find repo");
            };
            let collection = parameter("collection");
            let limit: usize = parameter("limit").parse().unwrap_or(50);
            if account.is_endless && collection == "io.atcr.tag" {
                return axum::Json(endless_page(parameter("repo"), parameter("cursor"), limit))
                    .into_response();
            }
            let empty = BTreeMap::new();
            let records = account.collections.get(collection).unwrap_or(&empty);
            // Newest keys first, as servers do.
            let page: Vec<(&String, &Value)> = records
                .iter()
                .rev()
                .filter(|(rkey, _)| query.get("cursor").is_none_or(|cursor| *rkey < cursor))
                .take(limit)
                .collect();
            let cursor = page.last().map(|(rkey, _)| (*rkey).clone());
            let entries: Vec<Value> = page
                .into_iter()
                .map(|(rkey, value)| entry(parameter("repo"), collection, rkey, value))
                .collect();
            axum::Json(json!({ "records": entries, "cursor": cursor })).into_response()
        }
        "com.atproto.sync.getBlob" => match account.and_then(|account| account.blobs.get(parameter("cid"))) {
            Some((kind, bytes)) => ([(CONTENT_TYPE, kind.clone())], bytes.clone()).into_response(),
            None => refuse(StatusCode::BAD_REQUEST, "BlobNotFound", "Blob not found"),
        },
        _ => refuse(
            StatusCode::NOT_IMPLEMENTED,
            "MethodNotImplemented",
            "no such method",
        ),
    }
}

fn entry(did: &str, collection: &str, rkey: &str, value: &Value) -> Value {
    let cid = data_model::cid_of(data_model::RAW, value.to_string().as_bytes()).to_string();
    json!({ "uri": format!("at://{did}/{collection}/{rkey}"), "cid": cid, "value": value })
}

/// A page of tags after which there is always another.
fn endless_page(did: &str, cursor: &str, limit: usize) -> Value {
    let first: usize = cursor.parse().unwrap_or(0);
    let entries: Vec<Value> = (first..first + limit)
        .map(|n| {
            let tag = format!("t{n:07}");
            let value = json!({ "$type": "io.atcr.tag", "repository": "app", "tag": tag });
            entry(did, "io.atcr.tag", &format!("app_{tag}"), &value)
        })
        .collect();
    json!({ "records": entries, "cursor": (first + limit).to_string() })
}

async fn procedure(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(fault) = shared.enter(&method).await {
        return fault;
    }
    if body.len() > MAX_JSON_BYTES {
        return refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            "request entity too large",
        );
    }
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut inner = shared.lock();
    match method.as_str() {
        "com.atproto.server.createSession" => {
            let name = input["identifier"].as_str().unwrap_or_default();
            let found = inner
                .accounts
                .iter()
                .find(|(did, account)| did.as_str() == name || account.handle == name)
                .filter(|(_, account)| Some(account.password.as_str()) == input["password"].as_str())
                .map(|(did, _)| did.clone());
            match found {
                Some(did) => axum::Json(Shared::new_session(&mut inner, &did)).into_response(),
                None => refuse(
                    StatusCode::UNAUTHORIZED,
                    "AuthenticationRequired",
                    "Invalid identifier or password",
                ),
            }
        }
        "com.atproto.server.refreshSession" => match inner.refresh.remove(bearer(&headers)) {
            Some(did) => axum::Json(Shared::new_session(&mut inner, &did)).into_response(),
            None => refuse(StatusCode::BAD_REQUEST, "ExpiredToken", "Token has been revoked"),
        },
        "com.atproto.repo.applyWrites" => {
            let did = match inner.caller("POST", &shared.method_url(&method), &headers) {
                Ok(did) if input["repo"] == did => did,
                Ok(_) => return refuse(StatusCode::UNAUTHORIZED, "AuthRequired", "not your repository"),
                Err(refusal) => return *refusal,
            };
            let collections = input["writes"].as_array().into_iter().flatten();
            let mut scopes =
                collections.filter_map(|write| Some(format!("repo:{}", write["collection"].as_str()?)));
            if !scopes.all(|scope| inner.oauth.permits(&headers, &scope)) {
                return refuse(
                    StatusCode::FORBIDDEN,
                    "ScopeMissingError",
                    "Missing required scope",
                );
            }
            if inner.overtaken > 0 {
                inner.overtaken -= 1;
                shared.commit(&mut inner, &did);
            }
            apply_writes(&shared, &mut inner, &did, &input)
        }
        _ => refuse(
            StatusCode::NOT_IMPLEMENTED,
            "MethodNotImplemented",
            "no such method",
        ),
    }
}

fn apply_writes(shared: &Shared, inner: &mut Inner, did: &str, input: &Value) -> Response {
    let Some(account) = inner.accounts.get_mut(did) else {
        return invalid("Could not find repo");
    };
    let writes = input["writes"].as_array().map_or(0, Vec::len);
    if writes > MAX_WRITES {
        return invalid("Too many writes. Max: 200");
    }
    let head = account.head.as_ref().map(|(cid, _)| cid.as_str());
    if let Some(swap) = input["swapCommit"].as_str()
        && Some(swap) != head
    {
        return refuse(
            StatusCode::BAD_REQUEST,
            "InvalidSwap",
            "Commit was at another CID",
        );
    }
    let mut collections = account.collections.clone();
    for write in input["writes"].as_array().into_iter().flatten() {
        let text = |name: &str| write[name].as_str().unwrap_or_default().to_owned();
        let records = collections.entry(text("collection")).or_default();
        let exists = records.contains_key(&text("rkey"));
        let blob = write["value"]["manifestBlob"]["ref"]["$link"].as_str();
        if blob.is_some_and(|cid| !account.blobs.contains_key(cid)) {
            return refuse(StatusCode::BAD_REQUEST, "BlobNotFound", "Could not find blob");
        }
        match (text("$type").rsplit('#').next().unwrap_or_default(), exists) {
            ("create", false) | ("update", true) => {
                records.insert(text("rkey"), write["value"].clone());
            }
            ("delete", true) => {
                records.remove(&text("rkey"));
            }
            _ => return invalid("a write does not fit what is there"),
        }
    }
    account.collections = collections;
    let (cid, rev) = shared.commit(inner, did);
    axum::Json(json!({ "commit": { "cid": cid, "rev": rev }, "results": [] })).into_response()
}

async fn upload_blob(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    if let Some(fault) = shared.enter("com.atproto.repo.uploadBlob").await {
        return fault;
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, 64 * 1024 * 1024).await else {
        return invalid("the body broke off");
    };
    let mut inner = shared.lock();
    let url = shared.method_url("com.atproto.repo.uploadBlob");
    let did = match inner.caller("POST", &url, &parts.headers) {
        Ok(did) => did,
        Err(refusal) => return *refusal,
    };
    if bytes.len() > inner.blob_limit {
        return refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            "request entity too large",
        );
    }
    let kind = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !inner.oauth.permits(&parts.headers, &format!("blob:{kind}")) {
        return refuse(
            StatusCode::FORBIDDEN,
            "ScopeMissingError",
            "Missing required scope",
        );
    }
    let blob = BlobRef::of(&bytes, kind);
    if let Some(account) = inner.accounts.get_mut(&did) {
        account
            .blobs
            .insert(blob.cid.to_string(), (kind.to_owned(), bytes));
    }
    axum::Json(json!({ "blob": blob })).into_response()
}
