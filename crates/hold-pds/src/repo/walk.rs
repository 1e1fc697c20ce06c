//! Every block of a repository, from the root down, in the order of the keys. Memory is flat: what is known of the way
//! ahead is one branch of the tree.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atcr_atproto::syntax::Cid;
use bytes::Bytes;

use crate::error::RepoError;
use crate::mst::{Link, Node};
use crate::repo::StoredBlock;
use crate::store::{Location, Pin, Store, decode_node};

/// Blocks fetched at once, and the bytes at which fewer are.
const FETCH_BLOCKS: usize = 64;
const FETCH_BYTES: usize = 512 * 1024;

/// One block.
#[derive(Debug)]
pub(super) enum Step {
    /// A tree node. `depth` is 0 for the root.
    Node {
        cid: Cid,
        bytes: Bytes,
        node: Node,
        depth: usize,
    },
    /// A record.
    Record { path: Arc<str>, cid: Cid, bytes: Bytes },
}

#[derive(Debug)]
enum Item {
    Node { cid: Cid, depth: usize },
    Record { path: Arc<str>, cid: Cid },
}

impl Item {
    fn cid(&self) -> Cid {
        match self {
            Self::Node { cid, .. } | Self::Record { cid, .. } => *cid,
        }
    }
}

/// A walk over the repository as it was when it began.
#[derive(Debug)]
pub(super) struct Walk {
    store: Arc<Store>,
    /// Keeps the blocks within reach.
    _pin: Pin,
    /// Blocks that came in with this commit or before are left out, with everything below them.
    known_seq: u64,
    /// What comes next is last.
    next: Vec<Item>,
    /// Fetched ahead. `None`: left out.
    fetched: HashMap<Cid, Option<Bytes>>,
}

impl Walk {
    /// Over the blocks that came in after the commit `known_seq`; 0 for all.
    pub(super) fn new(store: Arc<Store>, pin: Pin, known_seq: u64) -> Self {
        let root = Item::Node {
            cid: pin.head().data,
            depth: 0,
        };
        Self {
            store,
            _pin: pin,
            known_seq,
            next: vec![root],
            fetched: HashMap::new(),
        }
    }

    /// The next block; `None` at the end.
    pub(super) async fn step(&mut self) -> Result<Option<Step>, RepoError> {
        loop {
            let Some(item) = self.next.pop() else {
                return Ok(None);
            };
            let cid = item.cid();
            let Some(fetched) = self.fetched.remove(&cid) else {
                self.next.push(item);
                self.fetch().await?;
                continue;
            };
            let Some(bytes) = fetched else {
                continue;
            };
            return match item {
                Item::Record { path, cid } => Ok(Some(Step::Record { path, cid, bytes })),
                Item::Node { cid, depth } => {
                    let node = decode_node(&cid, &bytes)?;
                    self.expand(&node, depth);
                    Ok(Some(Step::Node {
                        cid,
                        bytes,
                        node,
                        depth,
                    }))
                }
            };
        }
    }

    fn expand(&mut self, node: &Node, depth: usize) {
        let subtree = |link: Option<&Link>| match link {
            Some(Link::Stored(cid)) => Some(Item::Node {
                cid: *cid,
                depth: depth + 1,
            }),
            _ => None,
        };
        for (index, entry) in node.entries.iter().enumerate().rev() {
            self.next.extend(subtree(node.gap(index + 1)));
            self.next.push(Item::Record {
                path: entry.key.clone(),
                cid: entry.value,
            });
        }
        self.next.extend(subtree(node.gap(0)));
    }

    /// Fetches the block that comes next, and some behind it.
    async fn fetch(&mut self) -> Result<(), RepoError> {
        let mut wanted = Vec::new();
        let mut seen = HashSet::new();
        for cid in self.next.iter().rev().map(Item::cid) {
            if !self.fetched.contains_key(&cid) && seen.insert(cid) {
                wanted.push(cid);
            }
            if wanted.len() == FETCH_BLOCKS {
                break;
            }
        }
        let found = self.store.index.locate_all(&wanted, false).await?;
        let found: HashMap<Cid, Location> = found
            .into_iter()
            .map(|location| (location.cid, location))
            .collect();
        let mut locations = Vec::new();
        let mut bytes = 0;
        for cid in wanted {
            let location = *found.get(&cid).ok_or_else(|| {
                RepoError::corrupt(format!("block {cid} of the repository is not in the index"))
            })?;
            if location.seq <= self.known_seq {
                self.fetched.insert(cid, None);
                continue;
            }
            bytes += location.length;
            locations.push(location);
            if bytes > FETCH_BYTES {
                break;
            }
        }
        for StoredBlock { cid, bytes } in self.store.log.read_blocks(locations).await? {
            self.fetched.insert(cid, Some(bytes));
        }
        Ok(())
    }
}
