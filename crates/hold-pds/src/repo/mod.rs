//! [`HoldRepo`]: the repository as everybody else sees it.

use std::path::PathBuf;
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::SigningKey;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::syntax::{AtUri, Cid, Did, RecordKey, Tid};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde_json::Value;
use tokio::sync::watch;

use crate::error::RepoError;
use crate::sequencer::CommitEvent;
use crate::writer::{Precondition, RecordWrite, WriteOutcome};

/// What opening a repository takes.
#[derive(Clone, Debug)]
pub struct RepoOptions {
    /// Its folder, created when missing. Nothing else lives there.
    pub dir: PathBuf,
    /// Whose repository it is.
    pub did: Did,
    /// Signs commits.
    pub signing_key: SigningKey,
    /// Bytes of tree nodes kept in memory.
    pub node_cache_bytes: usize,
}

impl RepoOptions {
    /// 8 MiB: the inner nodes of a tree of some hundred thousand records.
    pub const DEFAULT_NODE_CACHE_BYTES: usize = 8 * 1024 * 1024;

    /// The repository of `did` in `dir`, with defaults for the rest.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, did: Did, signing_key: SigningKey) -> Self {
        Self {
            dir: dir.into(),
            did,
            signing_key,
            node_cache_bytes: Self::DEFAULT_NODE_CACHE_BYTES,
        }
    }
}

/// A commit's name and revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The CID of the commit object.
    pub cid: Cid,
    /// Its revision; greater than that of every commit before it, whatever the clock does.
    pub rev: Tid,
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// `at://<did>/<collection>/<rkey>`.
    pub uri: AtUri,
    /// The CID of its DAG-CBOR.
    pub cid: Cid,
    /// As JSON, with `$link` and `$bytes`.
    pub value: Value,
}

/// Some records of a collection, in the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<StoredRecord>,
    /// Asks for the next page; `None` at the end.
    pub cursor: Option<String>,
}

/// A block and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its CID.
    pub cid: Cid,
    /// Its content.
    pub bytes: Bytes,
}

/// What one user keeps in the hold: every digest once, however many manifests have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Distinct digests.
    pub unique_blobs: u64,
    /// Their sizes, added up.
    pub total_bytes: u64,
}

/// A crew record and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrewMember {
    /// The key, which older holds chose differently.
    pub rkey: RecordKey,
    /// The record.
    pub record: CrewRecord,
}

/// Some of the crew, in the order of the record keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrewPage {
    /// The members.
    pub members: Vec<CrewMember>,
    /// Asks for the next page; `None` at the end.
    pub cursor: Option<String>,
}

/// The repository. Cheap to clone; all clones are the same repository.
#[derive(Clone, Debug)]
pub struct HoldRepo {
    did: Did,
}

impl HoldRepo {
    /// Opens the repository, or makes one with an empty signed commit.
    pub async fn open(options: RepoOptions, clock: Arc<dyn Clock>) -> Result<Self, RepoError> {
        let _ = clock;
        Ok(Self { did: options.did })
    }

    /// Finishes the writes under way, closes the files and lets other processes in. Later calls fail with
    /// [`RepoError::Closed`].
    pub async fn close(&self) {}

    /// Whose repository it is.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// Does `writes` in one commit, all or none.
    pub async fn write(&self, writes: Vec<RecordWrite>) -> Result<WriteOutcome, RepoError> {
        self.write_if(writes, Vec::new()).await
    }

    /// As [`write`](Self::write), if all of `preconditions` hold.
    pub async fn write_if(
        &self,
        writes: Vec<RecordWrite>,
        preconditions: Vec<Precondition>,
    ) -> Result<WriteOutcome, RepoError> {
        let _ = (writes, preconditions);
        Err(RepoError::Closed)
    }

    /// One record.
    pub async fn get_record(&self, collection: &str, rkey: &str) -> Result<Option<StoredRecord>, RepoError> {
        let _ = (collection, rkey);
        Err(RepoError::Closed)
    }

    /// A page of at most `limit` records, from after `cursor`; newest keys first when `reverse`.
    pub async fn list_records(
        &self,
        collection: &str,
        limit: usize,
        cursor: Option<&str>,
        reverse: bool,
    ) -> Result<RecordPage, RepoError> {
        let _ = (collection, limit, cursor, reverse);
        Err(RepoError::Closed)
    }

    /// The collections that have records, in order.
    pub async fn collections(&self) -> Result<Vec<String>, RepoError> {
        Err(RepoError::Closed)
    }

    /// The newest commit.
    pub fn latest_commit(&self) -> Result<CommitInfo, RepoError> {
        Err(RepoError::Closed)
    }

    /// The repository as CAR, in pieces; with `since`, only the blocks that are newer than that revision.
    pub fn export_car(
        &self,
        since: Option<Tid>,
    ) -> impl Stream<Item = Result<Bytes, RepoError>> + Send + 'static {
        let _ = since;
        stream::iter([Err(RepoError::Closed)])
    }

    /// A CAR that proves that the record exists, or that it does not: commit, tree nodes on the way, record.
    pub async fn record_proof(&self, collection: &str, rkey: &str) -> Result<Bytes, RepoError> {
        let _ = (collection, rkey);
        Err(RepoError::Closed)
    }

    /// Those of the named blocks that the current repository has.
    pub async fn get_blocks(&self, cids: &[Cid]) -> Result<Vec<StoredBlock>, RepoError> {
        let _ = cids;
        Err(RepoError::Closed)
    }

    /// Keys of the layer records of a manifest.
    pub async fn layers_of_manifest(&self, manifest: &AtUri) -> Result<Vec<RecordKey>, RepoError> {
        let _ = manifest;
        Err(RepoError::Closed)
    }

    /// What a user keeps in the hold.
    pub async fn usage_of(&self, user: &Did) -> Result<Usage, RepoError> {
        let _ = user;
        Err(RepoError::Closed)
    }

    /// Those of `digests` of which the user has no layer record yet, each once.
    pub async fn unseen_layers(&self, user: &Did, digests: &[String]) -> Result<Vec<String>, RepoError> {
        let _ = (user, digests);
        Err(RepoError::Closed)
    }

    /// The crew record of a member.
    pub async fn crew_by_member(&self, member: &Did) -> Result<Option<CrewMember>, RepoError> {
        let _ = member;
        Err(RepoError::Closed)
    }

    /// A page of the crew.
    pub async fn crew_page(&self, limit: usize, cursor: Option<&str>) -> Result<CrewPage, RepoError> {
        let _ = (limit, cursor);
        Err(RepoError::Closed)
    }

    /// The captain record.
    pub async fn captain(&self) -> Result<Option<CaptainRecord>, RepoError> {
        Err(RepoError::Closed)
    }

    /// At most `limit` events after `seq`, in order.
    pub async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<CommitEvent>, RepoError> {
        let _ = (seq, limit);
        Err(RepoError::Closed)
    }

    /// The newest `seq`, and a wake-up when there is a newer one.
    pub fn watch_seq(&self) -> Result<watch::Receiver<u64>, RepoError> {
        Err(RepoError::Closed)
    }

    /// Walks the whole repository: signature, tree shape, every block present and equal to its hash.
    pub async fn verify(&self) -> Result<(), RepoError> {
        Err(RepoError::Closed)
    }
}
