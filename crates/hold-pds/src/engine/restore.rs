//! The way back from a copy of the files: the copy's events go into a new log, and the chain of commits is anchored anew.
//!
//! Commits that came after the copy are lost, and followers may have seen them. The first commit after a restore has a revision
//! and a number that none of the lost ones had: who is where the copy is goes on, who is further fetches the repository again.

use std::collections::VecDeque;
use std::sync::Arc;

use atcr_atproto::crypto::PublicKey;
use atcr_repo::Commit;
use rand::Rng as _;

use super::open::{LOCK, Occasion, check_empty};
use super::{Engine, EngineOptions, SEQ_GAP_MICROS, SharedDisk, Signers, no_blocks};
use crate::blocks::{Recent, View};
use crate::disk::{self, Disk};
use crate::error::RepoError;
use crate::head::Head;
use crate::log::append::LogParts;
use crate::log::entry::Damage;
use crate::log::{
    AppendError, Aux, Kind, Log, LogId, LogLimits, Manifest, PendingEntry, Position, Segment, manifest,
    segment,
};
use crate::progress::Progress;
use crate::repo::Seen;
use crate::repo::verify::{verify, verify_log};
use crate::snapshot::{Snapshot, car_name};

/// Bytes copied at once.
const PIECE: usize = 1024 * 1024;
/// Bytes of events that are synced at once.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A repository that was made from a copy.
#[derive(Debug)]
pub(crate) struct FromCopy {
    pub(crate) engine: Engine,
    /// The newest commit of the copy, with the number of its newest event.
    pub(crate) from: Head,
}

/// Makes the repository whose files are in `from` the one in `to`. All of it is read and checked first. One of `signed_by` may have
/// signed it; then followers are told of the key that signs from now on.
///
/// `to` must be empty, or what a restore that did not end has left. Until this returns, `to` does not open as a repository.
pub(crate) fn restore(
    from: &SharedDisk,
    to: &SharedDisk,
    options: EngineOptions,
    signed_by: &[PublicKey],
    progress: &Progress,
) -> Result<FromCopy, RepoError> {
    let limits = options.limits;
    let seen = options.seen.clone();
    progress.step("checking the copy", 0);
    let copy = Engine::open(
        Arc::clone(from),
        EngineOptions {
            must_exist: true,
            signers: Signers::OneOf(signed_by.to_vec()),
            ..options
        },
    )?;
    let occasion = check(&copy, signed_by)?;
    copy.check_clock()?;
    copy.advance_past(&seen)?;

    clear(to)?;
    let filled = fill(copy, to, limits, &seen, &occasion, progress);
    if filled.is_err() {
        abandon(&**to);
    }
    filled
}

/// Makes the repository of `copy` the one in the empty folder `to`.
fn fill(
    copy: Engine,
    to: &SharedDisk,
    limits: LogLimits,
    seen: &Seen,
    occasion: &Occasion,
    progress: &Progress,
) -> Result<FromCopy, RepoError> {
    let log_id: LogId = rand::rng().random();
    let mut new = Manifest::new(copy.did().as_str(), log_id, copy.view.dropped_seq, None);
    new.restoring = true;
    new.publish(&**to)?;
    let file = segment::create(&**to, 1, &log_id, &[], limits.prefill_bytes as usize)?;
    let snapshot = copy.view.blocks.snapshot.as_ref();
    let copied_snapshot = snapshot
        .map(|snapshot| copy_snapshot(snapshot, to, &log_id, progress))
        .transpose()?;

    let allocated = file
        .size()
        .map_err(|error| disk::failed(&**to, "look at", &segment::name(1), error))?;
    let mut log = Log::new(
        Arc::clone(to),
        limits,
        LogParts {
            segments: vec![Segment {
                number: 1,
                file,
                after_seq: new.dropped_seq,
                closed: None,
            }],
            manifest: new,
            allocated,
            end: segment::start(1),
            last: (copy.view.dropped_seq, 0),
            next_number: 2,
        },
    )?;
    let from_position = snapshot.map(|snapshot| Position::from_u64(snapshot.info.position));
    let (recent, position) = copy_events(&copy.view, &mut log, from_position, progress)?;
    // A second restore of the same copy skips further than the first: by the time in between.
    let (seq, time) = copy.view.last;
    let ahead = seq.saturating_sub(time);
    log.skip_numbers_to(copy.builder.now_micros().max(time) + ahead + SEQ_GAP_MICROS);
    log.skip_numbers_to(seen.skips_to());

    let snapshot = copied_snapshot.map(|mut snapshot| {
        snapshot.info.position = position.to_u64();
        Arc::new(snapshot)
    });
    let info = snapshot.as_ref().map(|snapshot| snapshot.info.clone());
    let mut blocks = no_blocks(snapshot);
    blocks.recent = Arc::new(recent);
    let (head, last_seq) = (copy.view.head.clone(), copy.view.last.0);
    let mut engine = Engine {
        view: View {
            log_id,
            segments: Arc::clone(log.segments()),
            end: log.end(),
            last: log.last(),
            blocks: Arc::new(blocks),
            ..copy.view.clone()
        },
        log,
        builder: copy.builder,
        announced: copy.announced,
        is_unknown: false,
        found_seq: last_seq,
        is_older_copy: false,
        perhaps_named: Vec::new(),
        over: VecDeque::new(),
    };
    engine.announce(occasion)?;
    engine.log.update_manifest(|manifest| {
        manifest.snapshot = info;
        manifest.restoring = false;
    })?;
    engine.refresh();
    Ok(FromCopy {
        from: Head {
            seq: last_seq,
            ..head
        },
        engine,
    })
}

