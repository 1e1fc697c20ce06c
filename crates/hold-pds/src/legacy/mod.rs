//! Repositories of an older version: one file, `blocks.log`, with every commit and its blocks.
//!
//! Such a repository becomes a snapshot, and a new log goes on from there. For one release.

mod frame;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use atcr_atproto::syntax::{Did, Tid};
use sha2::{Digest as _, Sha256};

use crate::blocks::recent::Slot;
use crate::blocks::{BlockKey, Blocks, NodeCache, Recent, View};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;
use crate::head::{Head, rev_number};
use crate::log::{LogId, Segment, SnapshotInfo, segment};
use crate::snapshot::SnapshotJob;
use frame::{CommitMeta, Frame, FrameHeader, HEADER_LEN, MAGIC};

/// The old log.
pub(crate) const FILE: &str = "blocks.log";
/// Its name once it was converted.
const ASIDE: &str = "blocks.log.converted.aside";
/// `atcr`, then the version of the format.
const FILE_MAGIC: [u8; 8] = *b"atcr\0\0\0\x01";
const HASH_LEN: usize = 32;
/// A crash leaves less than this behind the last whole commit.
const MAX_TAIL: u64 = 64 * 1024 * 1024;
/// The file is looked at in windows, since a place in a segment has 32 bits.
const WINDOW_BITS: u32 = 31;

/// Writes a snapshot of the newest commit of the old log.
pub(crate) fn convert(disk: &Arc<dyn Disk>, did: &Did, log_id: &LogId) -> Result<SnapshotInfo, RepoError> {
    let failed = |error| disk::failed(&**disk, "read", FILE, error);
    let file = disk
        .open(FILE)
        .map_err(failed)?
        .ok_or_else(|| corrupt("it is not there"))?;
    let size = file.size().map_err(failed)?;
    tracing::info!(bytes = size, "the repository of an older version is converted");
    let start = read_header(&*file, did)?;
    let commits = read_commits(&*file, start, size)?;
    let meta = commits.newest.ok_or_else(|| corrupt("it has no commit"))?;
    let rev: Tid = meta.rev.parse().map_err(|_| corrupt("a revision is malformed"))?;
    let windows = u32::try_from(size >> WINDOW_BITS).map_err(|_| corrupt("it is too long"))?;
    let window = |number| Segment {
        number,
        file: Arc::new(Window {
            file: Arc::clone(&file),
            start: u64::from(number) << WINDOW_BITS,
        }),
        after_seq: 0,
        closed: None,
    };
    let view = View {
        head: Head {
            seq: meta.seq,
            commit: meta.commit,
            rev,
            data: meta.data,
        },
        log_id: *log_id,
        segments: Arc::new((0..=windows).map(window).collect()),
        end: segment::start(1),
        last: (meta.seq, 0),
        dropped_seq: meta.seq,
        blocks: Arc::new(Blocks {
            snapshot: None,
            frozen: None,
            recent: Arc::new(Recent::of(commits.blocks)),
        }),
        nodes: Arc::new(NodeCache::new(0)),
        pin: Arc::default(),
    };
    let job = SnapshotJob {
        disk: Arc::clone(disk),
        view,
        stop: Arc::default(),
        is_perhaps_named: false,
    };
    let snapshot = job.run()?.ok_or(RepoError::Closed)?;
    Ok(snapshot.info)
}

/// Whether the folder has an old log that was not set aside: it is to be converted, or its conversion to be announced.
pub(crate) fn is_present(disk: &dyn Disk) -> Result<bool, RepoError> {
    let old = disk
        .open(FILE)
        .map_err(|error| disk::failed(disk, "open", FILE, error))?;
    Ok(old.is_some())
}

/// Gives an old log that was converted another name.
pub(crate) fn set_aside(disk: &dyn Disk) -> Result<(), RepoError> {
    let failed = |error| disk::failed(disk, "set aside", FILE, error);
    if disk.open(FILE).map_err(failed)?.is_some() {
        disk.rename(FILE, ASIDE).map_err(failed)?;
        disk.sync_names().map_err(failed)?;
        tracing::info!(
            name = ASIDE,
            "the old log is not needed any more and can be deleted"
        );
    }
    Ok(())
}

fn corrupt(what: &str) -> RepoError {
    RepoError::corrupt(format!("{FILE}: {what}"))
}

fn read(file: &dyn DiskFile, position: u64, length: usize) -> Result<Vec<u8>, RepoError> {
    disk::read(file, position, length).map_err(|error| disk::failed_at("read", FILE.as_ref(), error))
}

