//! Whether the repository is what it says.

use std::sync::Arc;

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Did};

use super::walk::{Step, Walk};
use crate::error::RepoError;
use crate::store::hold_index::decode_record;
use crate::store::{Pin, Store};
use atcr_repo::Commit;
use atcr_repo::mst::{Node, key};

/// Records compared with the index at once.
const COMPARE: usize = 500;

/// Reads every block of the newest commit. Blocks are checked against their names as they are read.
pub(super) async fn verify(store: Arc<Store>, pin: Pin, did: &Did, key: &PublicKey) -> Result<(), RepoError> {
    let head = pin.head();
    let commit = Commit::decode(&store.block(head.commit).await?)?;
    if commit.did != did.as_str() || commit.rev != head.rev.as_str() || commit.data != head.data {
        return Err(RepoError::corrupt(format!(
            "commit {} does not say what the index says of it",
            head.commit
        )));
    }
    if !commit.is_signed_by(key) {
        return Err(RepoError::corrupt(format!(
            "the signature of commit {} does not verify",
            head.commit
        )));
    }
    let seq = head.seq;
    let mut shape = Shape::default();
    let mut records = Records::new(&store, seq);
    let mut walk = Walk::new(Arc::clone(&store), pin, 0);
    while let Some(step) = walk.step().await? {
        match step {
            Step::Node { cid, node, depth, .. } => shape.check_node(&cid, &node, depth)?,
            Step::Record { path, cid, bytes } => {
                shape.check_order(&path)?;
                decode_record(&bytes)?;
                records.add(&path, cid).await?;
            }
        }
    }
    records.compare().await?;
    let (count, as_of) = store.index.record_count().await?;
    if as_of == seq && count != records.total {
        return Err(RepoError::corrupt(
            "the index has records that the repository has not",
        ));
    }
    Ok(())
}

/// What is known of the tree so far.
#[derive(Default)]
struct Shape {
    root_layer: Option<usize>,
    last_key: String,
}

impl Shape {
    fn check_node(&mut self, cid: &Cid, node: &Node, depth: usize) -> Result<(), RepoError> {
        let wrong = |what: &str| Err(RepoError::corrupt(format!("tree node {cid}: {what}")));
        let Ok(bytes) = node.encode() else {
            return wrong("does not encode");
        };
        if cid_of(DAG_CBOR, &bytes) != *cid {
            return wrong("not in its canonical form");
        }
        if depth == 0 {
            self.root_layer = node
                .entries
                .first()
                .map(|entry| usize::from(key::height(entry.key.as_bytes())));
            return match self.root_layer {
                None if !node.is_empty() => wrong("a root without keys above another node"),
                _ => Ok(()),
            };
        }
        if node.is_empty() {
            return wrong("an empty node that is not the root");
        }
        let Some(layer) = self.root_layer.and_then(|root| root.checked_sub(depth)) else {
            return wrong("a node below layer 0");
        };
        if node
            .entries
            .iter()
            .any(|entry| usize::from(key::height(entry.key.as_bytes())) != layer)
        {
            return wrong("a key on the wrong layer");
        }
        if layer == 0 && node.subtrees().next().is_some() {
            return wrong("a subtree below layer 0");
        }
        Ok(())
    }

    fn check_order(&mut self, path: &str) -> Result<(), RepoError> {
        if *path <= *self.last_key {
            return Err(RepoError::corrupt(format!("{path} is out of order")));
        }
        path.clone_into(&mut self.last_key);
        Ok(())
    }
}

/// The records found, compared with the index in pieces.
struct Records<'a> {
    store: &'a Store,
    /// The commit they are from. When the index has gone on to another one, there is nothing to compare.
    seq: u64,
    waiting: Vec<(String, String, Cid)>,
    total: u64,
}

impl<'a> Records<'a> {
    fn new(store: &'a Store, seq: u64) -> Self {
        Self {
            store,
            seq,
            waiting: Vec::new(),
            total: 0,
        }
    }

    async fn add(&mut self, path: &str, cid: Cid) -> Result<(), RepoError> {
        let Some((collection, rkey)) = path.split_once('/') else {
            return Err(RepoError::corrupt(format!("{path} is no path of a record")));
        };
        self.waiting.push((collection.to_owned(), rkey.to_owned(), cid));
        self.total += 1;
        if self.waiting.len() == COMPARE {
            self.compare().await
        } else {
            Ok(())
        }
    }

    async fn compare(&mut self) -> Result<(), RepoError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (found, as_of) = self.store.index.count_matching(&self.waiting).await?;
        if as_of == self.seq && found != self.waiting.len() {
            return Err(RepoError::corrupt(
                "the index lacks records that the repository has",
            ));
        }
        self.waiting.clear();
        Ok(())
    }
}
