//! Keys in order, from anywhere in the tree.

use std::sync::Arc;

use atcr_atproto::syntax::Cid;

use super::tree::load;
use super::{Link, Node, NodeSource, Tree};

/// The first key after `after` and its value; `None` at the end.
///
/// # Errors
/// The source's.
pub fn next_after<S: NodeSource>(
    tree: &Tree,
    source: &S,
    after: &str,
) -> Result<Option<(Arc<str>, Cid)>, S::Error> {
    Ok(ascending(tree, source, after, None, 1)?.pop())
}

/// At most `limit` keys after `after`, growing, as long as they begin with `prefix`.
///
/// # Errors
/// The source's.
pub fn ascending<S: NodeSource>(
    tree: &Tree,
    source: &S,
    after: &str,
    prefix: Option<&str>,
    limit: usize,
) -> Result<Vec<(Arc<str>, Cid)>, S::Error> {
    let mut way: Vec<(Arc<Node>, usize)> = Vec::new();
    // Each step of the way is a node and the entry in it that comes next.
    let mut next = tree.root().map(|(link, _)| link.clone());
    while let Some(link) = next {
        let node = load(source, &link)?;
        let gap = match node.find(after) {
            Ok(index) => index + 1,
            Err(gap) => gap,
        };
        next = node.gap(gap).cloned();
        way.push((node, gap));
    }
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((node, index)) = way.pop()
    {
        let Some(entry) = node.entries.get(index) else {
            continue;
        };
        if prefix.is_some_and(|prefix| !entry.key.starts_with(prefix)) {
            break;
        }
        found.push((entry.key.clone(), entry.value));
        let behind = node.gap(index + 1).cloned();
        way.push((node, index + 1));
        descend(source, behind, &mut way, |_| 0)?;
    }
    Ok(found)
}

/// At most `limit` keys before `before`, falling, as long as they begin with `prefix`.
///
/// # Errors
/// The source's.
pub fn descending<S: NodeSource>(
    tree: &Tree,
    source: &S,
    before: &str,
    prefix: Option<&str>,
    limit: usize,
) -> Result<Vec<(Arc<str>, Cid)>, S::Error> {
    let mut way: Vec<(Arc<Node>, usize)> = Vec::new();
    // Each step of the way is a node and how many of its entries are still to come.
    let mut next = tree.root().map(|(link, _)| link.clone());
    while let Some(link) = next {
        let node = load(source, &link)?;
        let gap = match node.find(before) {
            Ok(index) => index,
            Err(gap) => gap,
        };
        next = node.gap(gap).cloned();
        way.push((node, gap));
    }
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((node, left)) = way.pop()
    {
        let Some(entry) = left.checked_sub(1).and_then(|index| node.entries.get(index)) else {
            continue;
        };
        if prefix.is_some_and(|prefix| !entry.key.starts_with(prefix)) {
            break;
        }
        found.push((entry.key.clone(), entry.value));
        let ahead = node.gap(left - 1).cloned();
        way.push((node, left - 1));
        descend(source, ahead, &mut way, |node| node.entries.len())?;
    }
    Ok(found)
}

/// Goes down one edge of a subtree.
fn descend<S: NodeSource>(
    source: &S,
    mut next: Option<Link>,
    way: &mut Vec<(Arc<Node>, usize)>,
    gap_of: impl Fn(&Node) -> usize,
) -> Result<(), S::Error> {
    while let Some(link) = next {
        let node = load(source, &link)?;
        let gap = gap_of(&node);
        next = node.gap(gap).cloned();
        way.push((node, gap));
    }
    Ok(())
}
