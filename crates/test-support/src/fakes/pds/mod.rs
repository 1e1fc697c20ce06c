//! A PDS in this process, with the PLC directory and the handle resolver of its little network, that fails on request.
//!
//! It keeps accounts with app passwords, records, blobs and one chain of revisions per account, and checks what the reference PDS
//! checks: passwords, tokens, conditional commits, creation over an existing record, the number of writes, the size of a blob and of a
//! request.
//!
//! | Module | Has |
//! |---|---|
//! | [`accounts`] | accounts, their records and revisions, as tests see and change them |
//! | [`sessions`] | app-password sessions and service tokens |
//! | [`reads`], [`writes`] | the methods that read and that write |
//! | [`faults`] | what goes wrong on request |
//! | `proofs` | signed proofs of records |
//! | [`original`] | records as the original's AppView writes them |

mod accounts;
mod faults;
pub mod original;
mod proofs;
mod reads;
mod sessions;
mod writes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atcr_atproto::clock::{SystemClock, TidClock};
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::authorization_server::{self, OAuth, with_nonce};

pub use accounts::Snapshot;
pub use faults::{Filler, PageGate, PdsFault};

/// How long an access token says it lives, in seconds, unless a test says otherwise.
const ACCESS_SECS: i64 = 7200;

#[derive(Clone, Default)]
struct Account {
    handle: String,
    password: String,
    collections: BTreeMap<String, BTreeMap<String, Value>>,
    blobs: HashMap<String, (String, Bytes)>,
    head: Option<(String, String)>,
    gate: Option<Arc<PageGate>>,
    is_restless: bool,
    is_endless: bool,
    is_forged: bool,
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
    /// Records that another client writes just before the next commit: account, collection, key, value.
    in_between: Vec<(String, String, String, Value)>,
    blob_limit: usize,
    access_secs: i64,
    service_exp: Option<i64>,
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
            in_between: Vec::new(),
            blob_limit: 5 * 1024 * 1024,
            access_secs: ACCESS_SECS,
            service_exp: None,
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
            .route("/xrpc/{method}", get(reads::query).post(writes::procedure))
            .route("/{did}", get(reads::plc_document))
            .route("/xrpc/com.atproto.repo.uploadBlob", post(writes::upload_blob))
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(Arc::clone(&self.shared), with_nonce))
            .merge(authorization_server::routes(&self.shared))
            .layer(from_fn_with_state(Arc::clone(&self.shared), faults::spoil))
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
}

fn refuse(status: StatusCode, name: &str, message: &str) -> Response {
    (status, axum::Json(json!({ "error": name, "message": message }))).into_response()
}

fn invalid(message: &str) -> Response {
    refuse(StatusCode::BAD_REQUEST, "InvalidRequest", message)
}
