//! Which nodes prove something.

use std::collections::BTreeSet;

use atcr_atproto::syntax::Cid;

use super::tree::load;
use super::{Link, MstError, NodeSource, Tree};

/// The nodes on the way to `key`, or to where it would be: they prove that it exists, or that it does not. From the root
/// down.
///
/// # Errors
/// [`MstError`].
pub fn path(tree: &Tree, source: &impl NodeSource, key: &str) -> Result<Vec<Cid>, MstError> {
    let mut nodes = Vec::new();
    walk(tree, source, key, &mut |cid| nodes.push(cid))?;
    Ok(nodes)
}

/// Adds to `nodes` what a reader of `tree` needs to undo an operation on `key`: the nodes on the way to it, and to its
/// neighbours on both sides. Enough in whatever order the operations of a commit are undone.
///
/// # Errors
/// [`MstError`].
///
/// # Spec
/// atproto specs "Sync", MST operation inversion.
pub fn covering(
    tree: &Tree,
    source: &impl NodeSource,
    key: &str,
    nodes: &mut BTreeSet<Cid>,
) -> Result<(), MstError> {
    let Some((before, behind)) = walk(tree, source, key, &mut |cid| {
        nodes.insert(cid);
    })?
    else {
        return Ok(());
    };
    // Undoing the creation of `key` joins these two, along their facing edges.
    let mut next = before;
    while let Some(link) = next {
        record(&link, nodes);
        let node = load(source, &link)?;
        next = node.gap(node.entries.len()).cloned();
    }
    let mut next = behind;
    while let Some(link) = next {
        record(&link, nodes);
        next = load(source, &link)?.gap(0).cloned();
    }
    Ok(())
}

fn record(link: &Link, nodes: &mut BTreeSet<Cid>) {
    if let Link::Stored(cid) = link {
        nodes.insert(*cid);
    }
}

/// The subtrees before and behind a key.
type Around = (Option<Link>, Option<Link>);

/// Goes down to `key`; `None` if it is not there.
fn walk(
    tree: &Tree,
    source: &impl NodeSource,
    key: &str,
    visit: &mut impl FnMut(Cid),
) -> Result<Option<Around>, MstError> {
    let mut next = tree.root().map(|(link, _)| link.clone());
    while let Some(link) = next {
        if let Link::Stored(cid) = &link {
            visit(*cid);
        }
        let node = load(source, &link)?;
        match node.find(key) {
            Ok(index) => return Ok(Some((node.gap(index).cloned(), node.gap(index + 1).cloned()))),
            Err(gap) => next = node.gap(gap).cloned(),
        }
    }
    Ok(None)
}
