//! Makes a signed commit with all its blocks from an edited tree, as the event that announces it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::SigningKey;
use atcr_atproto::syntax::{Cid, Did};
use atcr_repo::firehose::{AccountEvent, CommitEvent, IdentityEvent, RecordOp, SyncEvent};
use atcr_repo::mst::{self, Change, NodeSource as _, Tree, proof};
use atcr_repo::{Block, car, commit};
use bytes::Bytes;

use super::sequence::next_seq;
use super::workspace::Workspace;
use crate::blocks::BlockKey;
use crate::error::RepoError;
use crate::head::{Head, rev_number};
use crate::log::{Aux, BlockChange, Kind, PendingEntry};
use crate::writer::limits::MAX_COMMIT_CAR_BYTES;

/// Signs, numbers and dates events.
#[derive(Debug)]
pub(crate) struct CommitBuilder {
    pub(crate) did: Did,
    pub(crate) handle: Option<String>,
    pub(crate) signing_key: SigningKey,
    pub(crate) tids: Arc<TidClock>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a commit will say.
#[derive(Debug)]
pub(crate) struct Content {
    data: Cid,
    changes: Vec<Change>,
    /// New tree nodes and records.
    blocks: Vec<Block>,
    /// Older nodes that a reader needs to undo the operations.
    covering: Vec<Block>,
    created: BTreeSet<Cid>,
    removed: BTreeSet<Cid>,
}

/// A commit and its event.
#[derive(Debug)]
pub(crate) struct BuiltCommit {
    pub(crate) block: Block,
    pub(crate) entry: PendingEntry,
}

impl Content {
    /// The repository without records.
    pub(crate) fn empty() -> Result<Self, RepoError> {
        let finished = Tree::empty().finish()?;
        let block = |node: mst::FreshNode| Block {
            cid: node.cid,
            bytes: node.bytes.into(),
        };
        Ok(Self {
            data: finished.root,
            changes: Vec::new(),
            blocks: finished.nodes.into_iter().map(block).collect(),
            covering: Vec::new(),
            created: BTreeSet::from([finished.root]),
            removed: BTreeSet::new(),
        })
    }

    /// The same records. `root` is the tree's root node, which readers look for in every commit.
    pub(crate) fn unchanged(head: &Head, root: Bytes) -> Self {
        Self {
            data: head.data,
            changes: Vec::new(),
            blocks: Vec::new(),
            covering: vec![Block {
                cid: head.data,
                bytes: root,
            }],
            created: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }

    /// The changes from the tree of `head` to `tree`; `None` if they are equal. `records` has the new records' content.
    pub(crate) fn of_tree(
        workspace: &mut Workspace,
        head: &Head,
        tree: &Tree,
        records: &HashMap<Cid, Bytes>,
    ) -> Result<Option<Self>, RepoError> {
        let mst::Finished { root, nodes } = tree.finish()?;
        if root == head.data {
            return Ok(None);
        }
        workspace.add(&nodes);
        let mut named: HashMap<Cid, Bytes> = nodes
            .into_iter()
            .map(|node| (node.cid, node.bytes.into()))
            .collect();
        let old = Tree::open(workspace, head.data)?;
        let new = Tree::open(workspace, root)?;
        let diff = mst::diff::diff(workspace, &old, &new)?;
        let mut covering = BTreeSet::new();
        for change in &diff.changes {
            proof::covering(&new, workspace, &change.key, &mut covering)?;
        }
        let covering = covering.difference(&diff.created);

        let mut blocks = Vec::with_capacity(diff.created.len() + diff.changes.len());
        for cid in &diff.created {
            blocks.push(match named.remove(cid) {
                Some(bytes) => Block { cid: *cid, bytes },
                None => encode_node(workspace, cid)?,
            });
        }
        for cid in diff
            .changes
            .iter()
            .filter_map(|change| change.new)
            .collect::<BTreeSet<_>>()
        {
            let bytes = records
                .get(&cid)
                .ok_or_else(|| RepoError::corrupt(format!("record {cid} has no content")))?;
            blocks.push(Block {
                cid,
                bytes: bytes.clone(),
            });
        }
        Ok(Some(Self {
            data: root,
            blocks,
            covering: covering
                .map(|cid| encode_node(workspace, cid))
                .collect::<Result<_, _>>()?,
            created: diff.created,
            removed: diff.removed,
            changes: diff.changes,
        }))
    }

    /// The root of the tree.
    pub(crate) fn data(&self) -> Cid {
        self.data
    }

    /// Records that change.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How many more places refer to each block.
    fn references(&self, commit: &Cid, prev: Option<&Head>) -> Result<BTreeMap<BlockKey, i32>, RepoError> {
        let mut references = BTreeMap::new();
        let came = self.created.iter().chain([commit]);
        let came = came.chain(self.changes.iter().filter_map(|change| change.new.as_ref()));
        for cid in came {
            *references.entry(BlockKey::known(cid)?).or_default() += 1;
        }
        let went = self.removed.iter().chain(prev.map(|prev| &prev.commit));
        let went = went.chain(self.changes.iter().filter_map(|change| change.old.as_ref()));
        for cid in went {
            *references.entry(BlockKey::known(cid)?).or_default() -= 1;
        }
        Ok(references)
    }
}

fn encode_node(workspace: &Workspace, cid: &Cid) -> Result<Block, RepoError> {
    let block = Block::of(workspace.node(cid)?.encode()?);
    if block.cid != *cid {
        return Err(RepoError::corrupt(format!(
            "tree node {cid} is not in its canonical form"
        )));
    }
    Ok(block)
}

impl CommitBuilder {
    /// Microseconds since 1970.
    pub(crate) fn now_micros(&self) -> u64 {
        self.clock.now_micros()
    }

