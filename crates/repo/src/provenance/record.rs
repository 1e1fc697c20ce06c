//! One record, proven by a CAR.

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::data_model::record_from_block;
use atcr_atproto::identity::DidDocument;
use atcr_atproto::lexicon::Record;
use atcr_atproto::revision::Revision;
use atcr_atproto::syntax::{Cid, Did, RecordKey, Tid};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::Refusal;
use super::refusal::shortened;
use crate::blocks::Blocks;
use crate::car;
use crate::commit::Commit;
use crate::error::DataError;
use crate::mst::Tree;

/// Longest proof that is read, 2 MiB: a record of the 1 MiB that a PDS takes, and the nodes on the way to it.
pub const MAX_PROOF_BYTES: usize = 2 * 1024 * 1024;

/// What a record's proof is held to.
#[derive(Clone, Copy, Debug)]
pub struct RecordClaim<'a> {
    /// The account's DID document, from a source that is believed.
    pub document: &'a DidDocument,
    /// The record's key in its collection.
    pub rkey: &'a RecordKey,
    /// The oldest revision that is taken; `None` takes any.
    pub not_before: Option<&'a Tid>,
    /// The time. A revision may be five minutes ahead of it.
    pub now: DateTime<Utc>,
}

/// A record that its account signed.
#[derive(Clone, Debug)]
pub struct ProvenRecord<R> {
    /// What it says.
    pub value: R,
    /// The CID of the record.
    pub cid: Cid,
    /// The CID of the signed commit.
    pub commit: Cid,
    /// The commit's revision.
    pub rev: Tid,
    /// The key that signed it.
    pub key: PublicKey,
}

/// Checks `proof`, a CAR as `com.atproto.sync.getRecord` answers it, of a record of collection `R`.
///
/// # Errors
/// [`Refusal`]; [`Refusal::NoSuchRecord`] if the proof is sound and shows that there is none.
///
/// # Spec
/// `com.atproto.sync.getRecord`; atproto specs "Repository", commit objects.
pub fn record<R: Record>(proof: &Bytes, claim: &RecordClaim<'_>) -> Result<ProvenRecord<R>, Refusal> {
    let did = claim.document.id();
    let key = claim
        .document
        .signing_key()
        .ok_or_else(|| Refusal::NoKey(did.clone()))?;
    let blocks = Blocks::read(proof, MAX_PROOF_BYTES)?;
    let (root, _) = car::read_header(proof).ok_or(Refusal::Malformed("it names no commit"))?;
    let bytes = blocks
        .get(&root)
        .ok_or(Refusal::Malformed("it does not have its commit"))?;
    let commit = Commit::decode(bytes).map_err(|_| Refusal::Malformed("its root is no commit"))?;
    if commit.did.parse().ok().as_ref().map(Did::normalised) != Some(did.normalised()) {
        return Err(Refusal::AnotherAccount {
            did: did.clone(),
            found: shortened(&commit.did),
        });
    }
    if !commit.is_signed_by(&key) {
        return Err(Refusal::BadSignature {
            did: did.clone(),
            key: Box::new(key),
        });
    }
    let rev: Tid = commit
        .rev
        .parse()
        .map_err(|_| Refusal::Malformed("its revision is none"))?;
    match (
        Revision::judge(&rev, claim.not_before, claim.now),
        claim.not_before,
    ) {
        (Revision::FromTheFuture, _) => return Err(Refusal::FromTheFuture(rev)),
        (Revision::RolledBack, Some(asked)) => {
            return Err(Refusal::OlderRevision {
                rev,
                asked: asked.clone(),
            });
        }
        _ => {}
    }
    let path = format!("{}/{}", R::NSID, claim.rkey);
    let tree = Tree::open(&blocks, commit.data).map_err(broken)?;
    let Some(cid) = tree.get(&blocks, &path).map_err(broken)? else {
        return Err(Refusal::NoSuchRecord { path });
    };
    let bytes = blocks.get(&cid).ok_or(Refusal::RecordMissing)?;
    Ok(ProvenRecord {
        value: read(bytes).map_err(|reason| Refusal::RecordMalformed {
            path,
            reason: shortened(&reason),
        })?,
        cid,
        commit: root,
        rev,
        key,
    })
}

fn broken(error: DataError) -> Refusal {
    Refusal::BrokenPath(match error {
        DataError::Missing(_) => "a node is missing",
        DataError::Malformed(what) => what,
    })
}

fn read<R: Record>(bytes: &[u8]) -> Result<R, String> {
    let value = record_from_block(bytes).map_err(|error| error.to_string())?;
    R::from_value(value).map_err(|error| error.to_string())
}
