//! Signed proofs of records, as `com.atproto.sync.getRecord` answers them.

use std::collections::HashMap;
use std::sync::Arc;

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of, record_to_ipld};
use atcr_atproto::syntax::{Cid, Did, Tid};
use atcr_repo::mst::{Node, NodeSource, Tree, proof};
use atcr_repo::{DataError, car, commit};
use axum::body::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Account, FakePds};

/// Nodes by name.
#[derive(Default)]
struct Nodes(HashMap<Cid, Arc<Node>>);

impl NodeSource for Nodes {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        self.0.get(cid).cloned().ok_or(DataError::Missing(*cid))
    }
}

/// The account's key, always the same for a DID.
pub(super) fn signing_key(did: &str) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::from_bytes(Curve::K256, &Sha256::digest(did))?)
}

/// The proof of `path`, or of its absence, in the account's newest state.
pub(super) fn proof_of(did: &str, account: &Account, path: &str) -> anyhow::Result<Bytes> {
    let rev: Tid = match &account.head {
        Some((_, rev)) => rev.parse()?,
        None => anyhow::bail!("no commit"),
    };
    let (mut tree, mut nodes, mut found) = (Tree::empty(), Nodes::default(), None);
    for (collection, records) in &account.collections {
        for (rkey, value) in records {
            let key = format!("{collection}/{rkey}");
            let bytes = serde_ipld_dagcbor::to_vec(&record_to_ipld(value)?)?;
            let cid = cid_of(DAG_CBOR, &bytes);
            tree = tree.put(&nodes, &key, cid)?;
            if key == path {
                found = Some((cid, bytes));
            }
        }
    }
    let finished = tree.finish()?;
    for fresh in finished.nodes {
        nodes.0.insert(fresh.cid, fresh.node);
    }
    let mut key = signing_key(did)?;
    if account.is_forged {
        key = signing_key("another account")?;
    }
    let signed = commit::sign(&did.parse::<Did>()?, &rev, finished.root, &key)?;
    let mut blocks = vec![(signed.cid, signed.bytes.to_vec())];
    let tree = Tree::open(&nodes, finished.root)?;
    for cid in proof::path(&tree, &nodes, path)? {
        blocks.push((cid, nodes.node(&cid)?.encode()?));
    }
    // The root of an empty tree is on no way, and proves all the same.
    if blocks.len() == 1 {
        blocks.push((finished.root, nodes.node(&finished.root)?.encode()?));
    }
    blocks.extend(found);
    Ok(car::of_blocks(
        signed.cid,
        blocks.iter().map(|(cid, bytes)| (cid, bytes.as_slice())),
    ))
}

impl FakePds {
    /// The public key in the account's document, as did:key.
    #[must_use]
    pub fn signing_key(&self, did: &str) -> String {
        signing_key(did).map_or_else(|_| String::new(), |key| key.public_key().to_did_key())
    }

    /// From now on the server signs the account's commits with a key that is not the account's.
    pub fn forge(&self, did: &str) {
        if let Some(account) = self.inner().accounts.get_mut(did) {
            account.is_forged = true;
        }
    }
}
