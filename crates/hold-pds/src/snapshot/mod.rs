//! Snapshots: the whole repository at one revision, as a plain CAR, with a table that finds its blocks.

mod write;

use std::sync::Arc;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Tid};
use atcr_repo::car;
use bytes::Bytes;

pub(crate) use write::SnapshotJob;

use crate::blocks::table::Row;
use crate::blocks::{BlockKey, RowSorter, Table};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;
use crate::head::{Head, rev_number};
use crate::log::{LogId, SnapshotInfo};

/// Bytes read at once: more than the largest block.
const CHUNK: usize = 1_310_720;

/// A snapshot that can be read.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) info: SnapshotInfo,
    pub(crate) car: Arc<dyn DiskFile>,
    pub(crate) table: Table,
}

/// The name of a snapshot's CAR.
pub(crate) fn car_name(rev: &str) -> String {
    format!("{rev}.car")
}

/// The name of its table.
pub(crate) fn table_name(rev: &str) -> String {
    format!("{rev}.tbl")
}

/// Removes the files of a snapshot that no manifest names.
pub(crate) fn remove(disk: &dyn Disk, rev: &str) {
    for name in [car_name(rev), table_name(rev)] {
        disk::remove_unused(disk, &name);
    }
}

impl Snapshot {
    /// Opens the snapshot that the manifest names. A table that is missing or damaged is rebuilt.
    pub(crate) fn open(disk: &Arc<dyn Disk>, log_id: &LogId, info: &SnapshotInfo) -> Result<Self, RepoError> {
        let name = car_name(&info.rev);
        let car = disk
            .open(&name)
            .map_err(|error| disk::failed(&**disk, "open", &name, error))?
            .ok_or_else(|| RepoError::Incomplete {
                folder: disk.folder().to_owned(),
                missing: name.clone(),
            })?;
        let size = car
            .size()
            .map_err(|error| disk::failed(&**disk, "look at", &name, error))?;
        if size != info.car_bytes {
            return Err(RepoError::corrupt(format!(
                "{name} has {size} bytes and should have {}",
                info.car_bytes
            )));
        }
        let rev = rev_number(&parse(&info.rev, "rev")?);
        let table = match Table::open(&**disk, &table_name(&info.rev), log_id, rev)? {
            Some(table) => table,
            None => {
                tracing::warn!(name, "the snapshot has no table of its blocks; a new one is made");
                let name = table_name(&info.rev);
                let mut rows = RowSorter::new(disk, &name);
                scan(&car, size, rev, &mut rows)?;
                Table::write(&**disk, &name, log_id, rev, rows)?
            }
        };
        Ok(Self {
            info: info.clone(),
            car,
            table,
        })
    }

    /// The commit of the snapshot.
    pub(crate) fn head(&self) -> Result<Head, RepoError> {
        Ok(Head {
            seq: self.info.seq,
            commit: parse(&self.info.commit, "commit")?,
            rev: parse::<Tid>(&self.info.rev, "rev")?,
            data: parse(&self.info.data, "data")?,
        })
    }

    pub(crate) fn car_name(&self) -> String {
        car_name(&self.info.rev)
    }

    /// Reads its blocks one after the other.
    pub(crate) fn reader(&self) -> CarReader {
        CarReader {
            file: Arc::clone(&self.car),
            size: self.info.car_bytes,
            buffer: Vec::new(),
            start: 0,
            next: self.info.car_bytes,
        }
    }
}

fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, RepoError> {
    text.parse()
        .map_err(|_| RepoError::corrupt(format!("the manifest's {what} of the snapshot is malformed")))
}

/// Reads a CAR in large pieces.
#[derive(Debug)]
pub(crate) struct CarReader {
    file: Arc<dyn DiskFile>,
    size: u64,
    /// Bytes from `start` on.
    buffer: Vec<u8>,
    start: u64,
    /// Where the block after the last one begins.
    next: u64,
}

