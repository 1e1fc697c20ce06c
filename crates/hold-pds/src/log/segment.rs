//! Files of the log: a header of 512 bytes, then entries, then zeros.

use std::sync::Arc;

use super::manifest::Closed;
use super::{LogId, Position};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;

const MAGIC: [u8; 8] = *b"atcrlog\x02";
/// One sector, so that no later write can tear it.
pub(crate) const HEADER_LEN: u32 = 512;

/// A segment that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    /// All its events are newer.
    pub(crate) after_seq: u64,
    /// `None` for the one that is written.
    pub(crate) closed: Option<Closed>,
}

/// The name of a segment's file.
pub(crate) fn name(number: u32) -> String {
    format!("{number:010}.seg")
}

/// The number in a file's name.
pub(crate) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 10).then(|| digits.parse().ok()).flatten()
}

/// Where the first entry of a segment begins.
pub(crate) fn start(number: u32) -> Position {
    Position::new(number, HEADER_LEN)
}

fn header(number: u32, log_id: &LogId) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(log_id);
    bytes.extend(number.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes.resize(HEADER_LEN as usize, 0);
    bytes
}

/// Makes the file of a segment with these entries, and zeros up to `size`. What had the name is replaced.
pub(crate) fn create(
    disk: &dyn Disk,
    number: u32,
    log_id: &LogId,
    entries: &[u8],
    size: usize,
) -> Result<Arc<dyn DiskFile>, RepoError> {
    let mut content = header(number, log_id);
    content.extend(entries);
    content.resize(content.len().max(size), 0);
    disk::replace(disk, &name(number), &content)
}

/// Opens a segment's file and looks at its header.
pub(crate) fn open(
    disk: &dyn Disk,
    number: u32,
    log_id: &LogId,
) -> Result<Option<Arc<dyn DiskFile>>, RepoError> {
    let name = name(number);
    let failed = |error| disk::failed(disk, "read", &name, error);
    let Some(file) = disk.open(&name).map_err(failed)? else {
        return Ok(None);
    };
    let size = file.size().map_err(failed)?;
    let expected = header(number, log_id);
    if size < expected.len() as u64 || disk::read(&*file, 0, expected.len()).map_err(failed)? != expected {
        return Err(RepoError::corrupt(format!(
            "{} does not begin like a segment of this log",
            disk.folder().join(&name).display()
        )));
    }
    Ok(Some(file))
}

/// Whether the file of a segment has nothing behind its header.
pub(crate) fn is_unused(disk: &dyn Disk, number: u32) -> Result<bool, RepoError> {
    let name = name(number);
    let failed = |error| disk::failed(disk, "read", &name, error);
    let Some(file) = disk.open(&name).map_err(failed)? else {
        return Ok(true);
    };
    let size = usize::try_from(file.size().map_err(failed)?).unwrap_or(usize::MAX);
    let content = disk::read(&*file, 0, size).map_err(failed)?;
    let entries = content.get(HEADER_LEN as usize..).unwrap_or_default();
    Ok(entries.iter().all(|byte| *byte == 0))
}
