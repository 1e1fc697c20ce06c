//! The commit object.
//!
//! # Spec
//! atproto specs "Repository", commit objects.

use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::syntax::{Cid, Did, Tid};
use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::error::DataError;

/// The only version that is written and read.
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
pub struct Commit {
    /// The account, as written; not checked to be a DID.
    pub did: String,
    /// The revision, as written; not checked to be a TID.
    pub rev: String,
    #[serde(with = "serde_bytes")]
    sig: Vec<u8>,
    /// The root node of the tree.
    pub data: Cid,
    prev: Option<Cid>,
    version: u8,
}

/// The signed commit of the tree `data`.
///
/// # Errors
/// None in practice: text, CIDs and numbers always encode.
pub fn sign(did: &Did, rev: &Tid, data: Cid, key: &SigningKey) -> Result<Block, DataError> {
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
    Ok(Block::of(encode(&commit)?))
}

impl Commit {
    /// Reads a commit object. The signature is not checked.
    ///
    /// # Errors
    /// [`DataError::Malformed`] for bytes that are no commit, or one of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DataError> {
        let commit: Self = serde_ipld_dagcbor::from_slice(bytes)
            .map_err(|_| DataError::Malformed("a commit does not parse"))?;
        if commit.version != VERSION {
            return Err(DataError::Malformed("a commit of another version"));
        }
        Ok(commit)
    }

    /// Whether `key` signed this commit.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let unsigned = Unsigned {
            did: &self.did,
            rev: &self.rev,
            data: self.data,
            prev: self.prev,
            version: self.version,
        };
        encode(&unsigned).is_ok_and(|bytes| key.verify(&bytes, &self.sig).is_ok())
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, DataError> {
    serde_ipld_dagcbor::to_vec(value).map_err(|_| DataError::Malformed("a commit does not encode"))
}
