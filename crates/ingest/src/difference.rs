//! An account brought to its head by what changed since a revision: one request instead of a listing.
//!
//! A server answers `getRepo?since=` with the blocks that are new since then: commit, tree nodes, records. Where a node is left out, the
//! subtree is the one of before, so its keys are those of our rows in its range; keys that would stand in a higher layer cannot be in it
//! and are gone.
//!
//! # Spec
//! `com.atproto.sync.getRepo`; atproto specs "Repository", MST structure.

use std::collections::HashMap;

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::revision::Revision;
use atcr_atproto::syntax::{Cid, Did, RecordKey, Tid};
use atcr_index::Collection;
use atcr_index::change::Change;
use atcr_index::ports::KnownRecord;
use atcr_repo::mst::{Link, NodeSource as _, key};
use atcr_repo::{Blocks, car};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::verify::{Refusal, block, commit_of, record};

/// Longest difference that is read, in bytes. Where more has changed, listing is cheaper: it leaves foreign records out.
pub const MAX_DIFFERENCE: usize = 8 * 1024 * 1024;

/// What differs from the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The account's revision now.
    pub rev: Tid,
    /// The root of its tree.
    pub data: Cid,
    /// What has to be written.
    pub changes: Vec<Change>,
}

/// Keys that an unchanged subtree may have: between two others, up to a layer.
struct Unchanged {
    after: Option<String>,
    before: Option<String>,
    layer: u8,
}

/// The tree as far as its nodes are there.
#[derive(Default)]
struct Walk {
    seen: HashMap<(Collection, RecordKey), Cid>,
    unchanged: Vec<Unchanged>,
}

/// What differs between `rows`, which are those of `since`, and the account's state in `blocks`, a CAR.
///
/// # Errors
/// [`Refusal`]: the account's own key did not sign it, or a block that is needed is left out. Then the account is to be listed.
pub fn difference(
    blocks: &Bytes,
    did: &Did,
    key: &PublicKey,
    since: &Tid,
    rows: &[KnownRecord],
    now: DateTime<Utc>,
) -> Result<Difference, Refusal> {
    let (root, _) = car::read_header(blocks).ok_or(Refusal::Malformed("the blocks have no header"))?;
    let blocks = Blocks::read(blocks, MAX_DIFFERENCE)?;
    let commit = commit_of(&blocks, &root, did, key)?;
    let rev: Tid = commit.rev.parse().map_err(|_| Refusal::Malformed("a revision"))?;
    match Revision::judge(&rev, Some(since), now) {
        Revision::Newer => {}
        Revision::FromTheFuture => return Err(Refusal::FromTheFuture),
        Revision::Same | Revision::RolledBack => return Err(Refusal::Malformed("an old revision")),
    }
    let mut walk = Walk::default();
    walk.root(&blocks, commit.data)?;
    let mut changes = Vec::new();
    for row in rows {
        let now_there = walk.seen.remove(&(row.collection, row.rkey.clone()));
        match now_there {
            Some(cid) if cid == row.cid => {}
            Some(cid) => changes.push(put(did, &blocks, row.collection, row.rkey.clone(), cid)?),
            None if walk.is_unchanged(row) => {}
            None => changes.push(Change::Delete {
                collection: row.collection,
                rkey: row.rkey.clone(),
            }),
        }
    }
    for ((collection, rkey), cid) in walk.seen {
        changes.push(put(did, &blocks, collection, rkey, cid)?);
    }
    Ok(Difference {
        rev,
        data: commit.data,
        changes,
    })
}

fn put(
    did: &Did,
    blocks: &Blocks,
    collection: Collection,
    rkey: RecordKey,
    cid: Cid,
) -> Result<Change, Refusal> {
    Ok(Change::Put(record(
        did,
        collection,
        rkey,
        cid,
        block(blocks, &cid)?,
    )))
}

impl Walk {
    fn root(&mut self, blocks: &Blocks, root: Cid) -> Result<(), Refusal> {
        // A root that is no new node was a subtree before: what stood above and beside it is gone, and nothing says what that was.
        let node = blocks.node(&root)?;
        match node.entries.first() {
            Some(first) => self.node(blocks, root, None, None, key::height(first.key.as_bytes())),
            None if node.left.is_none() => Ok(()),
            None => Err(Refusal::Malformed("the root has no keys")),
        }
    }

    /// The node `cid` of `layer`, whose keys are between `after` and `before`.
    fn node(
        &mut self,
        blocks: &Blocks,
        cid: Cid,
        after: Option<&str>,
        before: Option<&str>,
        layer: u8,
    ) -> Result<(), Refusal> {
        if blocks.get(&cid).is_none() {
            self.unchanged.push(Unchanged {
                after: after.map(str::to_owned),
                before: before.map(str::to_owned),
                layer,
            });
            return Ok(());
        }
        let node = blocks.node(&cid)?;
        let mut from = after;
        for gap in 0..=node.entries.len() {
            let entry = node.entries.get(gap);
            let to = entry.map_or(before, |entry| Some(&*entry.key));
            if let Some(Link::Stored(subtree)) = node.gap(gap) {
                let below = layer
                    .checked_sub(1)
                    .ok_or(Refusal::Malformed("a subtree below the lowest layer"))?;
                self.node(blocks, *subtree, from, to, below)?;
            }
            let Some(entry) = entry else { break };
            let is_in_place = from.is_none_or(|from| from < &*entry.key)
                && before.is_none_or(|before| &*entry.key < before)
                && key::height(entry.key.as_bytes()) == layer;
            if !is_in_place {
                return Err(Refusal::Malformed("a key in the wrong place"));
            }
            self.see(&entry.key, entry.value)?;
            from = to;
        }
        Ok(())
    }

    fn see(&mut self, path: &str, cid: Cid) -> Result<(), Refusal> {
        let malformed = Refusal::Malformed("a path");
        let (collection, rkey) = path.split_once('/').ok_or(malformed.clone())?;
        if let Ok(collection) = collection.parse::<Collection>() {
            let rkey: RecordKey = rkey.parse().map_err(|_| malformed)?;
            self.seen.insert((collection, rkey), cid);
        }
        Ok(())
    }

    fn is_unchanged(&self, row: &KnownRecord) -> bool {
        let path = format!("{}/{}", row.collection, row.rkey);
        // Ranges come in the order of their keys.
        let next = self
            .unchanged
            .partition_point(|range| range.before.as_ref().is_some_and(|before| *before <= path));
        self.unchanged.get(next).is_some_and(|range| {
            range.after.as_ref().is_none_or(|after| *after < path)
                && key::height(path.as_bytes()) <= range.layer
        })
    }
}
