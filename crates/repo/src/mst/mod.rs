//! The Merkle search tree: which record a path names, and which blocks say so.
//!
//! Pure: nodes come from a [`NodeSource`]. Edits make new nodes in memory; only [`Tree::finish`] hashes them, so that
//! several edits cost one hash per node that remains.
//!
//! - [`key`]: which layer a key lives on
//! - [`node`]: one node, its bytes
//! - [`tree`]: look-up, edits
//! - [`range`]: keys in order
//! - [`diff`]: what differs between two trees
//! - [`inversion`]: undoing a commit's operations
//! - [`proof`]: the nodes that prove one key, or let a reader undo an operation on it
//!
//! docs/decisions/0002 says why this is not taken from a crate.
//!
//! # Spec
//! atproto specs "Repository", MST structure.

pub mod diff;
pub mod inversion;
pub mod key;
pub mod node;
pub mod proof;
pub mod range;
pub mod tree;

use std::sync::Arc;

use atcr_atproto::syntax::Cid;

pub use diff::{Change, Diff};
pub use key::MAX_KEY_BYTES;
pub use node::{Entry, Link, Node};
pub use tree::{Finished, FreshNode, Tree};

use crate::error::DataError;

/// Where nodes come from.
pub trait NodeSource {
    /// Why a node cannot be read: [`DataError::Missing`] for a source in memory, the disk's error for one on disk.
    type Error: From<DataError>;

    /// The node named `cid`.
    ///
    /// # Errors
    /// The source's.
    fn node(&self, cid: &Cid) -> Result<Arc<Node>, Self::Error>;
}
