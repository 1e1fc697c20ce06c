//! One event in the log.
//!
//! ```text
//!  0  u32  CRC-32 of bytes 4..72
//!  4  u32  CRC-32 of the aux part
//!  8  u32  CRC-32 of the frame
//! 12  u8   kind: 1 commit, 2 identity, 3 account, 4 sync
//! 13       zeros
//! 16  u64  first half of the log's id
//! 24  u64  own position
//! 32  u64  durable: what was on the disk when the batch of this entry began
//! 40  u64  seq
//! 48  u64  time, microseconds since 1970
//! 56  u32  length of the aux part
//! 60  u32  length of the frame
//! 64       zeros
//! 72       aux part, frame, zeros up to a multiple of 8
//! ```
//!
//! Numbers are little-endian. The frame is the message that subscribers get. The aux part is for restarts: the commit, and
//! the blocks that came and went. `durable` tells a torn tail from damage: an entry whose batch began after another entry
//! was on the disk proves that the other one was acknowledged.

use atcr_atproto::syntax::Cid;
use bytes::Bytes;

use super::{LogId, Position};
use crate::blocks::BlockKey;

pub(crate) const HEADER_LEN: usize = 72;
/// Entries begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// No event comes near; a greater length is damage.
const MAX_PART_LEN: u32 = 64 * 1024 * 1024;
/// A CIDv1 of DAG-CBOR with SHA-256.
const CID_LEN: usize = 36;
const CHANGE_LEN: usize = 28;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit = 1,
    Identity = 2,
    Account = 3,
    Sync = 4,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) &'static str);

/// A block that came or went with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockChange {
    pub(crate) key: BlockKey,
    /// Where its content lies, from the beginning of the frame; 0 for a block that went.
    pub(crate) offset: u32,
    /// Bytes of its content; 0 for a block that went.
    pub(crate) length: u32,
    /// How many more places in the repository refer to it.
    pub(crate) references: i32,
}

/// What a restart needs to know of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aux {
    pub(crate) commit: Cid,
    pub(crate) data: Cid,
    pub(crate) rev: u64,
    pub(crate) blocks: Vec<BlockChange>,
}

impl Aux {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * CID_LEN + 8 + self.blocks.len() * CHANGE_LEN);
        out.extend(self.commit.to_bytes());
        out.extend(self.data.to_bytes());
        out.extend(self.rev.to_le_bytes());
        for change in &self.blocks {
            out.extend(change.key.0);
            out.extend(change.offset.to_le_bytes());
            out.extend(change.length.to_le_bytes());
            out.extend(change.references.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let damage = Damage("a commit's description does not parse");
        let parse = || {
            let (commit, rest) = bytes.split_at_checked(CID_LEN)?;
            let (data, rest) = rest.split_at_checked(CID_LEN)?;
            let (rev, changes) = rest.split_at_checked(8)?;
            let mut blocks = Vec::with_capacity(changes.len() / CHANGE_LEN);
            for change in changes.chunks(CHANGE_LEN) {
                blocks.push(BlockChange {
                    key: BlockKey(change.get(..16)?.try_into().ok()?),
                    offset: u32::from_le_bytes(change.get(16..20)?.try_into().ok()?),
                    length: u32::from_le_bytes(change.get(20..24)?.try_into().ok()?),
                    references: i32::from_le_bytes(change.get(24..28)?.try_into().ok()?),
                });
            }
            Some(Self {
                commit: Cid::try_from(commit).ok()?,
                data: Cid::try_from(data).ok()?,
                rev: u64::from_le_bytes(rev.try_into().ok()?),
                blocks,
            })
        };
        parse().ok_or(damage)
    }
}

/// An event that has no place in the log yet.
#[derive(Clone, Debug)]
pub(crate) struct PendingEntry {
    pub(crate) kind: Kind,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    /// Of commits.
    pub(crate) aux: Option<Aux>,
    pub(crate) frame: Bytes,
}

impl PendingEntry {
    /// Bytes that it will take.
    pub(crate) fn len(&self) -> usize {
        let aux = self
            .aux
            .as_ref()
            .map_or(0, |aux| 2 * CID_LEN + 8 + aux.blocks.len() * CHANGE_LEN);
        (HEADER_LEN + aux + self.frame.len()).next_multiple_of(ALIGNMENT)
    }

