//! The Merkle search tree: which record a path names, and which blocks say so.
//!
//! Pure: nodes come from a [`NodeSource`], and an operation that needs one it does not have ends in
//! [`MstError::Missing`], has changed nothing, and is repeated once the node was fetched. Edits make new nodes in memory;
//! only [`Tree::finish`] hashes them, so that several edits cost one hash per node that remains.
//!
//! - [`key`]: which layer a key lives on
//! - [`node`]: one node, its bytes
//! - [`tree`]: look-up, edits
//! - [`diff`]: what differs between two trees
//! - [`proof`]: the nodes that prove one key, or let a reader undo an operation on it
//!
//! Not on `atrium_repo::mst::Tree` 0.2: when a split leaves nothing left of the new key inside a subtree, it drops the
//! keys of the parents that are left of it. Random insertions lose keys that way within the first few hundred.
//!
//! # Spec
//! atproto specs "Repository", MST structure.

pub mod diff;
pub mod key;
pub mod node;
pub mod proof;
pub mod tree;

use std::sync::Arc;

use atcr_atproto::syntax::Cid;

pub use diff::{Change, Diff};
pub use node::{Entry, Link, Node};
pub use tree::{Finished, Tree};

/// Where nodes come from.
pub trait NodeSource {
    /// The node named `cid`.
    ///
    /// # Errors
    /// [`MstError::Missing`] if it is not at hand.
    fn node(&self, cid: &Cid) -> Result<Arc<Node>, MstError>;
}

/// Why an operation on a tree did not finish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MstError {
    /// A node is not at hand. Fetch it and repeat the operation.
    #[error("the tree node {0} is not at hand")]
    Missing(Cid),
    /// The tree is not a Merkle search tree.
    #[error("malformed tree: {0}")]
    Malformed(&'static str),
}
