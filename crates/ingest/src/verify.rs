//! What an event of a firehose proves. No relay is trusted to have checked any of it.
//!
//! # Spec
//! atproto specs "Sync": commit validation, MST operation inversion.

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::data_model::record_from_block;
use atcr_atproto::revision::Revision;
use atcr_atproto::syntax::{Cid, Did, RecordKey, Tid};
use atcr_index::Collection;
use atcr_index::change::{Change, Proof, RecordsStep};
use atcr_index::fact::RecordFact;
use atcr_repo::firehose::{CommitEvent, RecordOp, SyncEvent};
use atcr_repo::mst::{self, Tree, inversion};
use atcr_repo::{Blocks, BlocksError, Commit, DataError};
use bytes::Bytes;
use chrono::{DateTime, Utc};

/// Longest list of blocks of one commit, in bytes.
///
/// # Spec
/// atproto specs "Sync", limits of `#commit`.
pub const MAX_BLOCKS: usize = 2_000_000;

/// Most operations of one commit.
pub const MAX_OPERATIONS: usize = 200;

/// Why an event proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is longer than an event may be.
    #[error("the event is too long")]
    TooLong,
    /// A part of it has the wrong form.
    #[error("the event is malformed: {0}")]
    Malformed(&'static str),
    /// A block does not hash to its name.
    #[error("a block does not hash to its name")]
    WrongHash,
    /// The revision is more than five minutes ahead of our clock.
    #[error("the revision is in the future")]
    FromTheFuture,
    /// The account's key did not sign the commit.
    #[error("the signature is not the account's")]
    BadSignature,
    /// Undoing the operations does not lead to the tree before: an operation is missing, or wrong.
    #[error("the operations are not what changed")]
    Incomplete,
}

impl From<DataError> for Refusal {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Missing(_) => Self::Malformed("a block is missing"),
            DataError::Malformed(what) => Self::Malformed(what),
        }
    }
}

impl From<BlocksError> for Refusal {
    fn from(error: BlocksError) -> Self {
        match error {
            BlocksError::TooLong => Self::TooLong,
            BlocksError::Malformed(what) => Self::Malformed(what),
            BlocksError::WrongHash => Self::WrongHash,
        }
    }
}

pub(crate) fn block<'a>(blocks: &'a Blocks, cid: &Cid) -> Result<&'a Bytes, Refusal> {
    blocks.get(cid).ok_or(Refusal::Malformed("a block is missing"))
}

/// The commit `cid` of `did` at `rev`, signed by `key`.
fn signed_commit(
    blocks: &Blocks,
    cid: &Cid,
    did: &Did,
    rev: &Tid,
    key: &PublicKey,
) -> Result<Commit, Refusal> {
    let commit = commit_of(blocks, cid, did, key)?;
    if commit.rev != rev.as_str() {
        return Err(Refusal::Malformed("the commit is another one"));
    }
    Ok(commit)
}

/// The commit `cid` of `did`, signed by `key`, at whatever revision.
pub(crate) fn commit_of(blocks: &Blocks, cid: &Cid, did: &Did, key: &PublicKey) -> Result<Commit, Refusal> {
    let commit = Commit::decode(block(blocks, cid)?)?;
    if commit.did != did.as_str() {
        return Err(Refusal::Malformed("the commit is another one"));
    }
    if !commit.is_signed_by(key) {
        return Err(Refusal::BadSignature);
    }
    Ok(commit)
}

/// The step that a commit proves, given the key that `event.repo`'s DID document has. The step is empty of changes when the commit is about
/// other collections.
///
/// # Errors
/// [`Refusal`]: the event proves nothing.
pub fn commit(event: &CommitEvent, key: &PublicKey, now: DateTime<Utc>) -> Result<RecordsStep, Refusal> {
    if event.ops.len() > MAX_OPERATIONS {
        return Err(Refusal::TooLong);
    }
    if Revision::judge(&event.rev, None, now) == Revision::FromTheFuture {
        return Err(Refusal::FromTheFuture);
    }
    let blocks = Blocks::read(&event.blocks, MAX_BLOCKS)?;
    let commit = signed_commit(&blocks, &event.commit, &event.repo, &event.rev, key)?;
    let tree = Tree::open(&blocks, commit.data)?;
    let mut undone = Vec::with_capacity(event.ops.len());
    for operation in &event.ops {
        if tree.get(&blocks, &operation.path)? != operation.cid {
            return Err(Refusal::Incomplete);
        }
        undone.push(mst::Change {
            key: operation.path.as_str().into(),
            old: operation.prev,
            new: operation.cid,
        });
    }
    // Neither field is signed. A commit that says it is the first has nothing before it, whatever tree it names.
    let before = match (&event.since, event.prev_data) {
        (None, _) => Tree::empty().finish()?.root,
        (Some(_), Some(root)) => root,
        (Some(_), None) => return Err(Refusal::Malformed("the tree before is not named")),
    };
    if event.prev_data.is_some_and(|root| root != before) {
        return Err(Refusal::Incomplete);
    }
    if inversion::invert(&blocks, commit.data, &undone)? != before {
        return Err(Refusal::Incomplete);
    }
    let changes = event
        .ops
        .iter()
        .filter_map(|operation| change(&event.repo, operation, &blocks).transpose())
        .collect::<Result<_, _>>()?;
    Ok(RecordsStep {
        did: event.repo.clone(),
        base: event.since.clone(),
        base_data: event.prev_data,
        rev: event.rev.clone(),
        data: Some(commit.data),
        proof: Proof::Signed,
        // Of an account whose first commit this is, it is all.
        coverage: event
            .since
            .is_none()
            .then_some(atcr_index::change::Coverage::Whole),
        changes,
    })
}

/// What an operation is to the index; `None` for another collection.
fn change(did: &Did, operation: &RecordOp, blocks: &Blocks) -> Result<Option<Change>, Refusal> {
    let malformed = Refusal::Malformed("a path");
    let (collection, rkey) = operation.path.split_once('/').ok_or(malformed.clone())?;
    let Ok(collection) = collection.parse::<Collection>() else {
        return Ok(None);
    };
    let rkey: RecordKey = rkey.parse().map_err(|_| malformed)?;
    let Some(cid) = operation.cid else {
        return Ok(Some(Change::Delete { collection, rkey }));
    };
    Ok(Some(Change::Put(record(
        did,
        collection,
        rkey,
        cid,
        block(blocks, &cid)?,
    ))))
}

/// The record with these bytes, which hash to `cid`.
pub(crate) fn record(
    did: &Did,
    collection: Collection,
    rkey: RecordKey,
    cid: Cid,
    bytes: &[u8],
) -> RecordFact {
    // What is no record, or one without measure, is an unusable one.
    let value = record_from_block(bytes).ok();
    RecordFact::read(did, collection, rkey, cid, value.unwrap_or_default())
}

/// The account's tree as a `#sync` proves it, given the account's key.
///
/// # Errors
/// [`Refusal`]: the event proves nothing.
pub fn sync(event: &SyncEvent, key: &PublicKey, now: DateTime<Utc>) -> Result<Cid, Refusal> {
    if Revision::judge(&event.rev, None, now) == Revision::FromTheFuture {
        return Err(Refusal::FromTheFuture);
    }
    let blocks = Blocks::read(&event.blocks, MAX_BLOCKS)?;
    let mut names = blocks.names();
    let (Some(cid), None) = (names.next(), names.next()) else {
        return Err(Refusal::Malformed("not one block"));
    };
    Ok(signed_commit(&blocks, cid, &event.did, &event.rev, key)?.data)
}
