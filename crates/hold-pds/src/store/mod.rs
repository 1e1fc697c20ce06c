//! What is on the disk, and how it is found again.
//!
//! - [`block_log`]: the file that is the repository
//! - [`frame`]: one commit in it
//! - [`recovery`]: what a crash left at its end
//! - [`index`]: the SQLite file beside it
//! - [`apply`]: from a commit to rows
//! - [`record_index`], [`hold_index`], [`event_log`]: questions to the rows
//! - [`node_cache`]: tree nodes in memory
//! - [`pins`]: readers that hold on to an older commit
//! - [`lock`]: one process at a time

pub(crate) mod apply;
pub(crate) mod block_log;
pub(crate) mod blocks;
pub(crate) mod event_log;
pub(crate) mod frame;
pub(crate) mod hold_index;
pub(crate) mod index;
pub(crate) mod lock;
pub(crate) mod node_cache;
pub(crate) mod pins;
pub(crate) mod record_index;
pub(crate) mod recovery;

use std::sync::Arc;

use atcr_atproto::syntax::Cid;

use crate::error::RepoError;
use atcr_repo::DataError;
use atcr_repo::mst::Node;

pub(crate) use block_log::BlockLog;
pub(crate) use blocks::Location;
pub(crate) use index::Index;
pub(crate) use node_cache::NodeCache;
pub(crate) use pins::{Pin, Pins};

/// The parts of the disk that readers and the writer share.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) log: BlockLog,
    pub(crate) index: Index,
    pub(crate) nodes: NodeCache,
}

impl Store {
    /// The content of one block of the current repository, or of one that a pin still holds.
    pub(crate) async fn block(&self, cid: Cid) -> Result<bytes::Bytes, RepoError> {
        let location = self.index.locate(&cid).await?;
        let location =
            location.ok_or_else(|| RepoError::corrupt(format!("block {cid} is not in the index")))?;
        let mut blocks = self.log.read_blocks(vec![location]).await?;
        blocks
            .pop()
            .map(|block| block.bytes)
            .ok_or_else(|| RepoError::corrupt(format!("block {cid} was not read")))
    }

    /// A tree node, from memory if it is there.
    pub(crate) async fn node(&self, cid: Cid) -> Result<Arc<Node>, RepoError> {
        if let Some(node) = self.nodes.get(&cid) {
            return Ok(node);
        }
        let bytes = self.block(cid).await?;
        let node = Arc::new(decode_node(&cid, &bytes)?);
        self.nodes.insert(cid, Arc::clone(&node), bytes.len());
        Ok(node)
    }
}

pub(crate) fn decode_node(cid: &Cid, bytes: &[u8]) -> Result<Node, RepoError> {
    Node::decode(bytes).map_err(|error| RepoError::corrupt(format!("tree node {cid}: {error}")))
}

/// A tree operation's failure that fetching more nodes cannot mend.
pub(crate) fn tree_error(error: &DataError) -> RepoError {
    RepoError::corrupt(error.to_string())
}

/// A value that the index should not hold.
pub(crate) fn bad_row(table: &'static str, column: &'static str) -> RepoError {
    RepoError::corrupt(format!("unexpected value in {table}.{column} of the index"))
}

/// SQLite integers are signed.
pub(crate) fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
