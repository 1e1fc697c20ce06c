//! Accounts with real repositories: trees, signatures, events. They can lie, which a real server does not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use atcr_atproto::data_model;
use atcr_atproto::lexicon::Record;
use atcr_atproto::lexicon::manifest::{self, ManifestRecord};
use atcr_atproto::lexicon::tag::{self, TagRecord};
use atcr_atproto::syntax::{Cid, Datetime, Did, RecordKey, Tid};
use atcr_index::Collection;
use atcr_index::change::{IdentityStep, Status};
use atcr_index::fact::RecordFact;
use atcr_index::ports::{IndexAudit as _, IndexWriter as _};
use atcr_index_sqlite::SqliteIndex;
use atcr_ingest::Index;
use atcr_ingest::catch_up::{CatchUp, Limits};
use atcr_ingest::schedule::Scheduler;
use atcr_ingest::source::{AccountSource, Head, SourceError, SourcePage};
use atcr_repo::firehose::{CommitEvent, RecordOp};
use atcr_repo::mst::{Node, NodeSource, Tree, diff, proof};
use atcr_repo::{Block, DataError, car, commit};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::watch;

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

pub(crate) fn alice() -> Did {
    "did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().unwrap()
}

pub(crate) fn bob() -> Did {
    "did:plc:bobbbbbbbbbbbbbbbbbbbbbb".parse().unwrap()
}

pub(crate) fn rev(number: u64) -> Tid {
    Tid::from_parts(1_700_000_000_000_000 + number, 0)
}

/// Records by path; `None` deletes.
pub(crate) type Writes = Vec<(String, Option<Value>)>;

#[derive(Default)]
struct Nodes(HashMap<Cid, Arc<Node>>);

impl NodeSource for Nodes {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        self.0.get(cid).cloned().ok_or(DataError::Missing(*cid))
    }
}

/// An account.
pub(crate) struct Account {
    pub(crate) did: Did,
    pub(crate) key: SigningKey,
    pub(crate) handle: String,
    pub(crate) status: Option<Status>,
    records: BTreeMap<String, (Cid, Value, Vec<u8>)>,
    nodes: Nodes,
    root: Cid,
    commits: u64,
    /// By which commit each node and record came.
    born: HashMap<Cid, u64>,
    /// Its server does not say what changed.
    pub(crate) is_silent: bool,
}

impl Account {
    pub(crate) fn new(did: Did) -> Self {
        let empty = Tree::empty().finish().unwrap();
        let mut nodes = Nodes::default();
        for node in empty.nodes {
            nodes.0.insert(node.cid, node.node);
        }
        nodes.0.entry(empty.root).or_insert_with(|| {
            Arc::new(Node {
                left: None,
                entries: Vec::new(),
            })
        });
        Self {
            did,
            key: SigningKey::generate(Curve::K256),
            handle: "someone.example".to_owned(),
            status: None,
            records: BTreeMap::new(),
            nodes,
            root: empty.root,
            commits: 0,
            born: HashMap::new(),
            is_silent: false,
        }
    }

    pub(crate) fn rev(&self) -> Tid {
        rev(self.commits)
    }

    /// Makes the writes in one commit: `None` deletes. Returns the event.
    pub(crate) fn commit(&mut self, writes: Writes) -> CommitEvent {
        let old = Tree::open(&self.nodes, self.root).unwrap();
        let mut tree = old.clone();
        let mut ops = Vec::new();
        let mut blocks: BTreeMap<Cid, Vec<u8>> = BTreeMap::new();
        for (path, value) in writes {
            let before = self.records.get(&path).map(|record| record.0);
            let after = value.map(|value| {
                let bytes = serde_ipld_dagcbor::to_vec(&data_model::record_to_ipld(&value).unwrap()).unwrap();
                let cid = data_model::cid_of(data_model::DAG_CBOR, &bytes);
                blocks.insert(cid, bytes.clone());
                self.records.insert(path.clone(), (cid, value, bytes));
                cid
            });
            if after.is_none() {
                self.records.remove(&path);
            }
            if before == after {
                continue;
            }
            tree = match after {
                Some(cid) => tree.put(&self.nodes, &path, cid).unwrap(),
                None => tree.remove(&self.nodes, &path).unwrap(),
            };
            ops.push(RecordOp {
                path,
                cid: after,
                prev: before,
            });
        }
        ops.sort_by(|left, right| left.path.cmp(&right.path));
        let finished = tree.finish().unwrap();
        let mut bytes: HashMap<Cid, Vec<u8>> = HashMap::new();
        for node in finished.nodes {
            bytes.insert(node.cid, node.bytes.clone());
            self.nodes.0.insert(node.cid, node.node);
        }
        let new = Tree::open(&self.nodes, finished.root).unwrap();
        let mut needed: BTreeSet<Cid> = diff::diff(&self.nodes, &old, &new).unwrap().created;
        let came = needed
            .iter()
            .chain(ops.iter().filter_map(|operation| operation.cid.as_ref()));
        self.born.extend(came.map(|cid| (*cid, self.commits + 1)));
        needed.insert(finished.root);
        for operation in &ops {
            proof::covering(&new, &self.nodes, &operation.path, &mut needed).unwrap();
        }
        for cid in needed {
            let content = self.nodes.0[&cid].encode().unwrap();
            blocks.insert(cid, content);
        }
        let since = (self.commits > 0).then(|| self.rev());
        let prev_data = (self.commits > 0).then_some(self.root);
        self.commits += 1;
        if self.root != finished.root {
            self.born.insert(finished.root, self.commits);
        }
        self.root = finished.root;
        let signed: Block = commit::sign(&self.did, &self.rev(), self.root, &self.key).unwrap();
        blocks.insert(signed.cid, signed.bytes.to_vec());
        CommitEvent {
            seq: 0,
            repo: self.did.clone(),
            time: Datetime::new(now()),
            commit: signed.cid,
            rev: self.rev(),
            since,
            prev_data,
            ops,
            blocks: car::of_blocks(
                signed.cid,
                blocks.iter().map(|(cid, bytes)| (cid, bytes.as_slice())),
            ),
        }
    }
}

