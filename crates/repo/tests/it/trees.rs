//! Trees in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Cid;
use atcr_repo::DataError;
use atcr_repo::mst::inversion::invert;
use atcr_repo::mst::{Change, Node, NodeSource, Tree};

/// All nodes that there ever were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(pub(crate) HashMap<Cid, Arc<Node>>);

impl NodeSource for Memory {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        self.0.get(cid).cloned().ok_or(DataError::Missing(*cid))
    }
}

impl Memory {
    /// Names the nodes of `tree` and keeps them; returns the root.
    pub(crate) fn store(&mut self, tree: &Tree) -> Cid {
        let finished = tree.finish().unwrap();
        self.0
            .extend(finished.nodes.into_iter().map(|fresh| (fresh.cid, fresh.node)));
        finished.root
    }

    /// A stored tree of `records`, built in their order.
    pub(crate) fn build<'a>(&mut self, records: impl IntoIterator<Item = (&'a str, Cid)>) -> Cid {
        let put = |tree: Tree, (key, value): (&str, Cid)| tree.put(self, key, value).unwrap();
        let tree = records.into_iter().fold(Tree::empty(), put);
        self.store(&tree)
    }

    pub(crate) fn open(&self, root: Cid) -> Tree {
        Tree::open(self, root).unwrap()
    }

    /// Every node below `root`, and every record.
    pub(crate) fn contents(&self, root: Cid) -> (BTreeSet<Cid>, BTreeMap<String, Cid>) {
        let (mut nodes, mut records) = (BTreeSet::new(), BTreeMap::new());
        let mut next = vec![root];
        while let Some(cid) = next.pop() {
            nodes.insert(cid);
            let node = self.node(&cid).unwrap();
            records.extend(
                node.entries
                    .iter()
                    .map(|entry| (entry.key.to_string(), entry.value)),
            );
            next.extend(node.subtrees());
        }
        (nodes, records)
    }

    /// Only the named nodes.
    pub(crate) fn restricted(&self, cids: impl IntoIterator<Item = Cid>) -> Self {
        Self(
            cids.into_iter()
                .map(|cid| (cid, self.node(&cid).unwrap()))
                .collect(),
        )
    }
}

/// Some value.
pub(crate) fn value(number: u64) -> Cid {
    cid_of(DAG_CBOR, &number.to_be_bytes())
}

/// Checks that the changes can be undone with the given nodes alone, in several orders.
pub(crate) fn assert_invertible(nodes: &Memory, changes: &[Change], old: Cid, new: Cid) {
    if changes.is_empty() {
        assert_eq!(old, new);
        return;
    }
    let (deletions, others): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.new.is_none());
    let orders: [Vec<&Change>; 4] = [
        changes.iter().collect(),
        changes.iter().rev().collect(),
        deletions.iter().chain(&others).copied().collect(),
        others.iter().rev().chain(&deletions).copied().collect(),
    ];
    for order in orders {
        assert_eq!(invert(nodes, new, order), Ok(old));
    }
}