    /// Appends it to `out`; returns where in the entry the frame begins. `None` if a part is too long.
    pub(crate) fn encode(
        &self,
        out: &mut Vec<u8>,
        log_id: &LogId,
        position: Position,
        durable: Position,
    ) -> Option<usize> {
        let part_len = |length: usize| {
            u32::try_from(length)
                .ok()
                .filter(|length| *length <= MAX_PART_LEN)
        };
        let aux = self.aux.as_ref().map(Aux::encode).unwrap_or_default();
        let (aux_len, frame_len) = (part_len(aux.len())?, part_len(self.frame.len())?);
        let mut header = [0; HEADER_LEN];
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = header.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(4, &crc32fast::hash(&aux).to_le_bytes());
        put(8, &crc32fast::hash(&self.frame).to_le_bytes());
        put(12, &[self.kind as u8]);
        put(16, &log_id[..8]);
        put(24, &position.to_u64().to_le_bytes());
        put(32, &durable.to_u64().to_le_bytes());
        put(40, &self.seq.to_le_bytes());
        put(48, &self.time.to_le_bytes());
        put(56, &aux_len.to_le_bytes());
        put(60, &frame_len.to_le_bytes());
        let crc = crc32fast::hash(&header[4..]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        let start = out.len();
        out.extend(header);
        out.extend(&aux);
        let frame_start = out.len() - start;
        out.extend(&*self.frame);
        out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT), 0);
        Some(frame_start)
    }
}

/// The header of an entry whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryHeader {
    pub(crate) kind: Kind,
    pub(crate) position: Position,
    pub(crate) durable: Position,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    aux_crc: u32,
    frame_crc: u32,
    aux_len: u32,
    frame_len: u32,
}

impl EntryHeader {
    /// Reads the header of the entry at `position` of the log.
    pub(crate) fn parse(bytes: &[u8], log_id: &LogId, position: Position) -> Result<Self, Damage> {
        let header: &[u8; HEADER_LEN] = bytes
            .first_chunk()
            .ok_or(Damage("the log ends inside the header of an event"))?;
        let u32_at = |at: usize| {
            let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        let u64_at = |at: usize| {
            let bytes = header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        if u32_at(0) != crc32fast::hash(&header[4..]) || header[16..24] != log_id[..8] {
            return Err(Damage("no event begins here"));
        }
        let kind = match header[12] {
            1 => Kind::Commit,
            2 => Kind::Identity,
            3 => Kind::Account,
            4 => Kind::Sync,
            _ => return Err(Damage("an event of unknown kind")),
        };
        let header = Self {
            kind,
            position: Position::from_u64(u64_at(24)),
            durable: Position::from_u64(u64_at(32)),
            seq: u64_at(40),
            time: u64_at(48),
            aux_crc: u32_at(4),
            frame_crc: u32_at(8),
            aux_len: u32_at(56),
            frame_len: u32_at(60),
        };
        if header.position != position {
            return Err(Damage("an event of another place"));
        }
        if header.aux_len > MAX_PART_LEN || header.frame_len > MAX_PART_LEN {
            return Err(Damage("impossible length"));
        }
        Ok(header)
    }

    /// Bytes of the whole entry.
    pub(crate) fn entry_len(&self) -> usize {
        (self.frame_start() + self.frame_len as usize).next_multiple_of(ALIGNMENT)
    }

    /// Where in the entry the frame begins.
    pub(crate) fn frame_start(&self) -> usize {
        HEADER_LEN + self.aux_len as usize
    }

    /// The aux part of the entry that `entry` begins with.
    pub(crate) fn aux<'a>(&self, entry: &'a [u8]) -> Result<&'a [u8], Damage> {
        entry
            .get(HEADER_LEN..self.frame_start())
            .filter(|aux| crc32fast::hash(aux) == self.aux_crc)
            .ok_or(Damage("an event's description does not match its checksum"))
    }

    /// The frame of the entry that `entry` begins with.
    pub(crate) fn frame<'a>(&self, entry: &'a [u8]) -> Result<&'a [u8], Damage> {
        entry
            .get(self.frame_start()..self.frame_start() + self.frame_len as usize)
            .filter(|frame| crc32fast::hash(frame) == self.frame_crc)
            .ok_or(Damage("an event does not match its checksum"))
    }
}
