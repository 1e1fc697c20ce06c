//! Checks the repository's integrity.

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Did};
use atcr_repo::Commit;
use atcr_repo::mst::{Node, key};

use super::records::decode_record;
use crate::blocks::View;
use crate::blocks::walk::{Step, Walk};
use crate::error::RepoError;
use crate::index::holdings::has_row;
use crate::log::Position;

/// Reads every block of the newest commit. Blocks are compared with their names as they are read. Returns how many records
/// the index should have.
pub(crate) fn verify(view: View, did: &Did, key: &PublicKey) -> Result<u64, RepoError> {
    let head = view.head.clone();
    let commit = Commit::decode(&view.block(&head.commit)?)?;
    if commit.did != did.as_str() || commit.rev != head.rev.as_str() || commit.data != head.data {
        return Err(RepoError::corrupt(format!(
            "commit {} does not say what the log says of it",
            head.commit
        )));
    }
    if !commit.is_signed_by(key) {
        return Err(RepoError::corrupt(format!(
            "the signature of commit {} does not verify",
            head.commit
        )));
    }
    let mut shape = Shape::default();
    let mut indexed = 0;
    let mut walk = Walk::over_all(view);
    while let Some(step) = walk.step()? {
        match step {
            Step::Node { cid, node, depth, .. } => shape.check_node(&cid, &node, depth)?,
            Step::Record { path, bytes, .. } => {
                shape.check_order(&path)?;
                decode_record(&bytes)?;
                let Some((collection, _)) = path.split_once('/') else {
                    return Err(RepoError::corrupt(format!("{path} is no path of a record")));
                };
                indexed += u64::from(has_row(collection, &bytes));
            }
        }
    }
    Ok(indexed)
}

/// Reads every event that is kept.
pub(crate) fn verify_log(view: &View) -> Result<(), RepoError> {
    let mut reader = view.reader(Position::default());
    while let Some(entry) = reader.next_entry()? {
        let header = entry.header;
        let parts = header.aux(entry.bytes).and(header.frame(entry.bytes));
        parts.map_err(|damage| {
            RepoError::corrupt(format!("the log is damaged in {}: {}", header.position, damage.0))
        })?;
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
