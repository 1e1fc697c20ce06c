//! Look-ups and edits.

use std::sync::Arc;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Cid;

use super::{Entry, Link, Node, NodeSource, key};
use crate::error::DataError;

/// An immutable tree: an edit returns a new tree that shares the unchanged nodes.
#[derive(Clone, Debug)]
pub struct Tree {
    /// `None`: no keys at all.
    root: Option<Link>,
    /// The layer of the root node.
    layer: u8,
}

/// A tree whose nodes all have names.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The root node.
    pub root: Cid,
    /// The nodes that had no name before, children first.
    pub nodes: Vec<FreshNode>,
}

/// A node that an edit made, and what it became.
#[derive(Clone, Debug)]
pub struct FreshNode {
    /// Its name.
    pub cid: Cid,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The node, with names for all its subtrees.
    pub node: Arc<Node>,
}

impl Tree {
    /// The tree without keys.
    #[must_use]
    pub const fn empty() -> Self {
        Self { root: None, layer: 0 }
    }

    /// The tree whose root node is named `root`.
    ///
    /// # Errors
    /// The source's; [`DataError::Malformed`] for what is no tree.
    pub fn open<S: NodeSource>(source: &S, root: Cid) -> Result<Self, S::Error> {
        let node = source.node(&root)?;
        match node.entries.first() {
            Some(entry) => Ok(Self {
                root: Some(Link::Stored(root)),
                layer: key::height(entry.key.as_bytes()),
            }),
            None if node.left.is_none() => Ok(Self::empty()),
            None => Err(DataError::Malformed("the root has no keys").into()),
        }
    }