/// Reads all of the copy. Returns what followers have to be told: of a new key, if another one signed the copy.
fn check(copy: &Engine, signed_by: &[PublicKey]) -> Result<Occasion, RepoError> {
    let commit = Commit::decode(&copy.view.block(&copy.view.head.commit)?)?;
    let own = copy.public_key();
    let mut keys = std::iter::once(&own).chain(signed_by);
    let signer = keys
        .find(|key| commit.is_signed_by(key))
        .ok_or(RepoError::OtherKey)?;
    verify_log(&copy.view)?;
    verify(copy.view.clone(), copy.did(), signer)?;
    Ok(if *signer == own {
        Occasion::NewLog
    } else {
        Occasion::NewKey
    })
}

/// Empties the folder of what a restore has left. Refuses to empty it of anything else.
fn clear(disk: &SharedDisk) -> Result<(), RepoError> {
    let failed = |action, name: &str, error| disk::failed(&**disk, action, name, error);
    let names = disk.names().map_err(|error| failed("list", "", error))?;
    match Manifest::read(&**disk)? {
        Some(manifest) if manifest.restoring => {}
        Some(_) => {
            return Err(RepoError::Exists {
                folder: disk.folder().to_owned(),
            });
        }
        None => check_empty(disk, &names)?,
    }
    // The manifest stays until another one replaces it: it keeps the folder from being opened.
    let is_kept = |name: &String| name == LOCK || name == manifest::FILE;
    for name in names.iter().filter(|name| !is_kept(name)) {
        disk.remove(name).map_err(|error| failed("remove", name, error))?;
    }
    disk.sync_names().map_err(|error| failed("sync", "", error))
}

/// Gives the room back that a restore has taken which did not work, such as for want of room. What cannot be removed the next one removes.
fn abandon(disk: &dyn Disk) {
    let remove = || -> std::io::Result<()> {
        for name in disk.names()? {
            if name != LOCK && name != manifest::FILE {
                disk.remove(&name)?;
            }
        }
        disk.sync_names()?;
        // The manifest goes last: until then it says that the folder is no repository.
        disk.remove(manifest::FILE)?;
        disk.sync_names()
    };
    // The last step may have made it one.
    if !matches!(Manifest::read(disk), Ok(Some(manifest)) if manifest.restoring) {
        return;
    }
    if let Err(error) = remove() {
        tracing::warn!(%error, "files of a restore that did not work could not be removed; the next one removes them");
    }
}

fn copy_snapshot(
    from: &Snapshot,
    to: &SharedDisk,
    log_id: &LogId,
    progress: &Progress,
) -> Result<Snapshot, RepoError> {
    let size = from.info.car_bytes;
    disk::replace_with(&**to, &car_name(&from.info.rev), |file| {
        let mut position = 0;
        while position < size {
            let length = usize::try_from(size - position).unwrap_or(usize::MAX).min(PIECE);
            file.write_at(position, &disk::read(&*from.car, position, length)?)?;
            position += length as u64;
            progress.step("copying the snapshot (bytes)", position);
        }
        Ok(())
    })?;
    Snapshot::open(to, log_id, &from.info)
}

/// Appends every event of `view` to `log`. Returns the blocks that came after the snapshot, and where in the new log the
/// snapshot's position is.
fn copy_events(
    view: &View,
    log: &mut Log,
    snapshot: Option<Position>,
    progress: &Progress,
) -> Result<(Recent, Position), RepoError> {
    let recent = Recent::default();
    let mut position = log.end();
    let mut reader = view.reader(Position::default());
    let mut batch: Vec<PendingEntry> = Vec::new();
    let mut bytes = 0;
    let mut copied = 0;
    let mut is_behind_snapshot = snapshot.is_none();
    let mut flush =
        |batch: &mut Vec<PendingEntry>, is_behind_snapshot: bool| -> Result<Position, RepoError> {
            if !batch.is_empty() {
                let frames = log.append(batch).map_err(|error| match error {
                    AppendError::NotWritten(error) | AppendError::Unknown(error) => error,
                })?;
                for (entry, frame) in batch.drain(..).zip(frames) {
                    if let Some(aux) = entry.aux.filter(|_| is_behind_snapshot) {
                        let over = recent.apply(frame, &aux);
                        recent.forget(&over);
                    }
                }
            }
            Ok(log.end())
        };
    while let Some(entry) = reader.next_entry()? {
        let damaged = |damage: Damage| {
            RepoError::corrupt(format!(
                "the log is damaged in {}: {}",
                entry.header.position, damage.0
            ))
        };
        if !is_behind_snapshot && snapshot.is_some_and(|snapshot| entry.header.position >= snapshot) {
            position = flush(&mut batch, false)?;
            bytes = 0;
            is_behind_snapshot = true;
        }
        let aux = match entry.header.kind {
            Kind::Commit => Some(
                entry
                    .header
                    .aux(entry.bytes)
                    .and_then(Aux::decode)
                    .map_err(damaged)?,
            ),
            _ => None,
        };
        let frame = entry.header.frame(entry.bytes).map_err(damaged)?;
        let pending = PendingEntry {
            kind: entry.header.kind,
            seq: entry.header.seq,
            time: entry.header.time,
            aux,
            frame: bytes::Bytes::copy_from_slice(frame),
        };
        bytes += pending.len();
        copied += 1;
        batch.push(pending);
        if bytes >= BATCH_BYTES {
            flush(&mut batch, is_behind_snapshot)?;
            bytes = 0;
            progress.step("copying events", copied);
        }
    }
    let end = flush(&mut batch, is_behind_snapshot)?;
    if !is_behind_snapshot {
        position = end;
    }
    Ok((recent, position))
}
