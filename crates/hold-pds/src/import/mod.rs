//! Takes the records of exported repositories into a repository that is not open.
//!
//! Every hash, the signature and the account are checked before anything is written. What fits in one commit is one; more
//! becomes a new state at once, which subscribers are told of by a `#sync`.
//!
//! - [`foreign`]: a CAR from elsewhere
//! - [`staging`]: blocks of a tree that is being built

pub(crate) mod foreign;
pub(crate) mod staging;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{AtUri, Cid, Did, Nsid, RecordKey};
use atcr_repo::Block;
use atcr_repo::mst::Tree;
use bytes::Bytes;

use crate::disk::{Disk, RealDisk};
use crate::engine::{Call, Engine, EngineOptions};
use crate::error::RepoError;
use crate::index;
use crate::lock::Lock;
use crate::offload::blocking;
use crate::progress::Progress;
use crate::repo::RepoOptions;
use crate::writer::limits::{MAX_COMMIT_CAR_BYTES, MAX_OPS, MAX_RECORD_BYTES};
use crate::writer::prepare::{Change, PreparedCall, PreparedWrite};
use foreign::Foreign;
use staging::Staging;

/// Records after which the tree's nodes are written.
const RECORDS_AT_ONCE: usize = 5000;

/// What to import, and what it must be.
#[derive(Clone, Debug)]
pub struct Import {
    /// CARs, each a whole repository. Of several records of one path, that of the last file counts.
    pub files: Vec<PathBuf>,
    /// Whose repositories they are; `None` for the account of the one that they go into.
    pub from: Option<Did>,
    /// Keys that may have signed them, beside the one that signs from now on.
    pub signed_by: Vec<PublicKey>,
}

/// What came of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Records in the files.
    pub found: u64,
    /// Those that were not there, or were something else.
    pub changed: u64,
    /// Whether the state was replaced at once (`#sync`) and not by one commit.
    pub is_bulk: bool,
}

/// Writes every record of the files, new or not. Nothing else is changed or deleted. The repository must exist and not be open.
///
/// # Errors
/// [`RepoError::Import`] says what is wrong with a file, and then nothing was written; the errors of
/// [`HoldRepo::open`](crate::HoldRepo::open); the disk's.
pub async fn import(
    options: RepoOptions,
    clock: Arc<dyn Clock>,
    import: Import,
    progress: Progress,
) -> Result<Imported, RepoError> {
    blocking(move || {
        let dir = options.dir.clone();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&dir)?);
        let _lock = Lock::take(&dir)?;
        let tids = Arc::new(TidClock::new(Arc::clone(&clock)));
        let mut engine = Engine::open(Arc::clone(&disk), EngineOptions::of(options, clock, tids))?;
        run(&mut engine, &disk, &import, &progress, || index::remove(&dir))
    })
    .await
}

fn run(
    engine: &mut Engine,
    disk: &Arc<dyn Disk>,
    import: &Import,
    progress: &Progress,
    before_replacing: impl FnOnce() -> Result<(), RepoError>,
) -> Result<Imported, RepoError> {
    let did = import.from.clone().unwrap_or_else(|| engine.did().clone());
    let mut keys = import.signed_by.clone();
    keys.push(engine.public_key());
    let mut files = Vec::new();
    for (number, path) in import.files.iter().enumerate() {
        progress.step("reading", number as u64);
        let foreign = Foreign::open(disk, path, number)?;
        foreign.check(path, &did, &keys)?;
        files.push(foreign);
    }
    let mut found = 0;
    let mut few = Few::default();
    for file in &files {
        each_record(file, |path, cid| {
            found += 1;
            if found % 1000 == 0 {
                progress.step("comparing", found);
            }
            few.add(engine, file, path, cid)
        })?;
    }
    if let Some(call) = few.into_call(engine.did())? {
        let changed = call.writes.len() as u64;
        let mut queue = VecDeque::from([Call {
            prepared: call,
            ticket: (),
        }]);
        let outcome = engine.write_batch(&mut queue);
        match outcome.answers.into_iter().next() {
            Some(((), Ok(_))) => {
                return Ok(Imported {
                    found,
                    changed,
                    is_bulk: false,
                });
            }
            // The tree nodes do not fit.
            Some(((), Err(RepoError::TooManyWrites { .. }))) => {}
            Some(((), Err(error))) => return Err(error),
            None => return Err(RepoError::Closed),
        }
    }
    let mut build = Build::new(engine, disk)?;
    for file in &files {
        each_record(file, |path, cid| {
            let content = || file.content(&cid);
            build.put(path, cid, content, progress)
        })?;
    }
    let changed = build.changed;
    let (staging, data) = build.finish()?;
    progress.step("writing the snapshot", 0);
    before_replacing()?;
    engine.adopt(staging, data)?;
    Ok(Imported {
        found,
        changed,
        is_bulk: true,
    })
}