impl CarReader {
    /// The content of a block at a known place, compared with its name. Cheap when the place is a little further on than
    /// the one before.
    pub(crate) fn read(&mut self, offset: u64, length: usize, cid: &Cid) -> Result<Bytes, RepoError> {
        let bytes = checked(self.bytes(offset, length)?, cid)?;
        self.next = offset + length as u64;
        Ok(bytes)
    }

    /// The content of the block after the last one, if it is this one; needs no look-up.
    pub(crate) fn read_next(&mut self, cid: &Cid) -> Result<Option<Bytes>, RepoError> {
        let mut is_fresh = false;
        while self.next < self.size {
            let from = self.next.checked_sub(self.start);
            let from = from.and_then(|from| usize::try_from(from).ok());
            if let Some(section) = from.and_then(|from| car::read_block(&self.buffer, from)) {
                if section.cid != *cid {
                    return Ok(None);
                }
                self.next = self.start + section.content.end as u64;
                let content = self.buffer.get(section.content).unwrap_or_default();
                return checked(content, cid).map(Some);
            }
            if is_fresh {
                break;
            }
            self.load(self.next, 0)?;
            is_fresh = true;
        }
        Ok(None)
    }

    fn load(&mut self, offset: u64, length: usize) -> Result<(), RepoError> {
        let available = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.buffer.resize(CHUNK.max(length).min(available), 0);
        self.start = offset;
        self.file
            .read_at(offset, &mut self.buffer)
            .map_err(|error| disk::failed_at("read", "the snapshot".as_ref(), error))
    }

    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], RepoError> {
        let within = |reader: &Self| {
            let from = usize::try_from(offset.checked_sub(reader.start)?).ok()?;
            let end = from.checked_add(length)?;
            (end <= reader.buffer.len()).then_some(from..end)
        };
        let range = match within(self) {
            Some(range) => range,
            None => {
                self.load(offset, length)?;
                within(self).ok_or_else(|| RepoError::corrupt("the snapshot is shorter than it should be"))?
            }
        };
        Ok(self.buffer.get(range).unwrap_or_default())
    }
}

fn checked(content: &[u8], cid: &Cid) -> Result<Bytes, RepoError> {
    if cid_of(DAG_CBOR, content) == *cid {
        Ok(Bytes::copy_from_slice(content))
    } else {
        Err(RepoError::corrupt(format!(
            "block {cid} in the snapshot does not match its name"
        )))
    }
}

/// Adds the rows of a CAR, each block compared with its name. For one whose table is lost: the revision that added each block is lost with it: every block counts as new as
/// the snapshot, so an export since a revision has more than necessary.
pub(crate) fn scan(
    file: &Arc<dyn DiskFile>,
    size: u64,
    rev: u64,
    rows: &mut RowSorter,
) -> Result<(), RepoError> {
    let malformed = || RepoError::corrupt("the snapshot is no CAR");
    let mut reader = CarReader {
        file: Arc::clone(file),
        size,
        buffer: Vec::new(),
        start: 0,
        next: size,
    };
    let available = |position: u64| usize::try_from(size - position).unwrap_or(usize::MAX).min(CHUNK);
    let head = reader.bytes(0, available(0).min(128))?;
    let mut position = car::header_len(head).ok_or_else(malformed)? as u64;
    while position < size {
        let bytes = reader.bytes(position, available(position))?;
        let mut at = 0;
        while let Some(section) = car::read_block(bytes, at) {
            let content = bytes.get(section.content.clone()).unwrap_or_default();
            if cid_of(DAG_CBOR, content) != section.cid {
                return Err(RepoError::corrupt(format!(
                    "block {} in the snapshot does not match its name",
                    section.cid
                )));
            }
            rows.add(Row {
                key: BlockKey::known(&section.cid)?,
                offset: position + section.content.start as u64,
                length: section.content.len(),
                rev,
            })?;
            at = section.content.end;
        }
        if at == 0 {
            return Err(malformed());
        }
        position += at as u64;
    }
    Ok(())
}
