//! Look-up of a block's content by its name.
//!
//! - [`recent`]: blocks that came or went since the snapshot, in memory
//! - [`table`]: blocks of the snapshot, sorted, on the disk
//! - [`row_sorter`]: sorting them without having all in memory
//! - [`view`]: the repository as of one commit
//! - [`walk`]: all its blocks in order
//! - [`node_cache`]: tree nodes in memory

pub(crate) mod node_cache;
pub(crate) mod recent;
pub(crate) mod row_sorter;
pub(crate) mod table;
pub(crate) mod view;
pub(crate) mod walk;

use std::sync::Arc;

use atcr_atproto::data_model::DAG_CBOR;
use atcr_atproto::syntax::Cid;

pub(crate) use node_cache::NodeCache;
pub(crate) use recent::Recent;
pub(crate) use row_sorter::RowSorter;
pub(crate) use table::Table;
pub(crate) use view::View;

use crate::error::RepoError;
use crate::log::Segment;
use crate::snapshot::Snapshot;

const SHA2_256: u64 = 0x12;

/// The first half of a block's SHA-256. To find two blocks with the same takes 2^64 tries, and a block that is read is
/// compared with its whole name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockKey(pub(crate) [u8; 16]);

impl BlockKey {
    /// Of a CID of DAG-CBOR with SHA-256, which all blocks here have.
    pub(crate) fn of(cid: &Cid) -> Option<Self> {
        let hash = cid.hash();
        let is_ours = cid.codec() == DAG_CBOR && hash.code() == SHA2_256 && hash.digest().len() == 32;
        is_ours
            .then(|| hash.digest().first_chunk().map(|key| Self(*key)))
            .flatten()
    }

    /// As [`of`](Self::of), for a CID that comes from the repository.
    pub(crate) fn known(cid: &Cid) -> Result<Self, RepoError> {
        Self::of(cid).ok_or_else(|| RepoError::corrupt(format!("{cid} is not the name of a block")))
    }
}

/// Which file a block is in.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Snapshot(Arc<Snapshot>),
    Segment(Segment),
}

/// Where a block is.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) source: Source,
    pub(crate) offset: u64,
    pub(crate) length: usize,
    /// The newest revision that brought it in.
    pub(crate) rev: u64,
}

/// Where the blocks of the repository are. While a snapshot is written, `frozen` has what it takes in and `recent` what
/// came later.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) frozen: Option<Arc<Recent>>,
    pub(crate) recent: Arc<Recent>,
}

impl Blocks {
    /// Where a block that came after the snapshot is. `segments` are those within reach: a later commit may have brought
    /// the same block again in a newer one.
    pub(crate) fn locate_recent(&self, key: &BlockKey, segments: &[Segment]) -> Option<Located> {
        let recents = [Some(&self.recent), self.frozen.as_ref()];
        for slot in recents
            .into_iter()
            .flatten()
            .filter_map(|recent| recent.find(key))
        {
            let index = segments.partition_point(|segment| segment.number < slot.segment);
            if let Some(segment) = segments.get(index)
                && segment.number == slot.segment
                && slot.length > 0
            {
                return Some(Located {
                    source: Source::Segment(segment.clone()),
                    offset: u64::from(slot.offset),
                    length: slot.length as usize,
                    rev: slot.rev(),
                });
            }
        }
        None
    }

    /// Where a block of the current repository or of a recent one is.
    pub(crate) fn locate(&self, key: &BlockKey, segments: &[Segment]) -> Result<Option<Located>, RepoError> {
        if let Some(place) = self.locate_recent(key, segments) {
            return Ok(Some(place));
        }
        let Some(snapshot) = &self.snapshot else {
            return Ok(None);
        };
        Ok(snapshot.table.find(key)?.first().map(|row| Located {
            source: Source::Snapshot(Arc::clone(snapshot)),
            offset: row.offset,
            length: row.length,
            rev: row.rev,
        }))
    }

    /// Whether the repository has the block now: what was replaced or deleted stays in the files for a while.
    pub(crate) fn is_live(&self, key: &BlockKey) -> Result<bool, RepoError> {
        let recents = [Some(&self.recent), self.frozen.as_ref()];
        let mut references: i64 = recents
            .into_iter()
            .flatten()
            .filter_map(|recent| recent.find(key))
            .map(|slot| i64::from(slot.references))
            .sum();
        if let Some(snapshot) = &self.snapshot {
            references += i64::try_from(snapshot.table.find(key)?.len()).unwrap_or(i64::MAX);
        }
        Ok(references > 0)
    }
}
