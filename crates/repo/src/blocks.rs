//! The blocks of a CAR, each known to hash to its name.

use std::collections::HashMap;
use std::sync::Arc;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Cid;
use bytes::Bytes;

use crate::car;
use crate::error::DataError;
use crate::mst::{Node, NodeSource};

/// Why a CAR's blocks are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlocksError {
    /// It is longer than the caller takes.
    #[error("the blocks are too long")]
    TooLong,
    /// It is no CAR.
    #[error("the blocks are malformed: {0}")]
    Malformed(&'static str),
    /// A block does not hash to its name.
    #[error("a block does not hash to its name")]
    WrongHash,
}

/// The blocks of a CAR: DAG-CBOR, each under the SHA-256 of its content.
#[derive(Clone, Debug)]
pub struct Blocks(HashMap<Cid, Bytes>);

impl Blocks {
    /// Reads a whole CAR of at most `max` bytes and hashes every block.
    ///
    /// # Errors
    /// [`BlocksError`]
    pub fn read(car: &Bytes, max: usize) -> Result<Self, BlocksError> {
        if car.len() > max {
            return Err(BlocksError::TooLong);
        }
        let mut next = car::header_len(car).ok_or(BlocksError::Malformed("the blocks have no header"))?;
        let mut found = HashMap::new();
        while next < car.len() {
            let section = car::read_block(car, next).ok_or(BlocksError::Malformed("a block is cut"))?;
            next = section.content.end;
            let content = car.slice(section.content);
            if cid_of(DAG_CBOR, &content) != section.cid {
                return Err(BlocksError::WrongHash);
            }
            found.insert(section.cid, content);
        }
        Ok(Self(found))
    }

    /// The content of the block `cid`.
    #[must_use]
    pub fn get(&self, cid: &Cid) -> Option<&Bytes> {
        self.0.get(cid)
    }

    /// The names of all blocks, in no order.
    pub fn names(&self) -> impl Iterator<Item = &Cid> {
        self.0.keys()
    }
}

impl NodeSource for Blocks {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        let bytes = self.0.get(cid).ok_or(DataError::Missing(*cid))?;
        Node::decode(bytes).map(Arc::new)
    }
}
