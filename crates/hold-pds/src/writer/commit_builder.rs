//! From an edited tree to a signed commit with all its blocks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::SigningKey;
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Did};
use bytes::Bytes;

use super::limits::MAX_COMMIT_CAR_BYTES;
use super::workspace::Workspace;
use crate::error::RepoError;
use crate::head::Head;
use crate::store::frame::{self, CommitMeta, MetaOp};
use crate::store::tree_error;
use atcr_repo::mst::{self, Change, NodeSource as _, Tree, proof};
use atcr_repo::{Block, commit};

/// Length of a CAR's header with one root, rounded up.
const CAR_HEADER_BYTES: usize = 64;

/// Signs, numbers and dates commits.
#[derive(Debug)]
pub(crate) struct CommitBuilder {
    pub(crate) did: Did,
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
    covering: Vec<Block>,
    removed: Vec<Cid>,
}

impl Content {
    /// The repository without records.
    pub(crate) fn empty() -> Result<Self, RepoError> {
        let finished = Tree::empty().finish().map_err(|error| tree_error(&error))?;
        let blocks = finished
            .nodes
            .into_iter()
            .map(|node| Block {
                cid: node.cid,
                bytes: node.bytes.into(),
            })
            .collect();
        Ok(Self {
            data: finished.root,
            changes: Vec::new(),
            blocks,
            covering: Vec::new(),
            removed: Vec::new(),
        })
    }

    /// The same records under a new signature.
    pub(crate) fn unchanged(head: &Head) -> Self {
        Self {
            data: head.data,
            changes: Vec::new(),
            blocks: Vec::new(),
            covering: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// What leads from the tree of `head` to `tree`; `None` if they are equal. `records` has the new records' content.
    pub(crate) async fn of_tree(
        workspace: &mut Workspace,
        head: &Head,
        tree: &Tree,
        records: &HashMap<Cid, Bytes>,
    ) -> Result<Option<Self>, RepoError> {
        let finished = tree.finish().map_err(|error| tree_error(&error))?;
        if finished.root == head.data {
            return Ok(None);
        }
        workspace.add(&finished.nodes);
        let (new, diff) = workspace
            .run(|nodes| {
                let old = Tree::open(nodes, head.data)?;
                let new = Tree::open(nodes, finished.root)?;
                let diff = mst::diff::diff(nodes, &old, &new)?;
                Ok((new, diff))
            })
            .await?;
        let mut covering = BTreeSet::new();
        for change in &diff.changes {
            workspace
                .run(|nodes| proof::covering(&new, nodes, &change.key, &mut covering))
                .await?;
        }
        let covering = covering.difference(&diff.created);

        let mut blocks = encode_nodes(workspace, &diff.created)?;
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
            data: finished.root,
            blocks,
            covering: encode_nodes(workspace, covering)?,
            removed: diff.removed.into_iter().collect(),
            changes: diff.changes,
        }))
    }
}

fn encode_nodes<'a>(
    workspace: &Workspace,
    cids: impl IntoIterator<Item = &'a Cid>,
) -> Result<Vec<Block>, RepoError> {
    let encode = |cid: &Cid| {
        let bytes = workspace
            .node(cid)
            .and_then(|node| node.encode())
            .map_err(|error| tree_error(&error))?;
        if cid_of(DAG_CBOR, &bytes) != *cid {
            return Err(RepoError::corrupt(format!(
                "tree node {cid} is not in its canonical form"
            )));
        }
        Ok(Block {
            cid: *cid,
            bytes: bytes.into(),
        })
    };
    cids.into_iter().map(encode).collect()
}

impl CommitBuilder {
    /// Signs a commit of `content` after `prev` and appends its frame to `batch`, which begins at `batch_start` of the
    /// log. `None`, and nothing appended, if it is larger than a firehose may send.
    pub(crate) fn build(
        &self,
        prev: Option<&Head>,
        content: &Content,
        batch_start: u64,
        batch: &mut Vec<u8>,
    ) -> Result<Option<Head>, RepoError> {
        let rev = self.tids.next_tid();
        if prev.is_some_and(|prev| prev.rev >= rev) {
            return Err(RepoError::corrupt(
                "no revision is left that is greater than the newest one",
            ));
        }
        let commit = commit::sign(&self.did, &rev, content.data, &self.signing_key)?;
        let head = Head {
            seq: prev.map_or(1, |prev| prev.seq + 1),
            commit: commit.cid,
            rev,
            data: content.data,
        };
        let meta = CommitMeta {
            seq: head.seq,
            time: self.clock.now_datetime().to_string(),
            commit: head.commit,
            rev: head.rev.to_string(),
            since: prev.map(|prev| prev.rev.to_string()),
            data: head.data,
            prev_data: prev.map(|prev| prev.data),
            ops: content.changes.iter().map(op).collect(),
            removed: content
                .removed
                .iter()
                .copied()
                .chain(prev.map(|prev| prev.commit))
                .collect(),
        };
        let mut new = frame::encode_blocks(&[commit]);
        new.extend(frame::encode_blocks(&content.blocks));
        let covering = frame::encode_blocks(&content.covering);
        if CAR_HEADER_BYTES + new.len() + covering.len() > MAX_COMMIT_CAR_BYTES {
            return Ok(None);
        }
        Ok(frame::encode(batch, &meta, &new, &covering, batch_start).map(|()| head))
    }
}

fn op(change: &Change) -> MetaOp {
    MetaOp {
        path: change.key.to_string(),
        cid: change.new,
        prev: change.old,
    }
}
