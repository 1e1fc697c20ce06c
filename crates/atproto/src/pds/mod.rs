//! The client of a Personal Data Server, and of a hold's embedded one.

mod blobs;
mod call;
mod error;
mod failure;
mod records;
mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use crate::dpop::DpopProver;
use crate::egress::{EgressClient, SharePermit};
use crate::syntax::{AtUri, Cid, Did, Handle, RecordKey, Tid};

pub use blobs::BlobStream;
pub use error::PdsError;
pub use failure::{PdsFailure, Source};

pub use crate::bounds::{ANSWER_TIMEOUT as DEFAULT_TIMEOUT, MAX_ANSWER_BYTES};

/// Most changes in one [`PdsClient::apply_writes`]; the reference PDS refuses more.
pub const MAX_WRITES: usize = 200;

/// Longest JSON request in bytes, 150 KiB: the reference PDS answers 413 to a longer one. Other servers take more.
pub const MAX_REQUEST_BYTES: usize = 150 * 1024;

/// The client of one server. Cheap to clone; clones share connections.
///
/// Every method makes one request and does not retry. Redirects are not followed. Errors: [`PdsError`].
#[derive(Clone)]
pub struct PdsClient {
    base: Url,
    egress: EgressClient,
    timeout: Duration,
    max_answer: usize,
}

/// What a request carries to prove who asks. `Debug` does not show tokens.
#[derive(Clone, Copy, Debug)]
pub enum PdsAuth<'a> {
    /// No credential.
    None,
    /// `Authorization: Bearer <token>`: an app-password session's access token, or a service token.
    Bearer(&'a SecretString),
    /// `Authorization: DPoP <token>` and a proof: an OAuth session's access token.
    Dpop {
        /// The access token.
        token: &'a SecretString,
        /// Holds the key that it is bound to.
        prover: &'a DpopProver,
    },
}

/// A session made by password. `Debug` does not show tokens.
#[derive(Clone, Debug)]
pub struct PdsSession {
    /// The account.
    pub did: Did,
    /// Its handle, as the server says; not verified. `handle.invalid` if the server itself has doubts.
    pub handle: Handle,
    /// For [`PdsAuth::Bearer`]; lives for hours at most.
    pub access_jwt: SecretString,
    /// For [`PdsClient::refresh_session`], once.
    pub refresh_jwt: SecretString,
}

/// A record as a server returns it. While it lives, the memory of its answer counts as in flight: take out `value` and drop the
/// rest only where the value is kept.
#[derive(Clone, Debug)]
pub struct RecordEntry {
    /// Its address.
    pub uri: AtUri,
    /// Its CID, unless the server leaves it out.
    pub cid: Option<Cid>,
    /// The record, `$type` included.
    pub value: Value,
    #[expect(dead_code, reason = "given back when the record is dropped")]
    pub(crate) held: Option<Arc<SharePermit>>,
}

impl PartialEq for RecordEntry {
    fn eq(&self, other: &Self) -> bool {
        (&self.uri, &self.cid, &self.value) == (&other.uri, &other.cid, &other.value)
    }
}

/// A page of records.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<RecordEntry>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
    /// Length of the answer in bytes.
    pub size_bytes: u64,
}

/// A commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitMeta {
    /// The commit block.
    pub cid: Cid,
    /// Its revision.
    pub rev: Tid,
}

/// One change in an [`PdsClient::apply_writes`].
///
/// A change that the repository's state does not allow is refused. The reference PDS answers it with status 500,
/// `InternalServerError`: read the state before writing, and pin it with `swap_commit`.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Creates a record. Refused if the key is taken.
    Create {
        /// The collection's NSID.
        collection: String,
        /// The key; `None` lets the server choose a TID.
        rkey: Option<RecordKey>,
        /// The record, `$type` included.
        value: Value,
    },
    /// Replaces a record. Refused if there is none.
    Update {
        /// The collection's NSID.
        collection: String,
        /// The key.
        rkey: RecordKey,
        /// The record, `$type` included.
        value: Value,
    },
    /// Deletes a record. Refused if there is none.
    Delete {
        /// The collection's NSID.
        collection: String,
        /// The key.
        rkey: RecordKey,
    },
}

impl Write {
    /// Size of a change in a request, besides its collection, key and record; in bytes, rounded up.
    const FRAME_BYTES: usize = 96;

    /// Upper bound of the bytes that this change takes in a request of [`PdsClient::apply_writes`]. All changes of a request and
    /// its other fields must fit in [`MAX_REQUEST_BYTES`].
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        let (collection, rkey, value) = match self {
            Self::Create {
                collection,
                rkey,
                value,
            } => (collection, rkey.as_ref(), Some(value)),
            Self::Update {
                collection,
                rkey,
                value,
            } => (collection, Some(rkey), Some(value)),
            Self::Delete { collection, rkey } => (collection, Some(rkey), None),
        };
        Self::FRAME_BYTES
            + collection.len()
            + rkey.map_or(0, |rkey| rkey.as_str().len())
            + value.map_or(0, |value| value.to_string().len())
    }
}

/// What [`PdsClient::list_records`] asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRecords<'a> {
    /// Records in the page, 1–100; `None` lets the server choose (50).
    pub limit: Option<u8>,
    /// Where the page begins: the cursor of the one before.
    pub cursor: Option<&'a str>,
    /// False: newest keys first, as servers do; true: in the order of keys.
    pub reverse: bool,
}

impl PdsClient {
    /// A client of the server at `base`, of which only scheme, host and port count.
    #[must_use]
    pub fn new(base: Url, egress: EgressClient) -> Self {
        Self {
            base,
            egress,
            timeout: DEFAULT_TIMEOUT,
            max_answer: MAX_ANSWER_BYTES,
        }
    }

    /// The same client with another time limit for each call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same client with another limit for the length of each JSON answer, in bytes.
    #[must_use]
    pub fn with_max_answer(mut self, max_answer: usize) -> Self {
        self.max_answer = max_answer;
        self
    }

    /// The client that makes the requests.
    #[must_use]
    pub fn egress(&self) -> &EgressClient {
        &self.egress
    }

    /// The server.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }
}

impl fmt::Debug for PdsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PdsClient")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}