/// Checks the header; returns where the first commit begins.
fn read_header(file: &dyn DiskFile, did: &Did) -> Result<u64, RepoError> {
    let fixed = read(file, 0, FILE_MAGIC.len() + 16 + 4)?;
    let did_len = fixed
        .last_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes) as usize)
        .filter(|length| *length <= 2048 && fixed.starts_with(&FILE_MAGIC))
        .ok_or_else(|| corrupt("it does not begin like a repository's log"))?;
    let content_len = fixed.len() + did_len;
    let whole = read(file, 0, content_len + HASH_LEN)?;
    let (content, hash) = whole.split_at(content_len);
    if Sha256::digest(content).as_slice() != hash {
        return Err(corrupt("its header does not match its hash"));
    }
    let found = String::from_utf8_lossy(&content[fixed.len()..]).into_owned();
    if found != did.as_str() {
        return Err(RepoError::OtherDid {
            expected: did.clone(),
            found,
        });
    }
    Ok(whole.len() as u64)
}

#[derive(Default)]
struct Commits {
    newest: Option<CommitMeta>,
    blocks: HashMap<BlockKey, Slot>,
}

fn read_commits(file: &dyn DiskFile, start: u64, size: u64) -> Result<Commits, RepoError> {
    let mut commits = Commits::default();
    let mut position = start;
    while position < size {
        let Some(bytes) = read_frame(file, position, size)? else {
            check_tail(file, position, size)?;
            break;
        };
        let frame = Frame::parse(&bytes).map_err(|damage| corrupt(damage.0))?;
        let rev: Tid = frame
            .meta
            .rev
            .parse()
            .map_err(|_| corrupt("a revision is malformed"))?;
        for section in frame.new_blocks().map_err(|damage| corrupt(damage.0))? {
            let at = position + section.content.start as u64;
            let slot = Slot::new(
                u32::try_from(at >> WINDOW_BITS).map_err(|_| corrupt("it is too long"))?,
                u32::try_from(at & ((1 << WINDOW_BITS) - 1)).unwrap_or(0),
                u32::try_from(section.content.len()).map_err(|_| corrupt("a block is too long"))?,
                rev_number(&rev),
            );
            commits.blocks.insert(BlockKey::known(&section.cid)?, slot);
        }
        for cid in &frame.meta.removed {
            commits.blocks.remove(&BlockKey::known(cid)?);
        }
        position += bytes.len() as u64;
        commits.newest = Some(frame.meta);
    }
    Ok(commits)
}

/// The whole frame at `position`; `None` if it is damaged.
fn read_frame(file: &dyn DiskFile, position: u64, size: u64) -> Result<Option<Vec<u8>>, RepoError> {
    let available = usize::try_from(size - position).unwrap_or(usize::MAX);
    let header = read(file, position, available.min(HEADER_LEN))?;
    let Ok(header) = FrameHeader::parse(&header) else {
        return Ok(None);
    };
    if header.frame_len() > available {
        return Ok(None);
    }
    let bytes = read(file, position, header.frame_len())?;
    Ok(Frame::parse(&bytes).is_ok().then_some(bytes))
}

/// Damage that an acknowledged commit follows is no crash.
fn check_tail(file: &dyn DiskFile, damaged: u64, size: u64) -> Result<(), RepoError> {
    let length = size - damaged;
    let tail = if length > MAX_TAIL {
        return Err(corrupt(&format!(
            "it is damaged at byte {damaged}, far before its end"
        )));
    } else {
        read(file, damaged, usize::try_from(length).unwrap_or(0))?
    };
    for (at, candidate) in tail.windows(MAGIC.len()).enumerate().skip(1) {
        let rest = tail.get(at..).unwrap_or_default();
        if candidate == MAGIC && Frame::parse(rest).is_ok_and(|frame| frame.header.batch_start > damaged) {
            return Err(corrupt(&format!(
                "it is damaged at byte {damaged}; acknowledged commits follow, so this was no crash"
            )));
        }
    }
    tracing::warn!(
        position = damaged,
        bytes = length,
        "the old log ends in a commit that was never acknowledged"
    );
    Ok(())
}

/// A part of the old log that is read like a segment.
#[derive(Debug)]
struct Window {
    file: Arc<dyn DiskFile>,
    start: u64,
}

impl DiskFile for Window {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(self.start + position, buffer)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
