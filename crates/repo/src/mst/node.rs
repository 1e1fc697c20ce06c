//! One node of the tree.

use std::sync::Arc;

use atcr_atproto::syntax::Cid;
use serde::Deserialize;

use super::key::{self, MAX_KEY_BYTES};
use crate::encoder::Encoder;
use crate::error::DataError;

/// A subtree: stored, or made by an edit and not hashed yet.
#[derive(Clone, Debug)]
pub enum Link {
    /// A node that has a name.
    Stored(Cid),
    /// A node that has none yet.
    Fresh(Arc<Node>),
}

/// A key with its value, and the subtree between it and the next key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `<collection>/<rkey>`.
    pub key: Arc<str>,
    /// The record.
    pub value: Cid,
    /// Keys greater than this one and smaller than the next, one layer below.
    pub right: Option<Link>,
}

/// A node: keys of one layer, and the subtrees around them. *Gap* `i` is the subtree before entry `i`; the last gap is
/// after the last entry.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Gap 0.
    pub left: Option<Link>,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct WireNode {
    e: Vec<WireEntry>,
    l: Option<Cid>,
}

#[derive(Deserialize)]
struct WireEntry {
    #[serde(with = "serde_bytes")]
    k: Vec<u8>,
    p: usize,
    t: Option<Cid>,
    v: Cid,
}

impl Node {
    /// Reads a node.
    ///
    /// # Errors
    /// [`DataError::Malformed`] for bytes that are no node, and for keys that do not grow, do not share the prefix they
    /// say or are longer than [`MAX_KEY_BYTES`]. Layers are not checked here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DataError> {
        let wire: WireNode = serde_ipld_dagcbor::from_slice(bytes)
            .map_err(|_| DataError::Malformed("a node does not parse"))?;
        let mut entries: Vec<Entry> = Vec::with_capacity(wire.e.len());
        for entry in wire.e {
            let previous = entries.last().map_or("", |entry| &*entry.key);
            let prefix = previous
                .as_bytes()
                .get(..entry.p)
                .ok_or(DataError::Malformed("a prefix is too long"))?;
            if entry.p + entry.k.len() > MAX_KEY_BYTES {
                return Err(DataError::Malformed("a key is too long"));
            }
            let text = String::from_utf8([prefix, &entry.k].concat())
                .map_err(|_| DataError::Malformed("a key is not text"))?;
            if key::common_prefix(previous.as_bytes(), text.as_bytes()) != entry.p {
                return Err(DataError::Malformed("a prefix is too short"));
            }
            if !entries.is_empty() && *previous >= *text {
                return Err(DataError::Malformed("keys are out of order"));
            }
            entries.push(Entry {
                key: text.into(),
                value: entry.v,
                right: entry.t.map(Link::Stored),
            });
        }
        Ok(Self {
            left: wire.l.map(Link::Stored),
            entries,
        })
    }

    /// The node's bytes, written one after the other: a serializer sorts the fields of each map first, which took half of the time of a
    /// commit.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if a subtree has no name yet.
    pub fn encode(&self) -> Result<Vec<u8>, DataError> {
        let mut out = Encoder::with_capacity(64 + self.entries.len() * 160);
        out.map(2);
        out.text("e");
        out.array(self.entries.len());
        let mut previous: &[u8] = &[];
        for entry in &self.entries {
            let key = entry.key.as_bytes();
            let prefix = key::common_prefix(previous, key);
            out.map(4);
            out.text("k");
            out.bytes(key.get(prefix..).unwrap_or_default());
            out.text("p");
            out.number(prefix as u64);
            out.text("t");
            out.link_or_null(stored(entry.right.as_ref())?.as_ref());
            out.text("v");
            out.link(&entry.value);
            previous = key;
        }
        out.text("l");
        out.link_or_null(stored(self.left.as_ref())?.as_ref());
        Ok(out.finish())
    }

    /// Whether there is neither key nor subtree.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_none() && self.entries.is_empty()
    }

    /// The index of `key`, or the gap where it belongs.
    pub(super) fn find(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.key).cmp(key))
    }

    /// The subtree in gap `index`.
    #[must_use]
    pub fn gap(&self, index: usize) -> Option<&Link> {
        match index.checked_sub(1) {
            None => self.left.as_ref(),
            Some(before) => self.entries.get(before)?.right.as_ref(),
        }
    }

    pub(super) fn set_gap(&mut self, index: usize, link: Option<Link>) {
        match index.checked_sub(1) {
            None => self.left = link,
            Some(before) => {
                if let Some(entry) = self.entries.get_mut(before) {
                    entry.right = link;
                }
            }
        }
    }

    /// Names of the stored subtrees, in order.
    pub fn subtrees(&self) -> impl Iterator<Item = Cid> {
        let links = self
            .left
            .iter()
            .chain(self.entries.iter().filter_map(|entry| entry.right.as_ref()));
        links.filter_map(|link| match link {
            Link::Stored(cid) => Some(*cid),
            Link::Fresh(_) => None,
        })
    }
}

fn stored(link: Option<&Link>) -> Result<Option<Cid>, DataError> {
    match link {
        None => Ok(None),
        Some(Link::Stored(cid)) => Ok(Some(*cid)),
        Some(Link::Fresh(_)) => Err(DataError::Malformed("a subtree has no name yet")),
    }
}

#[cfg(test)]
mod tests {
    use atcr_atproto::data_model::{DAG_CBOR, cid_of};
    use ipld_core::ipld::Ipld;

    use super::*;

    /// Keys with the prefixes that their lengths say.
    fn node(keys: impl IntoIterator<Item = String>, left: bool, right: bool) -> Node {
        let cid = |text: &str| cid_of(DAG_CBOR, text.as_bytes());
        let entry = |key: String| Entry {
            value: cid(&key),
            right: right.then(|| Link::Stored(cid("right"))),
            key: key.into(),
        };
        Node {
            left: left.then(|| Link::Stored(cid("left"))),
            entries: keys.into_iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_node_has_the_bytes_that_a_serializer_would_give_it() {
        let numbered = |count: usize| (0..count).map(|number| format!("a/{number:05}"));
        let growing = |step: usize| (1..8).map(move |count| format!("a/{}", "x".repeat(count * step)));
        let nodes = [
            Node::default(),
            node(numbered(1), true, false),
            node(numbered(23), false, true),
            node(numbered(24), true, true),
            node(numbered(300), true, true),
            node(growing(3), false, false),
            node(growing(23), true, false),
            node(growing(140), false, true),
        ];
        for node in nodes {
            let bytes = node.encode().unwrap();
            let value: Ipld = serde_ipld_dagcbor::from_slice(&bytes).unwrap();
            assert_eq!(serde_ipld_dagcbor::to_vec(&value).unwrap(), bytes);
            let read = Node::decode(&bytes).unwrap();
            assert_eq!(read.entries.len(), node.entries.len());
            assert!(
                read.entries
                    .iter()
                    .zip(&node.entries)
                    .all(|(read, entry)| read.key == entry.key
                        && read.value == entry.value
                        && stored(read.right.as_ref()).unwrap() == stored(entry.right.as_ref()).unwrap())
            );
            assert_eq!(read.encode().unwrap(), bytes);
        }
    }
}
