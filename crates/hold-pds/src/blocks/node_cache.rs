//! Tree nodes in memory, up to so many bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use atcr_atproto::syntax::Cid;

use atcr_repo::mst::Node;

/// What a node costs beside its encoded bytes, roughly: a `Node` and its place in the map.
const OVERHEAD_BYTES: usize = 256;
/// A decoded key and its value, against the same encoded with a shared prefix.
const DECODED_FACTOR: usize = 3;

/// Two generations: what is asked for moves into the young one, and when that has half the bytes the old one goes.
#[derive(Debug)]
pub(crate) struct NodeCache {
    half_bytes: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Cid, (Arc<Node>, usize)>,
    young_bytes: usize,
    old: HashMap<Cid, (Arc<Node>, usize)>,
}

impl NodeCache {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            half_bytes: bytes / 2,
            generations: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, cid: &Cid) -> Option<Arc<Node>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((node, _)) = generations.young.get(cid) {
            return Some(Arc::clone(node));
        }
        let (node, cost) = generations.old.remove(cid)?;
        self.put(&mut generations, *cid, Arc::clone(&node), cost);
        Some(node)
    }

    /// `encoded_len`: bytes of the node's block.
    pub(crate) fn insert(&self, cid: Cid, node: Arc<Node>, encoded_len: usize) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(
            &mut generations,
            cid,
            node,
            encoded_len * DECODED_FACTOR + OVERHEAD_BYTES,
        );
    }

    fn put(&self, generations: &mut Generations, cid: Cid, node: Arc<Node>, cost: usize) {
        if generations.young_bytes + cost > self.half_bytes {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        if generations.young.insert(cid, (node, cost)).is_none() {
            generations.young_bytes += cost;
        }
    }
}
