//! Writes a snapshot while the repository goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atcr_atproto::syntax::Cid;
use atcr_repo::car;

use super::{Snapshot, car_name, remove, table_name};
use crate::blocks::table::Row;
use crate::blocks::walk::{Step, Walk};
use crate::blocks::{BlockKey, RowSorter, Table, View};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;
use crate::head::rev_number;
use crate::log::SnapshotInfo;

/// Bytes written at once.
const PIECE: usize = 1024 * 1024;
/// Bytes after which the writer waits for the disk, so that a sync of the log does not wait for the whole snapshot.
const SYNC_EVERY: u64 = 8 * 1024 * 1024;

/// A snapshot to be written.
#[derive(Debug)]
pub(crate) struct SnapshotJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) view: View,
    /// Ends the work early.
    pub(crate) stop: Arc<AtomicBool>,
    /// A manifest that may be on the disk names a snapshot of this state: its files stay, whatever comes of this one.
    pub(crate) is_perhaps_named: bool,
}

impl SnapshotJob {
    /// Writes CAR and table, and waits until they are on the disk. `None` if it was stopped. Then, and after an error,
    /// nothing of it takes up room.
    pub(crate) fn run(&self) -> Result<Option<Snapshot>, RepoError> {
        let name = car_name(self.view.head.rev.as_str());
        let temporary = format!("{name}.tmp");
        let result = self.write(&name, &temporary);
        if !matches!(result, Ok(Some(_))) {
            disk::remove_unused(&*self.disk, &temporary);
            if !self.is_perhaps_named {
                remove(&*self.disk, self.view.head.rev.as_str());
            }
        }
        result
    }

    fn write(&self, name: &str, temporary: &str) -> Result<Option<Snapshot>, RepoError> {
        let head = &self.view.head;
        let rev = rev_number(&head.rev);
        let failed = |error| disk::failed(&*self.disk, "write", name, error);
        let file = self.disk.create(temporary).map_err(failed)?;
        let mut out = Output {
            file: Arc::clone(&file),
            piece: Vec::with_capacity(PIECE + 64 * 1024),
            written: 0,
            synced: 0,
            rows: RowSorter::new(&self.disk, &table_name(head.rev.as_str())),
        };
        car::write_header(&mut out.piece, head.commit);
        let commit = self.view.block(&head.commit)?;
        out.add(&head.commit, &commit, rev)?;
        let mut walk = Walk::new(self.view.clone(), 0);
        while let Some(step) = walk.step()? {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let (Step::Node { cid, bytes, rev, .. } | Step::Record { cid, bytes, rev, .. }) = &step;
            out.add(cid, bytes, *rev)?;
            if out.piece.len() >= PIECE {
                out.flush().map_err(failed)?;
            }
        }
        out.flush().map_err(failed)?;
        file.sync().map_err(failed)?;
        self.disk.rename(temporary, name).map_err(failed)?;
        let info = SnapshotInfo {
            rev: head.rev.to_string(),
            commit: head.commit.to_string(),
            data: head.data.to_string(),
            seq: self.view.last.0,
            time: self.view.last.1,
            position: self.view.end.to_u64(),
            car_bytes: out.written,
        };
        // Also waits for the name of the CAR.
        let table = Table::write(
            &*self.disk,
            &table_name(&info.rev),
            &self.view.log_id,
            rev,
            out.rows,
        )?;
        Ok(Some(Snapshot {
            info,
            car: file,
            table,
        }))
    }
}

struct Output {
    file: Arc<dyn DiskFile>,
    piece: Vec<u8>,
    written: u64,
    synced: u64,
    rows: RowSorter,
}

impl Output {
    fn add(&mut self, cid: &Cid, content: &[u8], rev: u64) -> Result<(), RepoError> {
        let start = self.written + self.piece.len() as u64;
        let prefix = car::write_block(&mut self.piece, cid, content);
        self.rows.add(Row {
            key: BlockKey::known(cid)?,
            offset: start + prefix as u64,
            length: content.len(),
            rev,
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_at(self.written, &self.piece)?;
        self.written += self.piece.len() as u64;
        self.piece.clear();
        if self.written - self.synced >= SYNC_EVERY {
            self.file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }
}
