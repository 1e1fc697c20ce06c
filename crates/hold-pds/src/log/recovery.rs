//! Recovery after a crash, and detection of damage that a crash cannot have caused.
//!
//! The open segment may end in pieces of a batch that was never acknowledged: these are set aside. Its valid entries are
//! copied to a new file, which is synced before any of them is trusted: what the page cache holds after a failed sync may
//! not be on the disk. Damage before an acknowledged batch was not caused by a crash: nothing is changed and opening fails.

use std::sync::Arc;

use super::append::LogParts;
use super::entry::{ALIGNMENT, Aux, Damage, EntryHeader, Kind};
use super::manifest::Manifest;
use super::read::EntryReader;
use super::segment::{self, Segment};
use super::{LogId, LogLimits, Position};
use crate::disk::{self, Disk};
use crate::error::RepoError;

/// Brings the files in line with the manifest, and calls `commit` with each commit after the snapshot: where its frame
/// begins, the seq, and what it did.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    manifest: Manifest,
    limits: &LogLimits,
    mut commit: impl FnMut(Position, u64, Aux) -> Result<(), RepoError>,
) -> Result<LogParts, RepoError> {
    let next_number = remove_unnamed(&**disk, &manifest)?;
    let mut segments = Vec::with_capacity(manifest.segments.len());
    let (mut allocated, mut end) = (0, Position::default());
    for info in &manifest.segments {
        let name = segment::name(info.number);
        let file = segment::open(&**disk, info.number, &manifest.log_id)?;
        let mut file = file.ok_or_else(|| RepoError::Incomplete {
            folder: disk.folder().to_owned(),
            missing: name.clone(),
        })?;
        let size = |file: &dyn disk::DiskFile| {
            file.size()
                .map_err(|error| disk::failed(&**disk, "look at", &name, error))
        };
        match info.closed {
            Some(closed) if size(&*file)? < u64::from(closed.end) => {
                return Err(RepoError::corrupt(format!("{name} is shorter than it should be")));
            }
            Some(_) => {}
            None => {
                let content = disk::read(&*file, 0, usize::try_from(size(&*file)?).unwrap_or(usize::MAX))
                    .map_err(|error| disk::failed(&**disk, "read", &name, error))?;
                let valid = valid_entries(&**disk, &content, &manifest.log_id, info.number)?;
                let prefill = limits.prefill_bytes as usize;
                file = segment::create(&**disk, info.number, &manifest.log_id, valid, prefill)?;
                allocated = size(&*file)?;
                end = Position::new(info.number, offset(segment::HEADER_LEN as usize + valid.len())?);
            }
        }
        segments.push(Segment {
            number: info.number,
            file,
            after_seq: info.after_seq,
            closed: info.closed,
        });
    }
    let mut last = manifest
        .snapshot
        .as_ref()
        .map_or((0, 0), |snapshot| (snapshot.seq, snapshot.time));
    let from = manifest.replay_from();
    if from > end {
        return Err(RepoError::corrupt(
            "the log ends before the snapshot: acknowledged writes are missing",
        ));
    }
    let mut reader = EntryReader::new(Arc::new(segments.clone()), manifest.log_id, from, end);
    while let Some(entry) = reader.next_entry()? {
        let header = entry.header;
        if header.seq <= last.0 {
            return Err(RepoError::corrupt(format!(
                "event {} does not follow event {}",
                header.seq, last.0
            )));
        }
        last = (header.seq, header.time);
        if header.kind == Kind::Commit {
            let aux = header.aux(entry.bytes).and_then(Aux::decode);
            let aux = aux.map_err(|damage| {
                RepoError::corrupt(format!("the log is damaged in {}: {}", header.position, damage.0))
            })?;
            let frame = Position::new(
                header.position.segment,
                offset(header.position.offset as usize + header.frame_start())?,
            );
            commit(frame, header.seq, aux)?;
        }
    }
    if let Some(open) = manifest.segments.last() {
        last.0 = last.0.max(open.after_seq);
    }
    Ok(LogParts {
        manifest,
        segments,
        allocated,
        end,
        last,
        next_number,
    })
}

