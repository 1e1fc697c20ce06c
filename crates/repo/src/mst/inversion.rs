//! Undoing the operations of a commit, by which a reader checks that the list of operations is complete.

use atcr_atproto::syntax::Cid;

use super::{Change, NodeSource, Tree};

/// Undoes `changes` on the tree `root`; returns the root of the tree before them. A reader compares it with the commit's
/// `prevData`.
///
/// `source` needs the nodes that a commit carries and no others: see [`super::proof::covering`]. The order of `changes`
/// does not matter.
///
/// # Errors
/// The source's: a commit that lacks a node, or whose tree is malformed.
///
/// # Spec
/// atproto specs "Sync", MST operation inversion.
pub fn invert<'a, S: NodeSource>(
    source: &S,
    root: Cid,
    changes: impl IntoIterator<Item = &'a Change>,
) -> Result<Cid, S::Error> {
    let mut tree = Tree::open(source, root)?;
    for change in changes {
        tree = match change.old {
            Some(old) => tree.put(source, &change.key, old)?,
            None => tree.remove(source, &change.key)?,
        };
    }
    Ok(tree.finish()?.root)
}
