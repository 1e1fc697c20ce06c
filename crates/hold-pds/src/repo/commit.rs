//! The commit object.

use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Did, Tid};
use serde::{Deserialize, Serialize};

use crate::error::RepoError;
use crate::store::frame::NewBlock;

/// The only version that is written.
const VERSION: u8 = 3;

/// A commit as it is signed.
#[derive(Serialize)]
struct Unsigned<'a> {
    did: &'a str,
    rev: &'a str,
    data: Cid,
    prev: Option<Cid>,
    version: u8,
}

/// A commit as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Commit {
    pub(crate) did: String,
    pub(crate) rev: String,
    #[serde(with = "serde_bytes")]
    sig: Vec<u8>,
    pub(crate) data: Cid,
    prev: Option<Cid>,
    version: u8,
}

/// The signed commit of the tree `data`.
pub(crate) fn sign(did: &Did, rev: &Tid, data: Cid, key: &SigningKey) -> Result<NewBlock, RepoError> {
    let unsigned = Unsigned {
        did: did.as_str(),
        rev: rev.as_str(),
        data,
        prev: None,
        version: VERSION,
    };
    let sig = key.sign(&encode(&unsigned)?).to_vec();
    let commit = Commit {
        did: did.to_string(),
        rev: rev.to_string(),
        sig,
        data,
        prev: None,
        version: VERSION,
    };
    let bytes = encode(&commit)?;
    Ok(NewBlock {
        cid: cid_of(DAG_CBOR, &bytes),
        bytes: bytes.into(),
    })
}

impl Commit {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RepoError> {
        serde_ipld_dagcbor::from_slice(bytes)
            .map_err(|error| RepoError::corrupt(format!("a commit: {error}")))
    }

    /// Whether `key` signed this commit.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let unsigned = Unsigned {
            did: &self.did,
            rev: &self.rev,
            data: self.data,
            prev: self.prev,
            version: self.version,
        };
        self.version == VERSION && encode(&unsigned).is_ok_and(|bytes| key.verify(&bytes, &self.sig).is_ok())
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, RepoError> {
    serde_ipld_dagcbor::to_vec(value).map_err(|error| RepoError::corrupt(format!("a commit: {error}")))
}