/// Removes what a crash left half done; returns a number that no segment ever had.
fn remove_unnamed(disk: &dyn Disk, manifest: &Manifest) -> Result<u32, RepoError> {
    let newest = manifest.segments.last().map_or(0, |info| info.number);
    let mut next = newest.saturating_add(1);
    let names = disk
        .names()
        .map_err(|error| disk::failed(disk, "list", "", error))?;
    for name in names {
        let snapshot = manifest.snapshot.as_ref().map(|snapshot| snapshot.rev.as_str());
        let is_left_over = if let Some(number) = segment::number(&name) {
            next = next.max(number.saturating_add(1));
            if number > newest && has_entries(disk, number, &manifest.log_id)? {
                return Err(RepoError::corrupt(format!(
                    "{name} has events and the manifest does not name it: the manifest is older than the log"
                )));
            }
            manifest.segments.iter().all(|info| info.number != number)
        } else if let Some((stem, "car" | "tbl")) = name.rsplit_once('.') {
            Some(stem) != snapshot
        } else {
            name.ends_with(".tmp")
        };
        if is_left_over {
            disk.remove(&name)
                .map_err(|error| disk::failed(disk, "remove", &name, error))?;
        }
    }
    Ok(next)
}

/// Whether a segment's file has anything in it.
pub(crate) fn has_entries(disk: &dyn Disk, number: u32, log_id: &LogId) -> Result<bool, RepoError> {
    let start = segment::start(number);
    let Some(file) = segment::open(disk, number, log_id)? else {
        return Ok(false);
    };
    let mut header = [0; super::entry::HEADER_LEN];
    match file.read_at(u64::from(start.offset), &mut header) {
        Ok(()) => Ok(EntryHeader::parse(&header, log_id, start).is_ok()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(disk::failed(disk, "read", &segment::name(number), error)),
    }
}

/// The entries of the open segment up to the first that is not whole.
fn valid_entries<'a>(
    disk: &dyn Disk,
    content: &'a [u8],
    log_id: &LogId,
    number: u32,
) -> Result<&'a [u8], RepoError> {
    let start = segment::HEADER_LEN as usize;
    let mut end = start;
    let damage = loop {
        match entry_len(content, end, log_id, number)? {
            Ok(length) => end += length,
            Err(damage) => break damage,
        }
    };
    let rest = content.get(end..).unwrap_or_default();
    let name = segment::name(number);
    if rest.iter().any(|byte| *byte != 0) {
        if later_batch_follows(content, end, log_id, number)? {
            return Err(RepoError::corrupt(format!(
                "{} is damaged at byte {end}: {}; acknowledged events follow, so this was no crash",
                disk.folder().join(&name).display(),
                damage.0
            )));
        }
        tracing::warn!(
            name,
            position = end,
            reason = damage.0,
            "the log ends in an event that was never acknowledged; it is set aside"
        );
        let aside = format!("{name}.{end}.aside");
        if let Err(error) = disk::replace(disk, &aside, rest) {
            tracing::warn!(%error, "the end of the log could not be set aside and is dropped");
        }
    }
    Ok(content.get(start..end).unwrap_or_default())
}

/// The length of the entry at `at`, if all of it is there and undamaged.
fn entry_len(
    content: &[u8],
    at: usize,
    log_id: &LogId,
    number: u32,
) -> Result<Result<usize, Damage>, RepoError> {
    let bytes = content.get(at..).unwrap_or_default();
    let position = Position::new(number, offset(at)?);
    let whole = || {
        let header = EntryHeader::parse(bytes, log_id, position)?;
        header.aux(bytes)?;
        header.frame(bytes)?;
        (header.entry_len() <= bytes.len())
            .then(|| header.entry_len())
            .ok_or(Damage("the file ends inside an event"))
    };
    Ok(whole())
}

/// Whether a later entry was written after the `damaged` one was on the disk.
fn later_batch_follows(
    content: &[u8],
    damaged: usize,
    log_id: &LogId,
    number: u32,
) -> Result<bool, RepoError> {
    let damaged_at = Position::new(number, offset(damaged)?);
    for at in (damaged..content.len()).step_by(ALIGNMENT) {
        let bytes = content.get(at..).unwrap_or_default();
        if let Ok(header) = EntryHeader::parse(bytes, log_id, Position::new(number, offset(at)?))
            && header.durable > damaged_at
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn offset(length: usize) -> Result<u32, RepoError> {
    u32::try_from(length).map_err(|_| RepoError::corrupt("a segment is too long"))
}
