//! Every block of a repository, from the root down, in the order of the keys. Memory is flat: what is known of the way
//! ahead is one branch of the tree, and what was fetched ahead.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atcr_atproto::syntax::Cid;
use bytes::Bytes;

use crate::error::RepoError;
use crate::store::{Location, Pin, Store, decode_node};
use atcr_repo::Block;
use atcr_repo::mst::{Link, Node};

/// Blocks fetched at once, and the bytes at which fewer are.
const FETCH_BLOCKS: usize = 256;
const FETCH_BYTES: usize = 512 * 1024;
/// Blocks looked at on the way ahead to find those.
const LOOK_AHEAD: usize = 2048;

/// One block.
#[derive(Debug)]
pub(super) enum Step {
    /// A tree node. `depth` is 0 for the root.
    Node {
        cid: Cid,
        bytes: Bytes,
        node: Arc<Node>,
        depth: usize,
    },
    /// A record.
    Record { path: Arc<str>, cid: Cid, bytes: Bytes },
}

#[derive(Clone, Debug)]
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

/// What was fetched ahead.
#[derive(Debug)]
enum Fetched {
    /// Not wanted, nor anything below it.
    LeftOut,
    Node(Bytes, Arc<Node>),
    Record(Bytes),
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
    fetched: HashMap<Cid, Fetched>,
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
            match (self.fetched.remove(&item.cid()), item) {
                (None, item) => {
                    self.next.push(item);
                    self.fetch().await?;
                }
                (Some(Fetched::LeftOut), _) => {}
                (Some(Fetched::Record(bytes)), Item::Record { path, cid }) => {
                    return Ok(Some(Step::Record { path, cid, bytes }));
                }
                (Some(Fetched::Node(bytes, node)), Item::Node { cid, depth }) => {
                    push_parts(&mut self.next, &node, depth);
                    return Ok(Some(Step::Node {
                        cid,
                        bytes,
                        node,
                        depth,
                    }));
                }
                (Some(_), item) => {
                    return Err(RepoError::corrupt(format!(
                        "block {} is a tree node and a record",
                        item.cid()
                    )));
                }
            }
        }
    }

    /// Fetches the block that comes next, and some that come after it.
    async fn fetch(&mut self) -> Result<(), RepoError> {
        let wanted = self.ahead();
        let cids: Vec<Cid> = wanted.iter().map(Item::cid).collect();
        let found = self.store.index.locate_all(&cids, false).await?;
        let found: HashMap<Cid, Location> = found
            .into_iter()
            .map(|location| (location.cid, location))
            .collect();
        let mut locations = Vec::new();
        let mut items = Vec::new();
        let mut bytes = 0;
        for item in wanted {
            let cid = item.cid();
            let location = *found.get(&cid).ok_or_else(|| {
                RepoError::corrupt(format!("block {cid} of the repository is not in the index"))
            })?;
            if location.seq <= self.known_seq {
                self.fetched.insert(cid, Fetched::LeftOut);
                continue;
            }
            bytes += location.length;
            locations.push(location);
            items.push(item);
            if bytes > FETCH_BYTES {
                break;
            }
        }
        for (item, Block { cid, bytes }) in items.iter().zip(self.store.log.read_blocks(locations).await?) {
            let fetched = match item {
                Item::Record { .. } => Fetched::Record(bytes),
                Item::Node { .. } => {
                    let node = Arc::new(decode_node(&cid, &bytes)?);
                    Fetched::Node(bytes, node)
                }
            };
            self.fetched.insert(cid, fetched);
        }
        Ok(())
    }

    /// Blocks that are not fetched yet, in the order in which they will be needed, as far as that is known.
    fn ahead(&self) -> Vec<Item> {
        let mut wanted = Vec::new();
        let mut seen = HashSet::new();
        let mut below = Vec::new();
        let mut looked_at = 0;
        for item in self.next.iter().rev() {
            below.push(item.clone());
            while let Some(item) = below.pop() {
                looked_at += 1;
                if wanted.len() == FETCH_BLOCKS || looked_at > LOOK_AHEAD {
                    return wanted;
                }
                match (self.fetched.get(&item.cid()), &item) {
                    (Some(Fetched::Node(_, node)), Item::Node { depth, .. }) => {
                        push_parts(&mut below, node, *depth);
                    }
                    (Some(_), _) => {}
                    (None, _) => {
                        if seen.insert(item.cid()) {
                            wanted.push(item);
                        }
                    }
                }
            }
        }
        wanted
    }
}

/// Puts the parts of a node on a stack, the first one last.
fn push_parts(stack: &mut Vec<Item>, node: &Node, depth: usize) {
    let subtree = |link: Option<&Link>| match link {
        Some(Link::Stored(cid)) => Some(Item::Node {
            cid: *cid,
            depth: depth + 1,
        }),
        _ => None,
    };
    for (index, entry) in node.entries.iter().enumerate().rev() {
        stack.extend(subtree(node.gap(index + 1)));
        stack.push(Item::Record {
            path: entry.key.clone(),
            cid: entry.value,
        });
    }
    stack.extend(subtree(node.gap(0)));
}