    pub(super) fn root(&self) -> Option<(&Link, u8)> {
        self.root.as_ref().map(|link| (link, self.layer))
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// The source's; [`DataError::Malformed`] for what is no tree.
    pub fn get<S: NodeSource>(&self, source: &S, key: &str) -> Result<Option<Cid>, S::Error> {
        let mut next = self.root.clone();
        while let Some(link) = next {
            let node = load(source, &link)?;
            match node.find(key) {
                Ok(index) => return Ok(node.entries.get(index).map(|entry| entry.value)),
                Err(gap) => next = node.gap(gap).cloned(),
            }
        }
        Ok(None)
    }

    /// The tree with `value` for `key`, which may be new.
    ///
    /// # Errors
    /// The source's; [`DataError::Malformed`] for what is no tree.
    pub fn put<S: NodeSource>(&self, source: &S, key: &str, value: Cid) -> Result<Self, S::Error> {
        let height = key::height(key.as_bytes());
        let entry = Entry {
            key: key.into(),
            value,
            right: None,
        };
        let Some(root) = &self.root else {
            return Ok(Self {
                root: Some(single(entry)),
                layer: height,
            });
        };
        if height <= self.layer {
            let root = put_below(source, Some(root), self.layer, height, entry)?;
            return Ok(Self {
                root: Some(root),
                layer: self.layer,
            });
        }
        let (left, right) = split(source, Some(root), self.layer, key)?;
        let node = Node {
            left: lift(left, height - 1 - self.layer),
            entries: vec![Entry {
                right: lift(right, height - 1 - self.layer),
                ..entry
            }],
        };
        Ok(Self {
            root: Some(Link::Fresh(Arc::new(node))),
            layer: height,
        })
    }

    /// The tree without `key`, which need not be there.
    ///
    /// # Errors
    /// The source's; [`DataError::Malformed`] for what is no tree.
    pub fn remove<S: NodeSource>(&self, source: &S, key: &str) -> Result<Self, S::Error> {
        let height = key::height(key.as_bytes());
        let Some(root) = &self.root else {
            return Ok(self.clone());
        };
        if height > self.layer {
            return Ok(self.clone());
        }
        let mut layer = self.layer;
        let mut root = remove_below(source, root, layer, height, key)?;
        // A root without keys of its own gives way to its only subtree.
        while let Some(link) = &root {
            let node = load(source, link)?;
            if !node.entries.is_empty() {
                break;
            }
            root = node.gap(0).cloned();
            layer = layer.saturating_sub(1);
        }
        Ok(Self { root, layer })
    }

    /// Names all nodes.
    ///
    /// # Errors
    /// [`DataError::Malformed`], never for a tree that edits have made.
    pub fn finish(&self) -> Result<Finished, DataError> {
        let mut nodes = Vec::new();
        let root = match &self.root {
            Some(link) => name(link, &mut nodes)?,
            None => name(&Link::Fresh(Arc::default()), &mut nodes)?,
        };
        Ok(Finished { root, nodes })
    }
}

pub(super) fn load<S: NodeSource>(source: &S, link: &Link) -> Result<Arc<Node>, S::Error> {
    match link {
        Link::Stored(cid) => source.node(cid),
        Link::Fresh(node) => Ok(Arc::clone(node)),
    }
}

pub(super) fn below(layer: u8) -> Result<u8, DataError> {
    layer
        .checked_sub(1)
        .ok_or(DataError::Malformed("a node below layer 0"))
}

fn single(entry: Entry) -> Link {
    Link::Fresh(Arc::new(Node {
        left: None,
        entries: vec![entry],
    }))
}

/// `link` under `layers` nodes without keys.
fn lift(link: Option<Link>, layers: u8) -> Option<Link> {
    let mut link = link?;
    for _ in 0..layers {
        link = Link::Fresh(Arc::new(Node {
            left: Some(link),
            entries: Vec::new(),
        }));
    }
    Some(link)
}

fn put_below<S: NodeSource>(
    source: &S,
    link: Option<&Link>,
    layer: u8,
    height: u8,
    entry: Entry,
) -> Result<Link, S::Error> {
    let Some(link) = link else {
        let lifted = lift(Some(single(entry)), layer - height);
        return Ok(lifted.ok_or(DataError::Malformed("a subtree vanished"))?);
    };
    let mut node = (*load(source, link)?).clone();
    match node.find(&entry.key) {
        Ok(index) => {
            if let Some(existing) = node.entries.get_mut(index) {
                existing.value = entry.value;
            }
        }
        Err(gap) if height < layer => {
            let child = put_below(source, node.gap(gap), below(layer)?, height, entry)?;
            node.set_gap(gap, Some(child));
        }
        Err(gap) => {
            let (left, right) = match node.gap(gap) {
                None => (None, None),
                some => split(source, some, below(layer)?, &entry.key)?,
            };
            node.set_gap(gap, left);
            node.entries.insert(gap, Entry { right, ..entry });
        }
    }
    Ok(Link::Fresh(Arc::new(node)))
}

/// The part of a subtree before `key` and the part after it. A side that keeps everything stays as it is.
fn split<S: NodeSource>(
    source: &S,
    link: Option<&Link>,
    layer: u8,
    key: &str,
) -> Result<(Option<Link>, Option<Link>), S::Error> {
    let Some(link) = link else {
        return Ok((None, None));
    };
    let node = load(source, link)?;
    let Err(gap) = node.find(key) else {
        return Err(DataError::Malformed("a key on the wrong layer").into());
    };
    let (left_child, right_child) = match node.gap(gap) {
        None => (None, None),
        some => split(source, some, below(layer)?, key)?,
    };
    if gap == 0 && left_child.is_none() {
        return Ok((None, Some(link.clone())));
    }
    if gap == node.entries.len() && right_child.is_none() {
        return Ok((Some(link.clone()), None));
    }
    let mut left = Node {
        left: node.left.clone(),
        entries: node.entries[..gap].to_vec(),
    };
    left.set_gap(gap, left_child);
    let right = Node {
        left: right_child,
        entries: node.entries[gap..].to_vec(),
    };
    Ok((nonempty(left), nonempty(right)))
}

fn nonempty(node: Node) -> Option<Link> {
    (!node.is_empty()).then(|| Link::Fresh(Arc::new(node)))
}

fn remove_below<S: NodeSource>(
    source: &S,
    link: &Link,
    layer: u8,
    height: u8,
    key: &str,
) -> Result<Option<Link>, S::Error> {
    let found = load(source, link)?;
    match found.find(key) {
        Ok(index) => {
            let mut node = (*found).clone();
            let merged = merge(source, node.gap(index), node.gap(index + 1), layer)?;
            node.entries.remove(index);
            node.set_gap(index, merged);
            Ok(nonempty(node))
        }
        Err(gap) => {
            let Some(child) = found.gap(gap).filter(|_| height < layer) else {
                return Ok(Some(link.clone()));
            };
            let child = remove_below(source, child, below(layer)?, height, key)?;
            let mut node = (*found).clone();
            node.set_gap(gap, child);
            Ok(nonempty(node))
        }
    }
}

/// Two neighbouring subtrees of a node on `layer` as one.
fn merge<S: NodeSource>(
    source: &S,
    left: Option<&Link>,
    right: Option<&Link>,
    layer: u8,
) -> Result<Option<Link>, S::Error> {
    let (left, right) = match (left, right) {
        (None, one) | (one, None) => return Ok(one.cloned()),
        (Some(left), Some(right)) => (left, right),
    };
    let layer = below(layer)?;
    let mut node = (*load(source, left)?).clone();
    let right = load(source, right)?;
    let last = node.entries.len();
    let merged = merge(source, node.gap(last), right.left.as_ref(), layer)?;
    node.set_gap(last, merged);
    node.entries.extend(right.entries.iter().cloned());
    Ok(nonempty(node))
}

fn name(link: &Link, nodes: &mut Vec<FreshNode>) -> Result<Cid, DataError> {
    let fresh = match link {
        Link::Stored(cid) => return Ok(*cid),
        Link::Fresh(node) => node,
    };
    let mut node = (**fresh).clone();
    for link in node
        .left
        .iter_mut()
        .chain(node.entries.iter_mut().filter_map(|entry| entry.right.as_mut()))
    {
        *link = Link::Stored(name(link, nodes)?);
    }
    let bytes = node.encode()?;
    let cid = cid_of(DAG_CBOR, &bytes);
    nodes.push(FreshNode {
        cid,
        bytes,
        node: Arc::new(node),
    });
    Ok(cid)
}