    fn entry(&self, kind: Kind, seq: u64, aux: Option<Aux>, frame: Bytes) -> PendingEntry {
        PendingEntry {
            kind,
            seq,
            time: self.now_micros(),
            aux,
            frame,
        }
    }

    /// Signs a commit of `content` after `prev`; `last` is the newest event before and after. `None`, and nothing changed, if
    /// the commit is larger than a firehose may send.
    pub(crate) fn build(
        &self,
        prev: Option<&Head>,
        content: &Content,
        last: &mut u64,
    ) -> Result<Option<(Head, BuiltCommit)>, RepoError> {
        let rev = self.tids.next_tid();
        if prev.is_some_and(|prev| prev.rev >= rev) {
            return Err(RepoError::corrupt(
                "no revision is left that is greater than the newest one",
            ));
        }
        let block = commit::sign(&self.did, &rev, content.data, &self.signing_key)?;
        let mut blocks = Vec::new();
        car::write_header(&mut blocks, block.cid);
        let mut places = HashMap::new();
        for Block { cid, bytes } in [&block].into_iter().chain(&content.blocks) {
            let start = blocks.len();
            let prefix = car::write_block(&mut blocks, cid, bytes);
            places.insert(BlockKey::known(cid)?, (start + prefix, bytes.len()));
        }
        for Block { cid, bytes } in &content.covering {
            car::write_block(&mut blocks, cid, bytes);
        }
        if blocks.len() > MAX_COMMIT_CAR_BYTES {
            return Ok(None);
        }
        let head = Head {
            seq: next_seq(last, self.now_micros()),
            commit: block.cid,
            rev,
            data: content.data,
        };
        let op = |change: &Change| RecordOp {
            path: change.key.to_string(),
            cid: change.new,
            prev: change.old,
        };
        let event = CommitEvent {
            seq: head.seq,
            repo: self.did.clone(),
            time: self.clock.now_datetime(),
            commit: head.commit,
            rev: head.rev.clone(),
            since: prev.map(|prev| prev.rev.clone()),
            prev_data: prev.map(|prev| prev.data),
            ops: content.changes.iter().map(op).collect(),
            blocks: blocks.into(),
        };
        let encoded = event.encode()?;
        let number = |length: usize| {
            u32::try_from(length).map_err(|_| RepoError::corrupt("a commit is too long for the log"))
        };
        let mut changes = Vec::new();
        for (key, references) in content.references(&head.commit, prev)? {
            let (offset, length) = match places.get(&key) {
                Some((offset, length)) => (number(encoded.blocks.start + offset)?, number(*length)?),
                None => (0, 0),
            };
            changes.push(BlockChange {
                key,
                offset,
                length,
                references,
            });
        }
        let aux = Aux {
            commit: head.commit,
            data: head.data,
            rev: rev_number(&head.rev),
            blocks: changes,
        };
        let entry = self.entry(Kind::Commit, head.seq, Some(aux), encoded.frame);
        Ok(Some((head, BuiltCommit { block, entry })))
    }

    /// `#identity`: the DID document may have changed.
    pub(crate) fn identity(&self, last: &mut u64) -> Result<PendingEntry, RepoError> {
        let seq = next_seq(last, self.now_micros());
        let event = IdentityEvent {
            seq,
            did: self.did.clone(),
            time: self.clock.now_datetime(),
            handle: self.handle.clone(),
        };
        Ok(self.entry(Kind::Identity, seq, None, event.encode()?))
    }

    /// `#account`: the repository is served here.
    pub(crate) fn account(&self, last: &mut u64) -> Result<PendingEntry, RepoError> {
        self.account_event(&self.did, None, last)
    }

    /// `#account` of another account that was served here before: it is not any more.
    pub(crate) fn account_ended(&self, did: &Did, last: &mut u64) -> Result<PendingEntry, RepoError> {
        self.account_event(did, Some("deactivated"), last)
    }

    fn account_event(
        &self,
        did: &Did,
        status: Option<&str>,
        last: &mut u64,
    ) -> Result<PendingEntry, RepoError> {
        let seq = next_seq(last, self.now_micros());
        let event = AccountEvent {
            seq,
            did: did.clone(),
            time: self.clock.now_datetime(),
            active: status.is_none(),
            status: status.map(str::to_owned),
        };
        Ok(self.entry(Kind::Account, seq, None, event.encode()?))
    }

    /// `#sync`: the current state, for readers that have lost track.
    pub(crate) fn sync(
        &self,
        head: &Head,
        commit: &Block,
        last: &mut u64,
    ) -> Result<PendingEntry, RepoError> {
        let seq = next_seq(last, self.now_micros());
        let event = SyncEvent {
            seq,
            did: self.did.clone(),
            time: self.clock.now_datetime(),
            rev: head.rev.clone(),
            blocks: car::of_blocks(commit.cid, [(&commit.cid, &*commit.bytes)]),
        };
        Ok(self.entry(Kind::Sync, seq, None, event.encode()?))
    }
}
