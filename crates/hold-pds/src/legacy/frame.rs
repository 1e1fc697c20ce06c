//! One commit in the log of an older version.
//!
//! ```text
//! magic            8 bytes
//! length of meta   u32, little-endian like all numbers here
//! length of new    u32
//! length of cover  u32
//! zero             u32
//! batch start      u64: where in the file the first commit of the same sync begins
//! meta             DAG-CBOR, CommitMeta
//! new blocks       CAR sections: the commit, new tree nodes, new records
//! covering blocks  CAR sections: nodes that are older, and that readers need to undo the operations
//! SHA-256          of all the above, 32 bytes
//! ```

use std::ops::Range;

use atcr_atproto::syntax::Cid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use atcr_repo::car;

/// Begins every frame. No text, so that nothing a record says looks like it by accident.
pub(crate) const MAGIC: [u8; 8] = [0xa7, 0xc2, 0x0f, b'c', b'm', b't', 0x01, 0x8e];
/// Length of everything before the meta part.
pub(crate) const HEADER_LEN: usize = 32;
const HASH_LEN: usize = 32;
/// No commit comes near; a greater length is damage.
const MAX_PART_LEN: u32 = 64 * 1024 * 1024;

/// What a commit did, beside its blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitMeta {
    pub(crate) seq: u64,
    /// RFC 3339.
    pub(crate) time: String,
    pub(crate) commit: Cid,
    pub(crate) rev: String,
    pub(crate) since: Option<String>,
    pub(crate) data: Cid,
    pub(crate) prev_data: Option<Cid>,
    pub(crate) ops: Vec<MetaOp>,
    /// Tree nodes and the commit that the repository no longer has.
    pub(crate) removed: Vec<Cid>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetaOp {
    pub(crate) path: String,
    pub(crate) cid: Option<Cid>,
    pub(crate) prev: Option<Cid>,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) &'static str);

/// The lengths that a frame begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHeader {
    meta: u32,
    new: u32,
    covering: u32,
    pub(crate) batch_start: u64,
}

impl FrameHeader {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let header = bytes
            .get(..HEADER_LEN)
            .ok_or(Damage("the file ends inside a header"))?;
        if header[..8] != MAGIC {
            return Err(Damage("no commit begins here"));
        }
        let header = Self {
            meta: u32_at(header, 8),
            new: u32_at(header, 12),
            covering: u32_at(header, 16),
            batch_start: u64_at(header, 24),
        };
        if [header.meta, header.new, header.covering]
            .iter()
            .any(|length| *length > MAX_PART_LEN)
        {
            return Err(Damage("impossible length"));
        }
        Ok(header)
    }

    /// Length of the whole frame.
    pub(crate) fn frame_len(&self) -> usize {
        HEADER_LEN
            + [self.meta, self.new, self.covering]
                .iter()
                .map(|length| *length as usize)
                .sum::<usize>()
            + HASH_LEN
    }
}

/// A frame whose hash is right.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    bytes: &'a [u8],
    pub(crate) header: FrameHeader,
    pub(crate) meta: CommitMeta,
}

impl<'a> Frame<'a> {
    /// Reads the frame that `bytes` begin with.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        let header = FrameHeader::parse(bytes)?;
        let length = header.frame_len();
        let frame = bytes
            .get(..length)
            .ok_or(Damage("the file ends inside a commit"))?;
        let (content, hash) = frame.split_at(length - HASH_LEN);
        if Sha256::digest(content).as_slice() != hash {
            return Err(Damage("a commit does not match its hash"));
        }
        let meta = content
            .get(HEADER_LEN..HEADER_LEN + header.meta as usize)
            .unwrap_or_default();
        let meta = serde_ipld_dagcbor::from_slice(meta)
            .map_err(|_| Damage("a commit's description does not parse"))?;
        Ok(Self {
            bytes: frame,
            header,
            meta,
        })
    }

    /// Where the blocks lie in the frame, new and covering.
    pub(crate) fn blocks(&self) -> Range<usize> {
        let start = HEADER_LEN + self.header.meta as usize;
        start..start + self.header.new as usize + self.header.covering as usize
    }

    /// The new blocks, and where in the frame their content lies.
    pub(crate) fn new_blocks(&self) -> Result<Vec<car::Section>, Damage> {
        let end = self.blocks().start + self.header.new as usize;
        let mut sections = Vec::new();
        let mut position = self.blocks().start;
        while position < end {
            let section =
                car::read_block(self.bytes, position).ok_or(Damage("a commit's blocks do not parse"))?;
            position = section.content.end;
            sections.push(section);
        }
        Ok(sections)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}
