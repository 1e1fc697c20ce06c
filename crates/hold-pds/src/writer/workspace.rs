//! The tree nodes of one batch: all that were looked at, and all that were made, whatever the cache forgets meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use atcr_atproto::syntax::Cid;

use crate::error::RepoError;
use crate::store::{Store, tree_error};
use atcr_repo::DataError;
use atcr_repo::mst::FreshNode;
use atcr_repo::mst::{Node, NodeSource};

#[derive(Debug)]
pub(crate) struct Workspace {
    store: Arc<Store>,
    nodes: RefCell<HashMap<Cid, Arc<Node>>>,
    /// Names and encoded lengths of the nodes that this batch made.
    made: Vec<(Cid, usize)>,
}

impl NodeSource for Workspace {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        if let Some(node) = self.nodes.borrow().get(cid) {
            return Ok(Arc::clone(node));
        }
        let node = self.store.nodes.get(cid).ok_or(DataError::Missing(*cid))?;
        self.nodes.borrow_mut().insert(*cid, Arc::clone(&node));
        Ok(node)
    }
}

impl Workspace {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            nodes: RefCell::default(),
            made: Vec::new(),
        }
    }

    /// Does `work`, which only looks at nodes, as often as it takes to have all of them at hand: once for each node that
    /// is neither here nor in the cache.
    pub(crate) async fn run<T>(
        &mut self,
        mut work: impl FnMut(&Self) -> Result<T, DataError>,
    ) -> Result<T, RepoError> {
        loop {
            match work(self) {
                Ok(result) => return Ok(result),
                Err(DataError::Missing(cid)) => {
                    let node = self.store.node(cid).await?;
                    self.nodes.get_mut().insert(cid, node);
                }
                Err(error) => return Err(tree_error(&error)),
            }
        }
    }

    /// Takes in nodes that have got their names.
    pub(crate) fn add(&mut self, nodes: &[FreshNode]) {
        for fresh in nodes {
            self.nodes.get_mut().insert(fresh.cid, Arc::clone(&fresh.node));
            self.made.push((fresh.cid, fresh.bytes.len()));
        }
    }

    /// Puts what the batch made into the cache, now that it is stored.
    pub(crate) fn keep(self) {
        let nodes = self.nodes.into_inner();
        for (cid, encoded_len) in self.made {
            if let Some(node) = nodes.get(&cid) {
                self.store.nodes.insert(cid, Arc::clone(node), encoded_len);
            }
        }
    }
}
