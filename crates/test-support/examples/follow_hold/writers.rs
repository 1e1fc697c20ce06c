//! Writers that make, change and delete records at the hold, and remember what it acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use atcr_atproto::syntax::Cid;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinHandle;

use crate::captain::{Answer, Captain};

/// The collections that a captain may write: members, and records of other projects.
const COLLECTIONS: [&str; 4] = [
    CREW,
    "app.bsky.actor.profile",
    "app.bsky.feed.post",
    "com.example.note",
];
const CREW: &str = "io.atcr.hold.crew";
/// From so many records on, a writer deletes as many as it makes.
const RECORDS_OF_ONE: usize = 2500;
/// As many operations as fit in one commit.
const MAX_OPERATIONS: usize = 200;
/// The pause before the next write after one whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes until it is stopped.
#[derive(Debug)]
pub(crate) struct Writers {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Result<Writer>>>,
}

#[derive(Debug)]
struct Shared {
    captain: Arc<Captain>,
    /// Held by writers for one write, by whom wants none to happen.
    gate: RwLock<()>,
    is_over: AtomicBool,
    commits: AtomicU64,
    operations: AtomicU64,
    unsure: AtomicU64,
}

#[derive(Debug)]
struct Writer {
    number: usize,
    shared: Arc<Shared>,
    random: StdRng,
    made: u64,
    /// What is there, as far as the hold said.
    paths: Vec<String>,
    records: HashMap<String, String>,
    gone: HashSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    Update,
    Delete,
}

/// One operation of a commit.
#[derive(Debug)]
struct Operation {
    kind: Kind,
    path: String,
    value: Value,
}

impl Writers {
    /// Starts `count` of them.
    pub(crate) fn start(captain: &Arc<Captain>, count: usize, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            captain: captain.clone(),
            gate: RwLock::default(),
            is_over: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            unsure: AtomicU64::new(0),
        });
        let writer = |number| Writer {
            number,
            shared: shared.clone(),
            random: StdRng::seed_from_u64(seed + number as u64),
            made: 0,
            paths: Vec::new(),
            records: HashMap::new(),
            gone: HashSet::new(),
        };
        let tasks = (0..count)
            .map(|number| tokio::spawn(writer(number).write()))
            .collect();
        Self { shared, tasks }
    }

    /// Commits that the hold acknowledged.
    pub(crate) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Operations of those commits.
    pub(crate) fn operations(&self) -> u64 {
        self.shared.operations.load(Ordering::Relaxed)
    }

    /// Writes whose outcome is not known, since the hold was stopped or killed meanwhile.
    pub(crate) fn unsure(&self) -> u64 {
        self.shared.unsure.load(Ordering::Relaxed)
    }

    /// Nobody writes while the guard lives.
    pub(crate) async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.shared.gate.write().await
    }

    /// Fails if one of them was refused for good.
    pub(crate) async fn check(&mut self) -> Result<()> {
        if let Some(at) = self.tasks.iter().position(JoinHandle::is_finished) {
            self.tasks.swap_remove(at).await??;
        }
        Ok(())
    }

    /// None of them begins a write any more.
    pub(crate) fn end(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }

    /// Stops them and compares what they were told with what is there; returns how many records they know of.
    pub(crate) async fn finish(self, records: &BTreeMap<String, Cid>) -> Result<usize> {
        let mut known = 0;
        for writer in self.stop().await? {
            for (path, cid) in &writer.records {
                let found = records.get(path).map(Cid::to_string);
                ensure!(
                    found.as_ref() == Some(cid),
                    "{path} is {found:?} where {cid} was acknowledged"
                );
            }
            let back = writer.gone.iter().find(|path| records.contains_key(*path));
            ensure!(
                back.is_none(),
                "{back:?} is there although its deletion was acknowledged"
            );
            known += writer.records.len();
        }
        Ok(known)
    }

    /// Stops them.
    pub(crate) async fn abandon(self) -> Result<()> {
        self.stop().await.map(|_| ())
    }

    async fn stop(self) -> Result<Vec<Writer>> {
        self.end();
        let mut writers = Vec::new();
        for task in self.tasks {
            writers.push(task.await??);
        }
        Ok(writers)
    }
}

