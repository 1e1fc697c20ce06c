//! Every block of a repository, from the root down, in the order of the keys. Memory use is bounded by one branch of the
//! tree.

use std::sync::Arc;

use atcr_atproto::syntax::Cid;
use atcr_repo::mst::{Link, Node};
use bytes::Bytes;

use super::view::decode_node;
use super::{BlockKey, Source, View};
use crate::error::RepoError;
use crate::snapshot::CarReader;

/// One block.
#[derive(Debug)]
pub(crate) enum Step {
    /// A tree node. `depth` is 0 for the root.
    Node {
        cid: Cid,
        bytes: Bytes,
        node: Arc<Node>,
        depth: usize,
        rev: u64,
    },
    /// A record.
    Record {
        path: Arc<str>,
        cid: Cid,
        bytes: Bytes,
        rev: u64,
    },
}

#[derive(Clone, Debug)]
enum Item {
    Node { cid: Cid, depth: usize },
    Record { path: Arc<str>, cid: Cid },
}

/// A walk over the repository as of one view.
#[derive(Debug)]
pub(crate) struct Walk {
    view: View,
    /// Blocks that came in with this revision or before are left out, with everything below them.
    known_rev: u64,
    needs_revs: bool,
    /// What comes next is last.
    next: Vec<Item>,
    /// Most blocks stand in the snapshot in the order of the walk.
    car: Option<CarReader>,
}

impl Walk {
    /// Over all blocks. What the steps say of revisions means nothing.
    pub(crate) fn over_all(view: View) -> Self {
        Self {
            needs_revs: false,
            ..Self::new(view, 0)
        }
    }

    /// Over the blocks that came in after the revision `known_rev`; 0 for all.
    pub(crate) fn new(view: View, known_rev: u64) -> Self {
        let root = Item::Node {
            cid: view.head.data,
            depth: 0,
        };
        let car = view.blocks.snapshot.as_ref().map(|snapshot| snapshot.reader());
        Self {
            view,
            known_rev,
            needs_revs: true,
            next: vec![root],
            car,
        }
    }

    /// The content of a block and its revision, unless it is left out.
    fn read(&mut self, cid: &Cid) -> Result<Option<(Bytes, u64)>, RepoError> {
        let key = BlockKey::known(cid)?;
        let place = match self.view.blocks.locate_recent(&key, &self.view.segments) {
            Some(place) => place,
            None => {
                if !self.needs_revs
                    && let Some(car) = &mut self.car
                    && let Some(bytes) = car.read_next(cid)?
                {
                    return Ok(Some((bytes, 0)));
                }
                self.view.locate(cid)?
            }
        };
        if place.rev <= self.known_rev {
            return Ok(None);
        }
        let bytes = match (&place.source, &mut self.car) {
            (Source::Snapshot(_), Some(car)) => car.read(place.offset, place.length, cid)?,
            _ => View::read(cid, &place)?,
        };
        Ok(Some((bytes, place.rev)))
    }

    /// The next block; `None` at the end.
    pub(crate) fn step(&mut self) -> Result<Option<Step>, RepoError> {
        while let Some(item) = self.next.pop() {
            let (Item::Node { cid, .. } | Item::Record { cid, .. }) = &item;
            let Some((bytes, rev)) = self.read(cid)? else {
                continue;
            };
            return Ok(Some(match item {
                Item::Record { path, cid } => Step::Record {
                    path,
                    cid,
                    bytes,
                    rev,
                },
                Item::Node { cid, depth } => {
                    let node = Arc::new(decode_node(&cid, &bytes)?);
                    push_parts(&mut self.next, &node, depth);
                    Step::Node {
                        cid,
                        bytes,
                        node,
                        depth,
                        rev,
                    }
                }
            }));
        }
        Ok(None)
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
