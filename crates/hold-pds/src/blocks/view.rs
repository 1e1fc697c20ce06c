//! The repository as of one commit. What a view reads stays readable as long as the view lives.

use std::sync::Arc;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Cid;
use atcr_repo::mst::{Node, NodeSource, Tree};
use atcr_repo::{Block, DataError, car, mst};
use bytes::Bytes;

use super::{BlockKey, Blocks, Located, NodeCache, Source};
use crate::disk;
use crate::error::RepoError;
use crate::head::Head;
use crate::log::read::EntryReader;
use crate::log::{LogId, Position, Segment, read, segment};

/// A commit and all that can be read of it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) head: Head,
    pub(crate) log_id: LogId,
    pub(crate) segments: Arc<Vec<Segment>>,
    /// The end of the log.
    pub(crate) end: Position,
    /// The newest event and its time.
    pub(crate) last: (u64, u64),
    /// The newest event that is not kept any more.
    pub(crate) dropped_seq: u64,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) nodes: Arc<NodeCache>,
    /// Alive as long as somebody may read this commit.
    pub(crate) pin: Arc<()>,
}

impl NodeSource for View {
    type Error = RepoError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, RepoError> {
        if let Some(node) = self.nodes.get(cid) {
            return Ok(node);
        }
        let bytes = self.block(cid)?;
        let node = Arc::new(decode_node(cid, &bytes)?);
        self.nodes.insert(*cid, Arc::clone(&node), bytes.len());
        Ok(node)
    }
}

impl View {
    /// The tree of records.
    pub(crate) fn tree(&self) -> Result<Tree, RepoError> {
        Tree::open(self, self.head.data)
    }

    /// Where a block is.
    pub(crate) fn locate(&self, cid: &Cid) -> Result<Located, RepoError> {
        self.blocks
            .locate(&BlockKey::known(cid)?, &self.segments)?
            .ok_or_else(|| RepoError::corrupt(format!("block {cid} is missing")))
    }

    /// The content of a block.
    pub(crate) fn block(&self, cid: &Cid) -> Result<Bytes, RepoError> {
        Self::read(cid, &self.locate(cid)?)
    }

    /// The content of a block whose place is known, compared with its name.
    pub(crate) fn read(cid: &Cid, place: &Located) -> Result<Bytes, RepoError> {
        let (file, name) = match &place.source {
            Source::Snapshot(snapshot) => (&snapshot.car, snapshot.car_name()),
            Source::Segment(segment) => (&segment.file, segment::name(segment.number)),
        };
        let bytes = disk::read(&**file, place.offset, place.length)
            .map_err(|error| disk::failed_at("read", name.as_ref(), error))?;
        if cid_of(DAG_CBOR, &bytes) != *cid {
            return Err(RepoError::corrupt(format!(
                "block {cid} in {name} does not match its name"
            )));
        }
        Ok(bytes.into())
    }

    /// The CID of a record.
    pub(crate) fn record(&self, path: &str) -> Result<Option<Cid>, RepoError> {
        self.tree()?.get(self, path)
    }

    /// The collections that have records, in order.
    pub(crate) fn collections(&self) -> Result<Vec<String>, RepoError> {
        let tree = self.tree()?;
        let mut collections = Vec::new();
        let mut after = String::new();
        while let Some((path, _)) = mst::range::next_after(&tree, self, &after)? {
            let (collection, _) = path.split_once('/').unwrap_or((&path, ""));
            collections.push(collection.to_owned());
            // `0` comes right after `/`.
            after = format!("{collection}0");
        }
        Ok(collections)
    }

    /// Those of the blocks that the repository has now.
    pub(crate) fn live_blocks(&self, cids: &[Cid]) -> Result<Vec<Block>, RepoError> {
        let mut blocks = Vec::new();
        for cid in cids {
            if let Some(key) = BlockKey::of(cid)
                && self.blocks.is_live(&key)?
            {
                blocks.push(Block {
                    cid: *cid,
                    bytes: self.block(cid)?,
                });
            }
        }
        Ok(blocks)
    }

    /// A CAR that proves what the record of that path is, or that there is none.
    pub(crate) fn proof(&self, path: &str) -> Result<Bytes, RepoError> {
        let tree = self.tree()?;
        let mut cids = vec![self.head.commit];
        let nodes = mst::proof::path(&tree, self, path)?;
        if nodes.is_empty() {
            // The tree without keys.
            cids.push(self.head.data);
        }
        cids.extend(nodes);
        cids.extend(tree.get(self, path)?);
        let mut blocks = Vec::with_capacity(cids.len());
        for cid in cids {
            blocks.push((cid, self.block(&cid)?));
        }
        let parts = blocks.iter().map(|(cid, bytes)| (cid, &**bytes));
        Ok(car::of_blocks(self.head.commit, parts))
    }

    /// Reads events from a position on.
    pub(crate) fn reader(&self, from: Position) -> EntryReader {
        EntryReader::new(Arc::clone(&self.segments), self.log_id, from, self.end)
    }

    /// Where to begin reading for the events after `seq`.
    pub(crate) fn seek(&self, seq: u64) -> Position {
        read::seek(&self.segments, seq)
    }
}

/// A tree node from its bytes.
pub(crate) fn decode_node(cid: &Cid, bytes: &[u8]) -> Result<Node, RepoError> {
    Node::decode(bytes).map_err(|error: DataError| RepoError::corrupt(format!("tree node {cid}: {error}")))
}