fn each_record(
    file: &Foreign,
    mut take: impl FnMut(&str, Cid) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let mut after = String::new();
    loop {
        let page = file.records_after(&after)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        (**last).clone_into(&mut after);
        for (path, cid) in page {
            take(&path, cid)?;
        }
    }
}

/// The records that change, as long as they may fit in one commit.
#[derive(Default)]
struct Few {
    changes: BTreeMap<String, (Cid, Bytes)>,
    bytes: usize,
    is_too_much: bool,
}

impl Few {
    fn add(&mut self, engine: &Engine, file: &Foreign, path: &str, cid: Cid) -> Result<(), RepoError> {
        if self.is_too_much {
            return Ok(());
        }
        if engine.view().record(path)? == Some(cid) {
            self.changes.remove(path);
            return Ok(());
        }
        let content = file.content(&cid)?;
        self.bytes += content.len();
        self.changes.insert(path.to_owned(), (cid, content));
        self.is_too_much = self.changes.len() > MAX_OPS || self.bytes > MAX_COMMIT_CAR_BYTES;
        Ok(())
    }

    /// The call that writes them; `None` if they are too many.
    fn into_call(self, did: &Did) -> Result<Option<PreparedCall>, RepoError> {
        if self.is_too_much {
            return Ok(None);
        }
        let mut writes = Vec::with_capacity(self.changes.len());
        for (path, (cid, bytes)) in self.changes {
            let (collection, rkey) = parse_path(&path, bytes.len())?;
            writes.push(PreparedWrite {
                uri: AtUri::record(did, collection.as_str(), &rkey)?,
                path,
                change: Change::Put(Block { cid, bytes }),
            });
        }
        Ok(Some(PreparedCall {
            writes,
            preconditions: Vec::new(),
            record_bytes: self.bytes,
        }))
    }
}

/// A path that this repository may have, of a record that is not too long.
fn parse_path(path: &str, record_bytes: usize) -> Result<(Nsid, RecordKey), RepoError> {
    let (collection, rkey) = path
        .split_once('/')
        .ok_or_else(|| RepoError::corrupt(format!("{path} is no path of a record")))?;
    if record_bytes > MAX_RECORD_BYTES {
        return Err(RepoError::RecordTooLarge {
            size: record_bytes,
            limit: MAX_RECORD_BYTES,
        });
    }
    Ok((collection.parse()?, rkey.parse()?))
}

/// A tree that grows out of the repository's.
pub(crate) struct Build {
    staging: Staging,
    tree: Tree,
    unwritten: usize,
    pub(crate) changed: u64,
}

impl Build {
    pub(crate) fn new(engine: &Engine, disk: &Arc<dyn Disk>) -> Result<Self, RepoError> {
        let view = engine.view().clone();
        let staging = Staging::new(Arc::clone(disk), view.clone())?;
        Ok(Self {
            tree: Tree::open(&staging, view.head.data)?,
            staging,
            unwritten: 0,
            changed: 0,
        })
    }

    /// Writes one record.
    pub(crate) fn put(
        &mut self,
        path: &str,
        cid: Cid,
        content: impl FnOnce() -> Result<Bytes, RepoError>,
        progress: &Progress,
    ) -> Result<(), RepoError> {
        if self.tree.get(&self.staging, path)? == Some(cid) {
            return Ok(());
        }
        let bytes = content()?;
        parse_path(path, bytes.len())?;
        self.staging.put(&Block { cid, bytes })?;
        self.tree = self.tree.put(&self.staging, path, cid)?;
        self.changed += 1;
        self.unwritten += 1;
        if self.unwritten >= RECORDS_AT_ONCE {
            progress.step("building the tree", self.changed);
            self.write_nodes()?;
        }
        Ok(())
    }

    fn write_nodes(&mut self) -> Result<Cid, RepoError> {
        let finished = self.tree.finish()?;
        for fresh in finished.nodes {
            self.staging.put_node(fresh.cid, &fresh.node, fresh.bytes)?;
        }
        self.tree = Tree::open(&self.staging, finished.root)?;
        self.unwritten = 0;
        Ok(finished.root)
    }

    /// The blocks and the tree's root.
    pub(crate) fn finish(mut self) -> Result<(Staging, Cid), RepoError> {
        let root = self.write_nodes()?;
        Ok((self.staging, root))
    }
}
