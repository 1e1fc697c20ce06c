//! A CAR from elsewhere, read like a repository.

use std::path::Path;
use std::sync::Arc;

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{Cid, Did};
use atcr_repo::mst::{Tree, range};
use atcr_repo::{Commit, car};
use bytes::Bytes;

use crate::blocks::{Blocks, NodeCache, Recent, RowSorter, Table, View};
use crate::disk::{self, Disk, open_for_reading};
use crate::error::RepoError;
use crate::head::{Head, rev_number};
use crate::log::{Position, SnapshotInfo};
use crate::repo::verify::verify;
use crate::snapshot::{Snapshot, scan};

/// No header of a repository's CAR is longer.
const MAX_HEADER_LEN: u64 = 4096;
/// Records read at once.
const PAGE: usize = 1000;
/// Bytes of tree nodes kept in memory.
const NODE_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// A repository in a CAR, every block of which was compared with its name.
#[derive(Debug)]
pub(crate) struct Foreign {
    disk: Arc<dyn Disk>,
    table: String,
    view: View,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        disk::remove_unused(&*self.disk, &self.table);
    }
}

impl Foreign {
    /// Opens the CAR at `path`; the `number`th of one call. Its table is kept in `disk` meanwhile.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path, number: usize) -> Result<Self, RepoError> {
        let not_a_car = |what: &str| RepoError::Import {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let file = open_for_reading(path)?;
        let failed = |error| disk::failed_at("read", path, error);
        let size = file.size().map_err(failed)?;
        let header_len = usize::try_from(size.min(MAX_HEADER_LEN)).unwrap_or(0);
        let header = disk::read(&*file, 0, header_len).map_err(failed)?;
        let (root, _) = car::read_header(&header)
            .ok_or_else(|| not_a_car("it does not begin like a CAR of version 1"))?;
        let damaged = |error: RepoError| match error {
            RepoError::Corrupt { what } => not_a_car(&what),
            error => error,
        };
        // A start removes files of this kind.
        let table = format!("import-{number}.tbl.tmp");
        let mut rows = RowSorter::new(disk, &table);
        scan(&file, size, 1, &mut rows).map_err(damaged)?;
        let log_id = [0; 16];
        let snapshot = Snapshot {
            info: SnapshotInfo {
                rev: path.display().to_string(),
                commit: root.to_string(),
                data: String::new(),
                seq: 0,
                time: 0,
                position: 0,
                car_bytes: size,
            },
            car: file,
            table: Table::write(&**disk, &table, &log_id, 1, rows)?,
        };
        let mut foreign = Self {
            disk: Arc::clone(disk),
            table,
            view: View {
                head: Head {
                    seq: 0,
                    commit: root,
                    rev: crate::head::rev_of(0),
                    data: root,
                },
                log_id,
                segments: Arc::default(),
                end: Position::default(),
                last: (0, 0),
                dropped_seq: 0,
                blocks: Arc::new(Blocks {
                    snapshot: Some(Arc::new(snapshot)),
                    frozen: None,
                    recent: Arc::new(Recent::default()),
                }),
                nodes: Arc::new(NodeCache::new(NODE_CACHE_BYTES)),
                pin: Arc::default(),
            },
        };
        let commit = foreign.view.block(&root).map_err(damaged)?;
        let commit = Commit::decode(&commit).map_err(|error| not_a_car(&format!("its root: {error}")))?;
        foreign.view.head.data = commit.data;
        foreign.view.head.rev = commit
            .rev
            .parse()
            .map_err(|_| not_a_car("its commit has a malformed revision"))?;
        let rev = rev_number(&foreign.view.head.rev);
        tracing::debug!(path = %path.display(), did = commit.did, rev, "a CAR to import");
        Ok(foreign)
    }

    /// Checks that it is the whole repository of `did`, signed by one of `keys`.
    pub(crate) fn check(&self, path: &Path, did: &Did, keys: &[PublicKey]) -> Result<(), RepoError> {
        let refused = |what: String| RepoError::Import {
            path: path.to_owned(),
            what,
        };
        let commit = Commit::decode(&self.view.block(&self.view.head.commit)?)?;
        if commit.did != did.as_str() {
            return Err(refused(format!(
                "it is the repository of {}, not of {did}; if that account moves here, name it with --from",
                commit.did
            )));
        }
        let key = keys.iter().find(|key| commit.is_signed_by(key)).ok_or_else(|| {
            refused(
                "none of the hold's keys signed it; if another key of the same account did, name it with --signed-by"
                    .to_owned(),
            )
        })?;
        match verify(self.view.clone(), did, key) {
            Ok(_) => Ok(()),
            Err(RepoError::Corrupt { what }) => Err(refused(what)),
            Err(error) => Err(error),
        }
    }

    /// The records after the path `after`, in order, some at a time; empty at the end.
    pub(crate) fn records_after(&self, after: &str) -> Result<Vec<(Arc<str>, Cid)>, RepoError> {
        let tree = Tree::open(&self.view, self.view.head.data)?;
        range::ascending(&tree, &self.view, after, None, PAGE)
    }

    /// A record's DAG-CBOR.
    pub(crate) fn content(&self, cid: &Cid) -> Result<Bytes, RepoError> {
        self.view.block(cid)
    }
}
