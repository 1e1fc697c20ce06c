//! The tree nodes of one batch: all that were read and all that were made, even if the cache drops them meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use atcr_atproto::syntax::Cid;
use atcr_repo::mst::{FreshNode, Node, NodeSource};

use crate::blocks::{NodeCache, View};
use crate::error::RepoError;

#[derive(Debug)]
pub(crate) struct Workspace {
    view: View,
    nodes: RefCell<HashMap<Cid, Arc<Node>>>,
    /// Names and encoded lengths of the nodes that this batch made.
    made: Vec<(Cid, usize)>,
}

impl NodeSource for Workspace {
    type Error = RepoError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, RepoError> {
        if let Some(node) = self.nodes.borrow().get(cid) {
            return Ok(Arc::clone(node));
        }
        let node = self.view.node(cid)?;
        self.nodes.borrow_mut().insert(*cid, Arc::clone(&node));
        Ok(node)
    }
}

impl Workspace {
    pub(crate) fn new(view: View) -> Self {
        Self {
            view,
            nodes: RefCell::default(),
            made: Vec::new(),
        }
    }

    /// Adds nodes that now have names.
    pub(crate) fn add(&mut self, nodes: &[FreshNode]) {
        for fresh in nodes {
            self.nodes.get_mut().insert(fresh.cid, Arc::clone(&fresh.node));
            self.made.push((fresh.cid, fresh.bytes.len()));
        }
    }

    /// Puts what the batch made into the cache, now that it is stored.
    pub(crate) fn keep(self, cache: &NodeCache) {
        let nodes = self.nodes.into_inner();
        for (cid, encoded_len) in self.made {
            if let Some(node) = nodes.get(&cid) {
                cache.insert(cid, Arc::clone(node), encoded_len);
            }
        }
    }
}