impl Account {
    /// The blocks that came after the revision, as a server has them.
    fn difference(&self, since: &Tid) -> Bytes {
        let is_new = |cid: &Cid| self.born.get(cid).is_some_and(|commit| rev(*commit) > *since);
        let signed = commit::sign(&self.did, &self.rev(), self.root, &self.key).unwrap();
        let mut blocks: BTreeMap<Cid, Vec<u8>> = BTreeMap::from([(signed.cid, signed.bytes.to_vec())]);
        let mut next = vec![self.root];
        while let Some(cid) = next.pop() {
            let node = &self.nodes.0[&cid];
            next.extend(node.subtrees());
            if is_new(&cid) {
                blocks.insert(cid, node.encode().unwrap());
            }
        }
        for (cid, _, bytes) in self.records.values() {
            if is_new(cid) {
                blocks.insert(*cid, bytes.clone());
            }
        }
        car::of_blocks(
            signed.cid,
            blocks.iter().map(|(cid, bytes)| (cid, bytes.as_slice())),
        )
    }
}

/// A digest of one digit.
pub(crate) fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

pub(crate) fn put_manifest(repository: &str, digit: char) -> (String, Option<Value>) {
    let record = ManifestRecord::new(
        repository,
        digest(digit),
        "application/vnd.oci.image.manifest.v1+json",
        Datetime::new(now() - TimeDelta::days(1)),
    );
    let path = format!("io.atcr.manifest/{}", manifest::rkey(&digest(digit)).unwrap());
    (path, Some(record.to_value().unwrap()))
}

pub(crate) fn put_tag(owner: &Did, repository: &str, name: &str, digit: char) -> (String, Option<Value>) {
    let record = TagRecord::new(owner, repository, name, &digest(digit), Datetime::new(now())).unwrap();
    let path = format!("io.atcr.tag/{}", tag::rkey(repository, name).unwrap());
    (path, Some(record.to_value().unwrap()))
}

/// A record of another application.
pub(crate) fn put_post(text: &str) -> (String, Option<Value>) {
    let path = format!("app.bsky.feed.post/{text}");
    (
        path,
        Some(serde_json::json!({ "$type": "app.bsky.feed.post", "text": text })),
    )
}

pub(crate) fn delete(path: &str) -> (String, Option<Value>) {
    (path.to_owned(), None)
}

/// A server with accounts.
#[derive(Clone, Default)]
pub(crate) struct Host(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    accounts: HashMap<Did, Account>,
    listings: usize,
    differences: usize,
    /// Commits that are made when a page is asked for.
    during: Vec<(Did, Writes)>,
    is_down: bool,
    /// Accounts whose server takes requests and never answers.
    without_answer: BTreeSet<Did>,
    /// Accounts of which records were asked for.
    read: watch::Sender<BTreeSet<Did>>,
}

impl Host {
    pub(crate) fn with(dids: &[Did]) -> Self {
        let host = Self::default();
        for did in dids {
            host.lock()
                .accounts
                .insert(did.clone(), Account::new(did.clone()));
        }
        host
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change<T>(&self, did: &Did, change: impl FnOnce(&mut Account) -> T) -> T {
        change(self.lock().accounts.get_mut(did).unwrap())
    }

    pub(crate) fn commit(&self, did: &Did, writes: Writes) -> CommitEvent {
        self.change(did, |account| account.commit(writes))
    }

    /// The same without deletions of what is not there.
    pub(crate) fn commit_existing(&self, did: &Did, writes: Writes) {
        self.change(did, |account| {
            let writes = writes
                .into_iter()
                .filter(|(path, value)| value.is_some() || account.records.contains_key(path))
                .collect();
            account.commit(writes);
        });
    }

    /// Makes a commit while the next page is asked for.
    pub(crate) fn commit_during_listing(&self, did: &Did, writes: Writes) {
        self.lock().during.push((did.clone(), writes));
    }

    pub(crate) fn go_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// Adds an account whose server takes requests and never answers.
    pub(crate) fn add_without_answer(&self, number: u8) -> Did {
        let letter = char::from(b'a' + number);
        let did: Did = format!("did:plc:slow{}", String::from(letter).repeat(20))
            .parse()
            .unwrap();
        let mut state = self.lock();
        state.accounts.insert(did.clone(), Account::new(did.clone()));
        state.without_answer.insert(did.clone());
        did
    }

    /// Accounts of which records were asked for, as they come.
    pub(crate) fn read_accounts(&self) -> watch::Receiver<BTreeSet<Did>> {
        self.lock().read.subscribe()
    }

    /// Pages of records that were asked for.
    pub(crate) fn pages(&self) -> usize {
        self.lock().listings
    }
}

#[async_trait]
impl AccountSource for Host {
    async fn identity(&self, did: &Did) -> Result<IdentityStep, SourceError> {
        let state = self.lock();
        let account = state
            .accounts
            .get(did)
            .ok_or_else(|| SourceError::Unreadable("no such account".to_owned()))?;
        Ok(IdentityStep {
            did: did.clone(),
            handle: account.handle.parse().ok(),
            pds: "https://pds.example".parse().ok(),
            signing_key: Some(account.key.public_key().to_multikey()),
        })
    }

