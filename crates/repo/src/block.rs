//! A block of a repository.

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Cid;
use bytes::Bytes;

/// A block and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its CID.
    pub cid: Cid,
    /// Its content, DAG-CBOR.
    pub bytes: Bytes,
}

impl Block {
    /// The block that has this content.
    #[must_use]
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            cid: cid_of(DAG_CBOR, &bytes),
            bytes,
        }
    }
}
