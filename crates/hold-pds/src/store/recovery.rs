//! Bringing the index up to the log, and the log back to its last whole commit.
//!
//! After a crash the log may end in a piece of a batch that nobody was told about: it is cut off. Damage that a later
//! batch follows is not a crash, since a batch is only begun when the one before is on the disk: then nothing is cut and
//! opening fails.

use super::apply::{PlacedFrame, damage};
use super::block_log::blocking;
use super::frame::{Damage, Frame, FrameHeader, HEADER_LEN, MAGIC};
use super::index::State;
use super::{BlockLog, Index};
use crate::error::RepoError;
use crate::head::Head;

/// Frames of one transaction, and the bytes at which it ends early.
const FRAMES_PER_TRANSACTION: usize = 256;
const BYTES_PER_TRANSACTION: usize = 8 * 1024 * 1024;
/// Bytes read at once when looking for a later batch.
const SEARCH_WINDOW: usize = 1024 * 1024;

/// Where things stand after recovery.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// `None` for a log without commits.
    pub(crate) head: Option<Head>,
    /// The log's end.
    pub(crate) end: u64,
}

/// Makes the log end with its last whole commit and the index follow to there.
pub(crate) async fn recover(
    log: &BlockLog,
    index: &Index,
    state: Option<State>,
) -> Result<Recovered, RepoError> {
    if let Some(state) = &state {
        check_indexed(log, state).await?;
    }
    let from = state.as_ref().map_or(log.start(), |state| state.indexed_bytes);
    let caught_up = catch_up(log, index, from).await?;
    let end = caught_up.end;
    if let Some(damage) = caught_up.damage {
        let log = log.clone();
        blocking(move || cut_off(&log, end, damage)).await?;
    }
    if end > from {
        tracing::info!(path = %log.path().display(), bytes = end - from, "the index was brought up to the log");
        // The process that wrote these commits may have died before its sync.
        let log = log.clone();
        blocking(move || log.sync()).await?;
    }
    Ok(Recovered {
        head: caught_up.head.or(state.map(|state| state.head)),
        end,
    })
}

/// The index must not know more than the log: commits that were acknowledged are missing then.
async fn check_indexed(log: &BlockLog, state: &State) -> Result<(), RepoError> {
    let log = log.clone();
    let (position, end) = (state.last_frame, state.indexed_bytes);
    blocking(move || {
        if log.len()? < end {
            return Err(log.corrupt(
                "it ends before the last commit that was acknowledged; restore it, or remove index.sqlite to go on \
                 without those commits",
            ));
        }
        let length = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
        let bytes = log.read(position, length)?;
        Frame::parse(&bytes).map(|_| ()).map_err(|damage| log.corrupt(damage.0))
    })
    .await
}

/// How far the log could be followed.
#[derive(Debug)]
pub(crate) struct CaughtUp {
    /// The newest commit that was indexed now.
    pub(crate) head: Option<Head>,
    /// The end of the last whole frame.
    pub(crate) end: u64,
    /// What is wrong with the bytes behind it, if there are any.
    pub(crate) damage: Option<Damage>,
}

/// Indexes the log from `from` on.
pub(crate) async fn catch_up(log: &BlockLog, index: &Index, from: u64) -> Result<CaughtUp, RepoError> {
    let mut result = CaughtUp {
        head: None,
        end: from,
        damage: None,
    };
    loop {
        let (reader, position) = (log.clone(), result.end);
        let chunk = blocking(move || read_chunk(&reader, position)).await?;
        let mut frames = Vec::with_capacity(chunk.frames.len());
        for (position, bytes) in &chunk.frames {
            let frame = Frame::parse(bytes).map_err(damage)?;
            frames.push(PlacedFrame {
                position: *position,
                frame,
            });
        }
        // Nobody reads an older commit than the newest that is indexed.
        if let Some(head) = index.apply(log.log_id(), &frames, 0).await? {
            result.head = Some(head);
        }
        result.end = chunk.end;
        if chunk.frames.is_empty() {
            result.damage = chunk.damage;
            return Ok(result);
        }
    }
}

struct Chunk {
    frames: Vec<(u64, Vec<u8>)>,
    end: u64,
    damage: Option<Damage>,
}

/// Some whole frames from `position` on; `damage` says why there is none.
fn read_chunk(log: &BlockLog, position: u64) -> Result<Chunk, RepoError> {
    let length = log.len()?;
    let mut chunk = Chunk {
        frames: Vec::new(),
        end: position,
        damage: None,
    };
    let mut bytes_read = 0;
    while chunk.end < length
        && chunk.frames.len() < FRAMES_PER_TRANSACTION
        && bytes_read < BYTES_PER_TRANSACTION
    {
        match read_frame(log, chunk.end, length)? {
            Ok(bytes) => {
                bytes_read += bytes.len();
                let next = chunk.end + bytes.len() as u64;
                chunk.frames.push((chunk.end, bytes));
                chunk.end = next;
            }
            Err(damage) => {
                chunk.damage = Some(damage);
                break;
            }
        }
    }
    Ok(chunk)
}

/// The whole frame at `position`, its hash checked.
fn read_frame(log: &BlockLog, position: u64, file_len: u64) -> Result<Result<Vec<u8>, Damage>, RepoError> {
    let available = usize::try_from(file_len - position).unwrap_or(usize::MAX);
    let header = log.read(position, available.min(HEADER_LEN))?;
    let length = match FrameHeader::parse(&header) {
        Ok(header) => header.frame_len(),
        Err(damage) => return Ok(Err(damage)),
    };
    if length > available {
        return Ok(Err(Damage("the file ends inside a commit")));
    }
    let bytes = log.read(position, length)?;
    Ok(Frame::parse(&bytes).map(|_| ()).map(|()| bytes))
}

fn cut_off(log: &BlockLog, end: u64, damage: Damage) -> Result<(), RepoError> {
    let length = log.len()?;
    if later_batch_follows(log, end, length)? {
        return Err(log.corrupt(&format!(
            "at byte {end}: {}; whole commits follow, so this was no crash",
            damage.0
        )));
    }
    tracing::warn!(
        path = %log.path().display(),
        position = end,
        bytes = length - end,
        reason = damage.0,
        "the log ends in a commit that was never acknowledged; it is cut off"
    );
    log.truncate(end)
}

/// Whether a frame behind `damaged` belongs to a batch that was begun after the damaged one was on the disk.
fn later_batch_follows(log: &BlockLog, damaged: u64, file_len: u64) -> Result<bool, RepoError> {
    let mut position = damaged + 1;
    while position < file_len {
        let length = usize::try_from(file_len - position)
            .unwrap_or(usize::MAX)
            .min(SEARCH_WINDOW);
        let window = log.read(position, length)?;
        for (at, candidate) in window.windows(MAGIC.len()).enumerate() {
            if candidate != MAGIC {
                continue;
            }
            let start = position + at as u64;
            if let Ok(bytes) = read_frame(log, start, file_len)?
                && FrameHeader::parse(&bytes).is_ok_and(|header| header.batch_start > damaged)
            {
                return Ok(true);
            }
        }
        if length < SEARCH_WINDOW {
            break;
        }
        // The next window overlaps, for a magic on the border.
        position += (SEARCH_WINDOW - MAGIC.len() + 1) as u64;
    }
    Ok(false)
}
