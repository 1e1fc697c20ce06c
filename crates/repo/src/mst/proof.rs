//! Which nodes prove something.

use std::collections::BTreeSet;

use atcr_atproto::syntax::Cid;

use super::tree::load;
use super::{Link, NodeSource, Tree};

/// The nodes on the way to `key`, or to where it would be: they prove that it exists, or that it does not. From the root
/// down.
///
/// # Errors
/// The source's; [`Malformed`](crate::DataError::Malformed) for what is no tree.
pub fn path<S: NodeSource>(tree: &Tree, source: &S, key: &str) -> Result<Vec<Cid>, S::Error> {
    let mut nodes = Vec::new();
    walk(tree, source, key, &mut |cid| nodes.push(cid))?;
    Ok(nodes)
}

/// Adds to `nodes` what a reader of `tree` needs to undo an operation on `key`: the nodes on the way to it, and to its
/// neighbours on both sides. This suffices for any order in which the operations of a commit are undone.
///
/// # Errors
/// The source's; [`Malformed`](crate::DataError::Malformed) for what is no tree.
///
/// # Spec
/// atproto specs "Sync", MST operation inversion.
pub fn covering<S: NodeSource>(
    tree: &Tree,
    source: &S,
    key: &str,
    nodes: &mut BTreeSet<Cid>,
) -> Result<(), S::Error> {
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

/// The subtrees before and after a key.
type Around = (Option<Link>, Option<Link>);

/// Goes down to `key`; `None` if it is not there.
fn walk<S: NodeSource>(
    tree: &Tree,
    source: &S,
    key: &str,
    visit: &mut impl FnMut(Cid),
) -> Result<Option<Around>, S::Error> {
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
