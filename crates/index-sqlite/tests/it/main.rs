//! The suite of the index's ports on SQLite.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

use atcr_index_sqlite::SqliteIndex;
use atcr_index_suite::Subject;

/// An index in a folder of its own.
pub(crate) struct Store {
    index: SqliteIndex,
    _folder: tempfile::TempDir,
}

impl Subject for Store {
    type Index = SqliteIndex;

    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            index: SqliteIndex::open(&folder.path().join("index.db")).await.unwrap(),
            _folder: folder,
        }
    }

    fn index(&self) -> &SqliteIndex {
        &self.index
    }
}

atcr_index_suite::index_suite!(crate::Store);
