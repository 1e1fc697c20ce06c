//! Sorts the rows of a table without having all of them in memory: sorted runs go into a file, and are merged when they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::table::{ROW, Row};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;

/// Rows of one run, some 2.5 MiB in memory. Few in tests, so that those of this crate merge as well.
const RUN: usize = if cfg!(test) { 10 } else { 65_536 };
/// Rows of a run that are read at once.
const PIECE: usize = if cfg!(test) { 3 } else { 512 };

/// Takes rows in any order. Its file loses its name as soon as it is made, and goes with it.
#[derive(Debug)]
pub(crate) struct RowSorter {
    disk: Arc<dyn Disk>,
    name: String,
    file: Option<Arc<dyn DiskFile>>,
    is_named: bool,
    /// Bytes of the file.
    written: u64,
    runs: Vec<Run>,
    /// Not in the file yet.
    rows: Vec<Row>,
}

/// Where a sorted run is.
#[derive(Debug)]
struct Run {
    position: u64,
    rows: usize,
    /// A checksum of each piece: the file is not synced, and what could not be written is not what is read.
    pieces: VecDeque<u32>,
}

impl RowSorter {
    /// For the table of that name.
    pub(crate) fn new(disk: &Arc<dyn Disk>, table: &str) -> Self {
        Self {
            disk: Arc::clone(disk),
            name: format!("{table}.rows.tmp"),
            file: None,
            is_named: false,
            written: 0,
            runs: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: Row) -> Result<(), RepoError> {
        if self.rows.len() >= RUN {
            self.write_run()
                .map_err(|error| disk::failed(&*self.disk, "write", &self.name, error))?;
        }
        self.rows.push(row);
        Ok(())
    }

    fn write_run(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                self.is_named = true;
                let file = self.disk.create(&self.name)?;
                self.disk.remove(&self.name)?;
                self.is_named = false;
                Arc::clone(self.file.insert(file))
            }
        };
        self.rows.sort_unstable();
        let mut bytes = vec![0; self.rows.len() * ROW];
        for (row, place) in self.rows.iter().zip(bytes.chunks_exact_mut(ROW)) {
            row.encode(place);
        }
        file.write_at(self.written, &bytes)?;
        self.runs.push(Run {
            position: self.written,
            rows: self.rows.len(),
            pieces: bytes.chunks(PIECE * ROW).map(crc32fast::hash).collect(),
        });
        self.written += bytes.len() as u64;
        self.rows.clear();
        Ok(())
    }

    /// All rows in order.
    pub(super) fn sorted(mut self) -> io::Result<SortedRows> {
        self.rows.sort_unstable();
        let mut rows = SortedRows {
            parts: Vec::new(),
            first: BinaryHeap::new(),
            sorter: self,
        };
        rows.parts.push(std::mem::take(&mut rows.sorter.rows).into());
        rows.parts.resize(1 + rows.sorter.runs.len(), VecDeque::new());
        for part in 0..rows.parts.len() {
            rows.offer(part)?;
        }
        Ok(rows)
    }

    /// The next piece of a run; empty at its end.
    fn read_piece(&mut self, run: usize) -> io::Result<VecDeque<Row>> {
        let (Some(run), Some(file)) = (self.runs.get_mut(run), &self.file) else {
            return Ok(VecDeque::new());
        };
        let Some(crc) = run.pieces.pop_front() else {
            return Ok(VecDeque::new());
        };
        let rows = run.rows.min(PIECE);
        let bytes = disk::read(&**file, run.position, rows * ROW)?;
        if crc32fast::hash(&bytes) != crc {
            return Err(io::Error::other("what was written is not there"));
        }
        run.position += bytes.len() as u64;
        run.rows -= rows;
        let row = |bytes: &[u8]| Some(Row::decode(bytes.first_chunk()?));
        Ok(bytes.chunks_exact(ROW).filter_map(row).collect())
    }
}

impl Drop for RowSorter {
    fn drop(&mut self) {
        if self.is_named {
            disk::remove_unused(&*self.disk, &self.name);
        }
    }
}

/// Rows in order.
#[derive(Debug)]
pub(super) struct SortedRows {
    sorter: RowSorter,
    /// What was read and not taken yet: what was never in the file, then that of each run.
    parts: Vec<VecDeque<Row>>,
    /// The first row of each part that has any.
    first: BinaryHeap<Reverse<(Row, usize)>>,
}

impl SortedRows {
    /// Offers the next row of a part, if it has one.
    fn offer(&mut self, part: usize) -> io::Result<()> {
        let Some(rows) = self.parts.get_mut(part) else {
            return Ok(());
        };
        if rows.is_empty()
            && let Some(run) = part.checked_sub(1)
        {
            *rows = self.sorter.read_piece(run)?;
        }
        self.first
            .extend(rows.pop_front().map(|row| Reverse((row, part))));
        Ok(())
    }
}

impl Iterator for SortedRows {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<io::Result<Row>> {
        let Reverse((row, part)) = self.first.pop()?;
        Some(self.offer(part).map(|()| row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::BlockKey;
    use crate::simulation::disk::SimDisk;

    fn row(number: u8) -> Row {
        Row {
            key: BlockKey([number; 16]),
            offset: u64::from(number),
            length: usize::from(number),
            rev: 1,
        }
    }

    #[test]
    fn rows_of_many_runs_come_in_order_and_no_file_stays() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1, false));
        for count in [0_u8, 1, 9, 10, 11, 20, 21, 100] {
            let mut sorter = RowSorter::new(&disk, "a.tbl");
            for number in 0..count {
                // Each once, in no order.
                sorter
                    .add(row(
                        u8::try_from(u32::from(number) * 37 % u32::from(count)).unwrap()
                    ))
                    .unwrap();
            }
            let rows = sorter.sorted().unwrap().collect::<io::Result<Vec<_>>>().unwrap();
            assert_eq!(rows, (0..count).map(row).collect::<Vec<_>>());
            assert!(disk.names().unwrap().is_empty());
        }
    }

    #[test]
    fn rows_that_are_not_what_was_written_are_refused() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1, false));
        let mut sorter = RowSorter::new(&disk, "a.tbl");
        for number in 0..30 {
            sorter.add(row(number)).unwrap();
        }
        let file = sorter.file.clone().unwrap();
        file.write_at(file.size().unwrap() - 1, &[1]).unwrap();
        let rows = sorter.sorted().unwrap().collect::<io::Result<Vec<_>>>();
        assert!(rows.is_err());
    }
}