impl Writer {
    async fn write(mut self) -> Result<Self> {
        let shared = self.shared.clone();
        loop {
            let gate = shared.gate.read().await;
            if shared.is_over.load(Ordering::Relaxed) {
                break;
            }
            let operations = self.next();
            let outcome = self.send(&operations).await?;
            drop(gate);
            if let Some(cids) = outcome {
                shared.commits.fetch_add(1, Ordering::Relaxed);
                shared
                    .operations
                    .fetch_add(operations.len() as u64, Ordering::Relaxed);
                self.remember(operations, cids)?;
            } else {
                shared.unsure.fetch_add(1, Ordering::Relaxed);
                self.forget(&operations);
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(self)
    }

    /// The operations of the next commit: mostly one, now and then as many as there may be.
    fn next(&mut self) -> Vec<Operation> {
        let count = match self.random.random_range(0..1000) {
            0 => MAX_OPERATIONS,
            1..150 => self.random.random_range(2..=10),
            _ => 1,
        };
        let mut taken = BTreeSet::new();
        (0..count).map(|_| self.operation(&mut taken)).collect()
    }

    /// One operation on a record that is not in `taken`.
    fn operation(&mut self, taken: &mut BTreeSet<String>) -> Operation {
        let deleted = if self.paths.len() > RECORDS_OF_ONE { 35 } else { 15 };
        let kind = match self.random.random_range(0..100) {
            percent if percent < deleted => Kind::Delete,
            percent if percent < 65 => Kind::Update,
            _ => Kind::Create,
        };
        if kind != Kind::Create && !self.paths.is_empty() {
            let path = self.paths[self.random.random_range(0..self.paths.len())].clone();
            if taken.insert(path.clone()) {
                let value = match kind {
                    Kind::Delete => Value::Null,
                    _ => self.value(&path),
                };
                return Operation { kind, path, value };
            }
        }
        self.made += 1;
        let collection = COLLECTIONS[self.random.random_range(0..COLLECTIONS.len())];
        // The beginning is random, so that records come anywhere in the tree.
        let path = format!(
            "{collection}/{:08x}-{}-{}",
            self.random.random::<u32>(),
            self.number,
            self.made
        );
        taken.insert(path.clone());
        let value = self.value(&path);
        Operation {
            kind: Kind::Create,
            path,
            value,
        }
    }

    fn value(&mut self, path: &str) -> Value {
        let text = format!("{:032x}", self.random.random::<u128>());
        let at = "2026-01-01T00:00:00.000Z";
        match path.split_once('/') {
            Some((CREW, rkey)) => {
                let member = data_encoding::BASE32_NOPAD.encode(&Sha256::digest(rkey)[..15]);
                json!({
                    "$type": CREW, "member": format!("did:plc:{}", member.to_lowercase()), "role": "member",
                    "permissions": ["blob:read"], "tier": text, "addedAt": at,
                })
            }
            Some((collection, _)) => json!({ "$type": collection, "text": text, "createdAt": at }),
            None => Value::Null,
        }
    }

    /// The CIDs of the records that were made and changed; `None` if the outcome is not known.
    async fn send(&self, operations: &[Operation]) -> Result<Option<Vec<String>>> {
        let captain = &self.shared.captain;
        let answer = match operations {
            [operation] => {
                let (method, input) = operation.alone()?;
                captain.call(method, input).await?
            }
            operations => {
                let writes = operations.iter().map(Operation::among_others);
                let input = json!({ "writes": writes.collect::<Result<Vec<_>>>()? });
                captain.call("com.atproto.repo.applyWrites", input).await?
            }
        };
        let Answer::Done(output) = answer else {
            return Ok(None);
        };
        let results = output["results"]
            .as_array()
            .map_or(std::slice::from_ref(&output), Vec::as_slice);
        let cids = results.iter().filter_map(|result| result["cid"].as_str());
        Ok(Some(cids.map(str::to_owned).collect()))
    }

    fn remember(&mut self, operations: Vec<Operation>, cids: Vec<String>) -> Result<()> {
        let mut cids = cids.into_iter();
        for operation in operations {
            let path = operation.path;
            if operation.kind == Kind::Delete {
                self.drop_path(&path);
                self.gone.insert(path);
                continue;
            }
            let cid = cids.next().context("an answer without the CID of a record")?;
            if self.records.insert(path.clone(), cid).is_none() {
                self.paths.push(path);
            }
        }
        if cids.next().is_some() {
            bail!("an answer with more records than were written");
        }
        Ok(())
    }

    /// Of a record whose write has an unknown outcome nothing is known any more.
    fn forget(&mut self, operations: &[Operation]) {
        for operation in operations {
            self.drop_path(&operation.path);
        }
    }

    fn drop_path(&mut self, path: &str) {
        if self.records.remove(path).is_some()
            && let Some(at) = self.paths.iter().position(|known| known == path)
        {
            self.paths.swap_remove(at);
        }
    }
}

impl Operation {
    fn place(&self) -> Result<(&str, &str)> {
        self.path.split_once('/').context("a path has a slash")
    }

    /// The call that does it alone.
    fn alone(&self) -> Result<(&'static str, Value)> {
        let (collection, rkey) = self.place()?;
        let mut input = json!({ "collection": collection, "rkey": rkey });
        let method = match self.kind {
            Kind::Create => "com.atproto.repo.createRecord",
            Kind::Update => "com.atproto.repo.putRecord",
            Kind::Delete => "com.atproto.repo.deleteRecord",
        };
        if self.kind != Kind::Delete {
            input["record"] = self.value.clone();
        }
        Ok((method, input))
    }

    /// Its part of `applyWrites`.
    fn among_others(&self) -> Result<Value> {
        let (collection, rkey) = self.place()?;
        let kind = match self.kind {
            Kind::Create => "create",
            Kind::Update => "update",
            Kind::Delete => "delete",
        };
        let mut write = json!({
            "$type": format!("com.atproto.repo.applyWrites#{kind}"), "collection": collection, "rkey": rkey,
        });
        if self.kind != Kind::Delete {
            write["value"] = self.value.clone();
        }
        Ok(write)
    }
}
