//! The index: a SQLite file for the hold's own queries over its records. The repository does not need it.
//!
//! Its writer does not wait for the disk (`synchronous=NORMAL`, unlike every other database here): the log has been
//! synced by then, and what the index loses in a power failure is read from the log again.
//!
//! - [`follow`]: bringing the tables up to the log
//! - [`holdings`]: the tables of layers, crew and counts
//! - [`roster`]: the crew as a list, and who keeps how much
//! - [`blob_refs`]: the table of blobs

mod blob_refs;
mod follow;
pub(crate) mod holdings;
pub(crate) mod roster;

use std::path::{Path, PathBuf};
use std::time::Duration;

use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::Cid;
use atcr_repo::mst::Change;
use bytes::Bytes;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row as _, SqliteConnection};

use crate::disk::failed_at;
use crate::error::RepoError;
use crate::log::{LogId, Position};

pub(crate) use follow::state_of;

const FILE: &str = "index.sqlite";
/// What SQLite keeps beside its file.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];
/// The version of `schema.sql`.
const SCHEMA: i64 = 6;
/// Collections whose records never refer to blobs, and have no table of their own either.
const NOT_INDEXED: [&str; 1] = [nsid::HOLD_CAPTAIN];
/// How long a statement waits for the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers beside the one writer.
const READERS: u32 = 4;
/// In KiB, as SQLite wants it. What is not there is in the page cache of the system.
const WRITER_CACHE: &str = "-4096";
const READER_CACHE: &str = "-1024";
/// 16 MiB of changes are gathered before they go into the file, which waits for the disk.
const CHECKPOINT_PAGES: &str = "4096";
/// SQLITE_CORRUPT and SQLITE_NOTADB. Extended codes have one of them in the low byte.
const DAMAGE_CODES: [i64; 2] = [11, 26];

/// Whether the index has to do with records of the collection.
pub(crate) fn is_indexed(collection: &str) -> bool {
    !NOT_INDEXED.contains(&collection)
}

/// What a commit did to one record of an indexed collection.
#[derive(Clone, Debug)]
pub(crate) struct RecordChange {
    pub(crate) collection: String,
    pub(crate) rkey: String,
    /// There was none before.
    pub(crate) is_new: bool,
    /// Its DAG-CBOR; `None` if it is gone.
    pub(crate) content: Option<Bytes>,
}

/// Those of `changes` that the index has tables for.
pub(crate) fn changes<'a>(
    changes: &'a [Change],
    content: impl Fn(&Cid) -> Option<Bytes> + 'a,
) -> impl Iterator<Item = RecordChange> + 'a {
    changes.iter().filter_map(move |change| {
        let (collection, rkey) = change.key.split_once('/')?;
        is_indexed(collection).then(|| RecordChange {
            collection: collection.to_owned(),
            rkey: rkey.to_owned(),
            is_new: change.old.is_none(),
            content: change.new.and_then(|cid| content(&cid)),
        })
    })
}

/// The two pools of the index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    log_id: LogId,
    writer: SqlitePool,
    readers: SqlitePool,
}

/// How far the index follows the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) position: Position,
    pub(crate) seq: u64,
}

impl Index {
    /// Opens the index in `dir`; one that is damaged, of another version or of another log becomes an empty one.
    pub(crate) async fn open(dir: &Path, log_id: LogId) -> Result<Self, RepoError> {
        let path = dir.join(FILE);
        match Self::open_file(&path, log_id).await {
            Ok(Some(index)) => return Ok(index),
            Ok(None) => {
                tracing::warn!(path = %path.display(), "the index is of another log or version; it is rebuilt");
            }
            Err(RepoError::Index(error)) if is_damage(&error) => {
                tracing::warn!(path = %path.display(), %error, "the index is damaged; it is rebuilt");
            }
            Err(error) => return Err(error),
        }
        remove_files(&path)?;
        Self::open_file(&path, log_id)
            .await?
            .ok_or_else(|| RepoError::corrupt("a new index is not empty"))
    }

    async fn open_file(path: &Path, log_id: LogId) -> Result<Option<Self>, RepoError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone().pragma("cache_size", WRITER_CACHE))
            .await?;
        let is_ours = match prepare(&writer, &log_id).await {
            Ok(is_ours) => is_ours,
            Err(error) => {
                writer.close().await;
                return Err(error);
            }
        };
        if !is_ours {
            writer.close().await;
            return Ok(None);
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.pragma("cache_size", READER_CACHE).read_only(true))
            .await?;
        Ok(Some(Self {
            log_id,
            writer,
            readers,
        }))
    }

    /// How far the index is; `None` while its tables are not complete.
    pub(crate) async fn state(&self) -> Result<Option<State>, RepoError> {
        let row = sqlx::query("SELECT position, seq FROM state WHERE id = 1")
            .fetch_optional(&self.writer)
            .await?;
        row.map(|row| {
            Ok(State {
                position: Position::from_u64(number(&row, "state", "position")?),
                seq: number(&row, "state", "seq")?,
            })
        })
        .transpose()
    }

    /// Applies the changes of commits that reach to `state`, in one transaction.
    pub(crate) async fn apply(&self, changes: &[RecordChange], state: State) -> Result<(), RepoError> {
        let mut transaction = self.writer.begin().await?;
        holdings::apply(&mut transaction, changes).await?;
        set_state(&mut transaction, &self.log_id, state).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the tables of a new file; whether the file can be used.
async fn prepare(writer: &SqlitePool, log_id: &LogId) -> Result<bool, RepoError> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(writer)
        .await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(writer)
        .await?;
    if tables == 0 {
        let mut transaction = writer.begin().await?;
        sqlx::raw_sql(include_str!("schema.sql"))
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {SCHEMA}")))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        return Ok(true);
    }
    if version != SCHEMA {
        return Ok(false);
    }
    let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT log_id FROM state WHERE id = 1")
        .fetch_optional(writer)
        .await?;
    Ok(found.is_none_or(|found| found == log_id))
}

/// Notes how far the index follows the log.
async fn set_state(
    connection: &mut SqliteConnection,
    log_id: &LogId,
    state: State,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO state (id, log_id, position, seq) VALUES (1, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET position = excluded.position, seq = excluded.seq",
    )
    .bind(log_id.as_slice())
    .bind(to_sql(state.position.to_u64()))
    .bind(to_sql(state.seq))
    .execute(connection)
    .await?;
    Ok(())
}

fn is_damage(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i64>().ok())
        .is_some_and(|code| DAMAGE_CODES.contains(&(code & 0xff)))
}

/// Removes the index in `dir`, if there is one: the next opening makes it anew.
pub(crate) fn remove(dir: &Path) -> Result<(), RepoError> {
    remove_files(&dir.join(FILE))
}

fn remove_files(path: &Path) -> Result<(), RepoError> {
    for suffix in COMPANIONS {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed_at("remove", &file, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn number(row: &SqliteRow, table: &'static str, column: &'static str) -> Result<u64, RepoError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| bad_row(table, column))
}

/// A value that the index should not hold.
fn bad_row(table: &'static str, column: &'static str) -> RepoError {
    RepoError::corrupt(format!("unexpected value in {table}.{column} of the index"))
}

/// SQLite integers are signed.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
