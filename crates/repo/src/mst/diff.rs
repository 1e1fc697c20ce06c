//! What differs between two trees.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use atcr_atproto::syntax::Cid;

use super::tree::{below, load};
use super::{Link, NodeSource, Tree};

/// One key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `<collection>/<rkey>`.
    pub key: Arc<str>,
    /// The value in the old tree.
    pub old: Option<Cid>,
    /// The value in the new tree.
    pub new: Option<Cid>,
}

/// What leads from an old tree to a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the order of the keys, each once.
    pub changes: Vec<Change>,
    /// Nodes that only the new tree has.
    pub created: BTreeSet<Cid>,
    /// Nodes that only the old tree has.
    pub removed: BTreeSet<Cid>,
}

/// Compares two trees whose nodes all have names. Reads only the nodes around the differences.
///
/// # Errors
/// The source's; [`Malformed`](crate::DataError::Malformed) for what is no tree.
pub fn diff<S: NodeSource>(source: &S, old: &Tree, new: &Tree) -> Result<Diff, S::Error> {
    let mut old = Side::new(old);
    let mut new = Side::new(new);
    let mut changes = Vec::new();
    loop {
        match (old.next.last(), new.next.last()) {
            (None, None) => break,
            (Some(Item::Subtree(left, left_layer)), Some(Item::Subtree(right, right_layer))) => {
                if same(left, right) {
                    old.next.pop();
                    new.next.pop();
                    continue;
                }
                let order = left_layer.cmp(right_layer);
                if order != Ordering::Less {
                    old.expand(source)?;
                }
                if order != Ordering::Greater {
                    new.expand(source)?;
                }
            }
            (Some(Item::Subtree(..)), _) => old.expand(source)?,
            (_, Some(Item::Subtree(..))) => new.expand(source)?,
            (Some(Item::Leaf(left, old_value)), Some(Item::Leaf(right, new_value))) => {
                let (key, old_value, new_value) = match left.cmp(right) {
                    Ordering::Less => (left.clone(), Some(*old_value), None),
                    Ordering::Greater => (right.clone(), None, Some(*new_value)),
                    Ordering::Equal => (left.clone(), Some(*old_value), Some(*new_value)),
                };
                push(&mut changes, &mut old, &mut new, key, old_value, new_value);
            }
            (Some(Item::Leaf(key, value)), None) => {
                let (key, value) = (key.clone(), *value);
                push(&mut changes, &mut old, &mut new, key, Some(value), None);
            }
            (None, Some(Item::Leaf(key, value))) => {
                let (key, value) = (key.clone(), *value);
                push(&mut changes, &mut old, &mut new, key, None, Some(value));
            }
        }
    }
    // A node that both trees have in different surroundings was looked at on both sides.
    let created = new.visited.difference(&old.visited).copied().collect();
    let removed = old.visited.difference(&new.visited).copied().collect();
    Ok(Diff {
        changes,
        created,
        removed,
    })
}

fn push(
    changes: &mut Vec<Change>,
    old_side: &mut Side,
    new_side: &mut Side,
    key: Arc<str>,
    old: Option<Cid>,
    new: Option<Cid>,
) {
    if old.is_some() {
        old_side.next.pop();
    }
    if new.is_some() {
        new_side.next.pop();
    }
    if old != new {
        changes.push(Change { key, old, new });
    }
}

fn same(left: &Link, right: &Link) -> bool {
    matches!((left, right), (Link::Stored(left), Link::Stored(right)) if left == right)
}

enum Item {
    Subtree(Link, u8),
    Leaf(Arc<str>, Cid),
}

/// A tree being read in the order of its keys.
struct Side {
    /// What comes next is last.
    next: Vec<Item>,
    visited: BTreeSet<Cid>,
}

impl Side {
    fn new(tree: &Tree) -> Self {
        match tree.root() {
            Some((link, layer)) => Self {
                next: vec![Item::Subtree(link.clone(), layer)],
                visited: BTreeSet::new(),
            },
            // The tree without keys is one node all the same.
            None => Self {
                next: Vec::new(),
                visited: tree.finish().map(|finished| finished.root).into_iter().collect(),
            },
        }
    }

    /// Replaces the next subtree by its contents.
    fn expand<S: NodeSource>(&mut self, source: &S) -> Result<(), S::Error> {
        let Some(Item::Subtree(link, layer)) = self.next.last() else {
            return Ok(());
        };
        let (link, layer) = (link.clone(), *layer);
        let node = load(source, &link)?;
        self.next.pop();
        if let Link::Stored(cid) = link {
            self.visited.insert(cid);
        }
        for (index, entry) in node.entries.iter().enumerate().rev() {
            if let Some(right) = node.gap(index + 1) {
                self.next.push(Item::Subtree(right.clone(), below(layer)?));
            }
            self.next.push(Item::Leaf(entry.key.clone(), entry.value));
        }
        if let Some(left) = &node.left {
            self.next.push(Item::Subtree(left.clone(), below(layer)?));
        }
        Ok(())
    }
}