    async fn forget_identity(&self, _did: &Did) {}

    async fn has_records(&self, did: &Did) -> Result<bool, SourceError> {
        let state = self.lock();
        let account = state
            .accounts
            .get(did)
            .ok_or_else(|| SourceError::Unreadable("no such account".to_owned()))?;
        Ok(account.records.keys().any(|path| path.starts_with("io.atcr.")))
    }

    async fn signing_key(&self, did: &Did, _anew: bool) -> Result<Option<PublicKey>, SourceError> {
        Ok(self
            .lock()
            .accounts
            .get(did)
            .map(|account| account.key.public_key()))
    }

    async fn head(&self, did: &Did) -> Result<Head, SourceError> {
        if self.lock().without_answer.contains(did) {
            std::future::pending::<()>().await;
        }
        let state = self.lock();
        if state.is_down {
            return Err(SourceError::Later {
                detail: "down".to_owned(),
                after: None,
            });
        }
        let account = &state.accounts[did];
        Ok(match account.status {
            Some(status) => Head::Inactive(status),
            None => Head::At(account.rev()),
        })
    }

    async fn difference(&self, did: &Did, since: &Tid) -> Result<Option<Bytes>, SourceError> {
        let mut state = self.lock();
        state.differences += 1;
        let account = &state.accounts[did];
        Ok((!account.is_silent).then(|| account.difference(since)))
    }

    async fn page(
        &self,
        did: &Did,
        collection: Collection,
        cursor: Option<&str>,
    ) -> Result<SourcePage, SourceError> {
        let mut state = self.lock();
        state.listings += 1;
        state.read.send_if_modified(|read| read.insert(did.clone()));
        if let Some((did, writes)) = state.during.pop() {
            state.accounts.get_mut(&did).unwrap().commit(writes);
        }
        let prefix = format!("{}/", collection.nsid());
        let from = cursor.map_or(prefix.clone(), |cursor| format!("{prefix}{cursor}\u{0}"));
        let found: Vec<RecordFact> = state.accounts[did]
            .records
            .range(from..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .take(3)
            .map(|(path, (cid, value, _))| {
                let rkey: RecordKey = path[prefix.len()..].parse().unwrap();
                RecordFact::read(did, collection, rkey, *cid, value.clone())
            })
            .collect();
        Ok(SourcePage {
            cursor: (found.len() == 3).then(|| found[2].rkey.to_string()),
            records: found,
            size_bytes: 1_000,
        })
    }
}

/// An index, and what works on it.
pub(crate) struct World {
    pub(crate) store: Arc<SqliteIndex>,
    pub(crate) index: Index,
    pub(crate) scheduler: Scheduler,
    pub(crate) catch_up: CatchUp,
    pub(crate) clock: Arc<atcr_atproto::clock::ManualClock>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(host: &Host) -> Self {
        Self::within(host, Limits::default()).await
    }

    pub(crate) async fn within(host: &Host, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteIndex::open(&folder.path().join("index.db")).await.unwrap());
        let clock = atcr_atproto::clock::ManualClock::at(now());
        let index = Index::of(Arc::clone(&store));
        let catch_up = CatchUp::new(index.clone(), Arc::new(host.clone()), clock.clone(), limits);
        let scheduler = Scheduler::new(index.clone(), catch_up.clone(), clock.clone());
        Self {
            store,
            index,
            scheduler,
            catch_up,
            clock,
            _folder: folder,
        }
    }

    /// All lines of the dump; the totals agree with their rows.
    pub(crate) async fn dump(&self) -> Vec<String> {
        assert_eq!(self.store.recount().await.unwrap(), []);
        let mut lines = Vec::new();
        self.store
            .dump(&mut |line| lines.push(serde_json::to_string(&line).unwrap()))
            .await
            .unwrap();
        lines
    }

    pub(crate) async fn revision(&self, did: &Did) -> Option<Tid> {
        self.store
            .revisions(std::slice::from_ref(did))
            .await
            .unwrap()
            .remove(did)
    }
}
