//! The positions of a snapshot's blocks in its CAR: sorted rows; a look-up takes one read. The file may be deleted: it is
//! rebuilt from the CAR.
//!
//! ```text
//! page 0      magic 8, log id 16, revision u64, pages u32, CRC-32 of the first keys, CRC-32 of the above
//! page 1…     127 rows of 32 bytes: key 16, offset u40, length u24, revision u64; at 4088 the number of rows u32 and a
//!             CRC-32 of the page so far
//! first keys  of each page, 16 bytes each
//! ```
//!
//! A record that stands under several paths has as many rows: they count its references.

use std::io;
use std::sync::Arc;

use super::{BlockKey, RowSorter};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;
use crate::log::LogId;

const MAGIC: [u8; 8] = *b"atcrtbl\x01";
const PAGE: usize = 4096;
pub(super) const ROW: usize = 32;
const ROWS: usize = 127;
const COUNT_AT: usize = PAGE - 8;
/// Pages written at once.
const WRITE_PAGES: usize = 64;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) key: BlockKey,
    pub(crate) offset: u64,
    pub(crate) length: usize,
    pub(crate) rev: u64,
}

impl Row {
    pub(super) fn encode(&self, out: &mut [u8]) {
        let mut bytes = [0; ROW];
        bytes[..16].copy_from_slice(&self.key.0);
        bytes[16..21].copy_from_slice(&self.offset.to_le_bytes()[..5]);
        bytes[21..24].copy_from_slice(&self.length.to_le_bytes()[..3]);
        bytes[24..].copy_from_slice(&self.rev.to_le_bytes());
        out.copy_from_slice(&bytes);
    }

    pub(super) fn decode(bytes: &[u8; ROW]) -> Self {
        let number = |range: std::ops::Range<usize>| {
            let mut number = [0; 8];
            number[..range.len()].copy_from_slice(&bytes[range]);
            u64::from_le_bytes(number)
        };
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[..16]);
        Self {
            key: BlockKey(key),
            offset: number(16..21),
            length: usize::try_from(number(21..24)).unwrap_or(0),
            rev: number(24..32),
        }
    }
}

/// An open table.
#[derive(Debug)]
pub(crate) struct Table {
    file: Arc<dyn DiskFile>,
    name: String,
    /// Of each page.
    first_keys: Vec<BlockKey>,
}

impl Table {
    /// Writes the table of `rows` as the file `name`.
    pub(crate) fn write(
        disk: &dyn Disk,
        name: &str,
        log_id: &LogId,
        rev: u64,
        rows: RowSorter,
    ) -> Result<Self, RepoError> {
        let mut first_keys = Vec::new();
        let file = disk::replace_with(disk, name, |file| {
            // What belongs here is known at the end.
            let mut pages = vec![0; PAGE];
            let mut position = 0;
            let mut rows = rows.sorted()?;
            loop {
                let next: Vec<Row> = rows.by_ref().take(ROWS).collect::<io::Result<_>>()?;
                if let Some(first) = next.first() {
                    first_keys.push(first.key);
                    pages.extend(page(&next));
                }
                if next.is_empty() || pages.len() >= PAGE * WRITE_PAGES {
                    file.write_at(position, &pages)?;
                    position += pages.len() as u64;
                    pages.clear();
                }
                if next.is_empty() {
                    break;
                }
            }
            let keys = first_keys.iter().flat_map(|key| key.0).collect::<Vec<u8>>();
            file.write_at(position, &keys)?;
            let header = header(log_id, rev, first_keys.len(), crc32fast::hash(&keys));
            file.write_at(0, &header)
        })?;
        Ok(Self {
            file,
            name: name.to_owned(),
            first_keys,
        })
    }

    /// Opens the table; `None` if there is none, or not the one of this snapshot.
    pub(crate) fn open(
        disk: &dyn Disk,
        name: &str,
        log_id: &LogId,
        rev: u64,
    ) -> Result<Option<Self>, RepoError> {
        let failed = |error| disk::failed(disk, "read", name, error);
        let Some(file) = disk.open(name).map_err(failed)? else {
            return Ok(None);
        };
        let size = file.size().map_err(failed)?;
        if size < PAGE as u64 {
            return Ok(None);
        }
        let found = disk::read(&*file, 0, PAGE).map_err(failed)?;
        let number = |at: usize| {
            let bytes = found.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        let (pages, keys_crc) = (number(32) as usize, number(36));
        let keys_at = PAGE as u64 * (pages as u64 + 1);
        if found != header(log_id, rev, pages, keys_crc) || size != keys_at + 16 * pages as u64 {
            return Ok(None);
        }
        let keys = disk::read(&*file, keys_at, pages * 16).map_err(failed)?;
        if crc32fast::hash(&keys) != keys_crc {
            return Ok(None);
        }
        let first_keys = keys
            .chunks(16)
            .filter_map(|key| Some(BlockKey(key.try_into().ok()?)))
            .collect();
        Ok(Some(Self {
            file,
            name: name.to_owned(),
            first_keys,
        }))
    }

    /// As many rows as it has, or some more.
    pub(crate) fn max_rows(&self) -> usize {
        self.first_keys.len() * ROWS
    }

    /// The rows with that key.
    pub(crate) fn find(&self, key: &BlockKey) -> Result<Vec<Row>, RepoError> {
        let mut found = Vec::new();
        // Rows with the same key may go on over the border of a page.
        let first = self
            .first_keys
            .partition_point(|first| first < key)
            .saturating_sub(1);
        for (index, first_key) in self.first_keys.iter().enumerate().skip(first) {
            if first_key > key {
                break;
            }
            let rows = self.rows(index)?;
            let start = rows.partition_point(|row| row.key < *key);
            found.extend(
                rows.get(start..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(|row| row.key == *key),
            );
        }
        Ok(found)
    }

    fn rows(&self, page: usize) -> Result<Vec<Row>, RepoError> {
        let position = PAGE as u64 * (page as u64 + 1);
        let bytes = disk::read(&*self.file, position, PAGE)
            .map_err(|error| disk::failed_at("read", self.name.as_ref(), error))?;
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        let count = number(COUNT_AT) as usize;
        if count > ROWS || crc32fast::hash(&bytes[..COUNT_AT + 4]) != number(COUNT_AT + 4) {
            return Err(RepoError::corrupt(format!(
                "{} is damaged; delete it, and it is made anew at the next start",
                self.name
            )));
        }
        Ok(bytes
            .chunks_exact(ROW)
            .take(count)
            .filter_map(|row| Some(Row::decode(row.first_chunk()?)))
            .collect())
    }
}

fn header(log_id: &LogId, rev: u64, pages: usize, keys_crc: u32) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(log_id);
    header.extend(rev.to_le_bytes());
    header.extend(u32::try_from(pages).unwrap_or(u32::MAX).to_le_bytes());
    header.extend(keys_crc.to_le_bytes());
    let crc = crc32fast::hash(&header);
    header.extend(crc.to_le_bytes());
    header.resize(PAGE, 0);
    header
}

fn page(rows: &[Row]) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    for (row, place) in rows.iter().zip(page.chunks_exact_mut(ROW)) {
        row.encode(place);
    }
    let count = u32::try_from(rows.len()).unwrap_or(0);
    page[COUNT_AT..COUNT_AT + 4].copy_from_slice(&count.to_le_bytes());
    let crc = crc32fast::hash(&page[..COUNT_AT + 4]);
    page[COUNT_AT + 4..].copy_from_slice(&crc.to_le_bytes());
    page
}
