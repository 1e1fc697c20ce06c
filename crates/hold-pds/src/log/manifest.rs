//! The list of the repository's files. It is replaced by renaming, so that it is always whole; without it the loss of the
//! newest file would go unnoticed.

use serde::{Deserialize, Serialize};

use super::{LogId, Position, Segment};
use crate::blocks::View;
use crate::disk::{self, Disk};
use crate::error::RepoError;

/// The manifest's name.
pub(crate) const FILE: &str = "manifest";
/// The version of everything in the folder.
const FORMAT: u32 = 2;

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentInfo {
    pub(crate) number: u32,
    /// All its events are newer.
    pub(crate) after_seq: u64,
    /// `None` for the one that is written.
    pub(crate) closed: Option<Closed>,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    /// Bytes after this one do not belong to the log, even if they look like entries.
    pub(crate) end: u32,
    /// The newest event at that time.
    pub(crate) last_seq: u64,
    /// Its time, in microseconds since 1970.
    pub(crate) last_time: u64,
}

/// The newest snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotInfo {
    /// The revision, which names its files.
    pub(crate) rev: String,
    pub(crate) commit: String,
    pub(crate) data: String,
    /// The newest event at that time.
    pub(crate) seq: u64,
    /// Its time, in microseconds since 1970.
    pub(crate) time: u64,
    /// The log goes on from here.
    pub(crate) position: u64,
    /// Bytes of the CAR.
    pub(crate) car_bytes: u64,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    pub(crate) did: String,
    pub(crate) log_id: LogId,
    /// In the order of their numbers; the last one is open.
    pub(crate) segments: Vec<SegmentInfo>,
    pub(crate) snapshot: Option<SnapshotInfo>,
    /// The newest event that was dropped; 0 if none was. Older events may still be in the log if no subscriber can verify them.
    pub(crate) dropped_seq: u64,
    /// What the newest `#identity` event was about; `None` in a manifest of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) announced: Option<Announced>,
    /// The snapshot did not come of the log's commits, and subscribers have not been told of it yet.
    #[serde(default)]
    pub(crate) owes_sync: bool,
    /// The folder is being filled from a backup, and is no repository yet.
    #[serde(default)]
    pub(crate) restoring: bool,
}

/// What a subscriber looks up again after an `#identity` event, the key aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announced {
    pub(crate) handle: Option<String>,
    pub(crate) endpoint: Option<String>,
}

impl Manifest {
    pub(crate) fn new(did: &str, log_id: LogId, after_seq: u64, snapshot: Option<SnapshotInfo>) -> Self {
        Self {
            format: FORMAT,
            did: did.to_owned(),
            log_id,
            segments: vec![SegmentInfo {
                number: 1,
                after_seq,
                closed: None,
            }],
            snapshot,
            dropped_seq: after_seq,
            announced: None,
            owes_sync: false,
            restoring: false,
        }
    }

    /// What the manifest of a copy of the files says that `view` reads.
    pub(crate) fn of_view(did: &str, view: &View) -> Self {
        let info = |segment: &Segment| SegmentInfo {
            number: segment.number,
            after_seq: segment.after_seq,
            closed: segment.closed,
        };
        Self {
            segments: view.segments.iter().map(info).collect(),
            dropped_seq: view.dropped_seq,
            ..Self::new(
                did,
                view.log_id,
                0,
                view.blocks
                    .snapshot
                    .as_ref()
                    .map(|snapshot| snapshot.info.clone()),
            )
        }
    }

    /// The manifest of a folder; `None` if it has none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, RepoError> {
        let failed = |error| disk::failed(disk, "read", FILE, error);
        let Some(file) = disk.open(FILE).map_err(failed)? else {
            return Ok(None);
        };
        let size = usize::try_from(file.size().map_err(failed)?).unwrap_or(usize::MAX);
        // A segment takes some 150 bytes here and 32 MiB in the folder.
        if size > 64 * 1024 * 1024 {
            return Err(RepoError::corrupt("the manifest is too large"));
        }
        let bytes = disk::read(&*file, 0, size).map_err(failed)?;
        let parse = || {
            let (crc, json) = bytes.split_at_checked(9)?;
            let expected = format!("{:08x}\n", crc32fast::hash(json));
            (crc == expected.as_bytes()).then_some(())?;
            serde_json::from_slice::<Self>(json).ok()
        };
        let manifest = parse().ok_or_else(|| {
            RepoError::corrupt(format!(
                "{} does not match its checksum; restore the folder from a backup",
                disk.folder().join(FILE).display()
            ))
        })?;
        if manifest.format != FORMAT {
            return Err(RepoError::corrupt(format!(
                "the folder has format {}; this version reads format {FORMAT}",
                manifest.format
            )));
        }
        let last = manifest.segments.len().saturating_sub(1);
        let in_order = manifest.segments.is_sorted_by_key(|segment| segment.number);
        let one_open = manifest
            .segments
            .iter()
            .enumerate()
            .all(|(index, segment)| segment.closed.is_none() == (index == last));
        if manifest.segments.is_empty() || !in_order || !one_open {
            return Err(RepoError::corrupt("the manifest's segments are out of order"));
        }
        Ok(Some(manifest))
    }

    /// Makes this the folder's manifest. After an error either one may be on the disk.
    pub(crate) fn publish(&self, disk: &dyn Disk) -> Result<(), RepoError> {
        disk::replace(disk, FILE, &self.encode()?).map(|_| ())
    }

    /// The file's content.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, RepoError> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| RepoError::corrupt(format!("the manifest does not encode: {error}")))?;
        let mut bytes = format!("{:08x}\n", crc32fast::hash(&json)).into_bytes();
        bytes.extend(json);
        Ok(bytes)
    }

    /// Where the log goes on from the snapshot.
    pub(crate) fn replay_from(&self) -> Position {
        match (&self.snapshot, self.segments.first()) {
            (Some(snapshot), _) => Position::from_u64(snapshot.position),
            (None, Some(first)) => super::segment::start(first.number),
            (None, None) => Position::default(),
        }
    }
}
