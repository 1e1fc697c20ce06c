//! CAR version 1, read and written: a header that names the root, then blocks.
//!
//! # Spec
//! IPLD "CARv1"; atproto specs "Repository", CAR file serialization.

use atcr_atproto::syntax::Cid;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Header<'a> {
    roots: &'a [Cid],
    version: u8,
}

#[derive(Deserialize)]
struct FoundHeader {
    roots: Vec<Cid>,
    version: u8,
}

/// Appends the header of a CAR whose root is `root`.
pub fn write_header(out: &mut Vec<u8>, root: Cid) {
    write_roots(out, &[root]);
}

/// Appends the header of a CAR that is a heap of blocks.
pub fn write_header_without_root(out: &mut Vec<u8>) {
    write_roots(out, &[]);
}

fn write_roots(out: &mut Vec<u8>, roots: &[Cid]) {
    // CIDs and a number always encode.
    let header = serde_ipld_dagcbor::to_vec(&Header { roots, version: 1 }).unwrap_or_default();
    write_varint(out, header.len());
    out.extend_from_slice(&header);
}

/// Appends one block; returns the length of its content's prefix, in bytes.
pub fn write_block(out: &mut Vec<u8>, cid: &Cid, content: &[u8]) -> usize {
    let start = out.len();
    let name = cid.to_bytes();
    write_varint(out, name.len() + content.len());
    out.extend_from_slice(&name);
    let prefix = out.len() - start;
    out.extend_from_slice(content);
    prefix
}

/// A whole CAR.
#[must_use]
pub fn of_blocks<'a>(root: Cid, blocks: impl IntoIterator<Item = (&'a Cid, &'a [u8])>) -> Bytes {
    let mut out = Vec::new();
    write_header(&mut out, root);
    for (cid, content) in blocks {
        write_block(&mut out, cid, content);
    }
    out.into()
}

/// The length in bytes of the header at the start of `bytes`; `None` if there is none. Its content is not checked.
#[must_use]
pub fn header_len(bytes: &[u8]) -> Option<usize> {
    let (length, prefix) = read_varint(bytes)?;
    prefix.checked_add(length).filter(|end| *end <= bytes.len())
}

/// The root that the header at the start of `bytes` names, and the header's length in bytes. `None` if it is no header of
/// version 1 with one root or more; the first is taken, as for a repository.
#[must_use]
pub fn read_header(bytes: &[u8]) -> Option<(Cid, usize)> {
    let (length, prefix) = read_varint(bytes)?;
    let end = prefix.checked_add(length)?;
    let header: FoundHeader = serde_ipld_dagcbor::from_slice(bytes.get(prefix..end)?).ok()?;
    let root = header.roots.first().filter(|_| header.version == 1)?;
    Some((*root, end))
}

/// One block of a CAR, and the position of its content in the bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The block's name.
    pub cid: Cid,
    /// Its content.
    pub content: std::ops::Range<usize>,
}

/// Reads the block that begins at `start` of `bytes`, without checking its hash. `None` if there is none.
#[must_use]
pub fn read_block(bytes: &[u8], start: usize) -> Option<Section> {
    let (length, prefix) = read_varint(bytes.get(start..)?)?;
    let name_start = start.checked_add(prefix)?;
    let end = name_start.checked_add(length)?;
    let section = bytes.get(name_start..end)?;
    let mut rest = section;
    let cid = Cid::read_bytes(&mut rest).ok()?;
    Some(Section {
        cid,
        content: end - rest.len()..end,
    })
}

fn write_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// The number and its encoded length in bytes.
fn read_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    // Five bytes are 35 bits, more than any block has.
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}
