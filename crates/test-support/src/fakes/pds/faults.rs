//! What goes wrong on request.
//!
//! [`FakePds::set_fault`] makes every call of one method go wrong in one way. Faults that are not about one method (a commit that
//! came first, a revision that never stands still) have functions of their own.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{FakePds, Shared, refuse};

/// Longest answer that is spoilt: those of well-behaved accounts.
const MAX_SPOILT: usize = 64 * 1024 * 1024;

/// How every call of one method is answered until the fault is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PdsFault {
    /// With this status and error name.
    Status(u16, &'static str),
    /// With 429 and this `Retry-After` in seconds.
    RateLimited(u64),
    /// With 429 and this text as `Retry-After`.
    RetryAfter(&'static str),
    /// Not at all.
    Silence,
    /// As it should be, with one more field in each record, or in the answer itself where it has no records.
    Filled(Filler),
    /// With headers and the first half of the right answer, and then nothing.
    Stalls,
    /// With headers and bytes that never end.
    Endless,
}

/// What one more field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filler {
    /// A string of so many bytes.
    Long(usize),
    /// So many lists inside each other.
    Deep(usize),
    /// A list of smallest objects, of so many bytes: what costs most when it is parsed.
    Dense(usize),
    /// This text, as it is: numbers that no format holds, for example.
    Raw(&'static str),
}

impl Filler {
    /// The filler as JSON.
    #[must_use]
    pub fn json(self) -> String {
        const ITEM: &str = r#"{"":0},"#;
        match self {
            Self::Long(bytes) => format!("\"{}\"", "x".repeat(bytes)),
            Self::Deep(depth) => format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
            Self::Dense(bytes) => format!("[{}0]", ITEM.repeat(bytes / ITEM.len())),
            Self::Raw(text) => text.to_owned(),
        }
    }
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

    pub(super) async fn pass(&self) {
        self.arrived.add_permits(1);
        if let Ok(open) = self.open.acquire().await {
            open.forget();
        }
    }
}

impl FakePds {
    /// Lets every call of `method` (an NSID, or `plc`) go wrong; `None` mends it.
    pub fn set_fault(&self, method: &str, fault: Option<PdsFault>) {
        let mut inner = self.inner();
        match fault {
            Some(fault) => inner.faults.insert(method.to_owned(), fault),
            None => inner.faults.remove(method),
        };
    }

    /// Another client commits right before each of the next `times` commits.
    pub fn overtake(&self, times: u32) {
        self.inner().overtaken = times;
    }

    /// Just before the next commit arrives, another client of the account writes a record.
    pub fn write_in_between(&self, did: &str, collection: &str, rkey: &str, value: Value) {
        let record = (did.to_owned(), collection.to_owned(), rkey.to_owned(), value);
        self.inner().in_between.push(record);
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
}

impl Shared {
    /// The fault of `method`.
    fn fault(&self, method: &str) -> Option<PdsFault> {
        self.lock().faults.get(method).copied()
    }

    /// Notes the call and does what its fault says, unless that concerns an answer that is made first.
    pub(in crate::fakes) async fn enter(&self, method: &str) -> Option<Response> {
        self.lock().calls.push(method.to_owned());
        match self.fault(method)? {
            PdsFault::Status(status, name) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Some(refuse(status, name, "as the test wants it"))
            }
            PdsFault::RateLimited(seconds) => Some(rate_limited(seconds.into())),
            PdsFault::RetryAfter(text) => Some(rate_limited(HeaderValue::from_static(text))),
            PdsFault::Silence => std::future::pending().await,
            PdsFault::Filled(_) | PdsFault::Stalls | PdsFault::Endless => None,
        }
    }
}

fn rate_limited(retry_after: HeaderValue) -> Response {
    let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", "slow down");
    response.headers_mut().insert(RETRY_AFTER, retry_after);
    response
}

/// Spoils an answer that is as it should be, if the method's fault says so.
pub(super) async fn spoil(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let fault = shared.fault(name_of(request.uri().path()));
    let response = next.run(request).await;
    match fault {
        Some(PdsFault::Filled(filler)) if response.status().is_success() => {
            let (mut parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, MAX_SPOILT).await.unwrap_or_default();
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(filled(&bytes, filler)))
        }
        Some(PdsFault::Stalls) => {
            let (mut parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, MAX_SPOILT).await.unwrap_or_default();
            parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
            let half = bytes.slice(..bytes.len() / 2);
            let body = stream::iter([Ok::<_, std::io::Error>(half)]).chain(stream::pending());
            Response::from_parts(parts, Body::from_stream(body))
        }
        Some(PdsFault::Endless) => {
            let (mut parts, _) = response.into_parts();
            parts.headers.remove(CONTENT_LENGTH);
            let spaces = Bytes::from(vec![b' '; 64 * 1024]);
            let body = stream::repeat_with(move || Ok::<_, std::io::Error>(spaces.clone()));
            Response::from_parts(parts, Body::from_stream(body))
        }
        _ => response,
    }
}

/// The name under which faults of a path are set.
fn name_of(path: &str) -> &str {
    match path.strip_prefix("/xrpc/") {
        Some(method) => method,
        None if path.starts_with("/did:") => "plc",
        None if path.starts_with("/.well-known/oauth-") => "oauth/metadata",
        None => path.trim_start_matches('/'),
    }
}

/// A JSON answer with `filler` in each of its records.
fn filled(answer: &[u8], filler: Filler) -> String {
    const MARK: &str = "the filler goes here";
    let mut answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let fill = |value: &mut Value| {
        if let Some(fields) = value.as_object_mut() {
            fields.insert("filler".to_owned(), MARK.into());
        }
    };
    if let Some(records) = answer.get_mut("records").and_then(Value::as_array_mut) {
        for record in records {
            fill(&mut record["value"]);
        }
    } else if let Some(value) = answer.get_mut("value") {
        fill(value);
    } else {
        fill(&mut answer);
    }
    answer.to_string().replace(&format!("\"{MARK}\""), &filler.json())
}
