//! The SQLite file beside the log.
//!
//! Its writer does not wait for the disk (`synchronous=NORMAL`, unlike every other database here): the log has been
//! synced by then, and what the index lost in a power failure is read from there again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use atcr_atproto::syntax::Tid;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row as _, SqliteConnection};

use super::bad_row;
use super::block_log::disk;
use super::blocks::{cid_column, number};
use crate::error::RepoError;
use crate::head::Head;

const FILE: &str = "index.sqlite";
/// What SQLite keeps beside its file.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];
/// How long a statement waits for the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers beside the one writer.
const READERS: u32 = 4;
/// In KiB, as SQLite wants it: block names are random, so that every commit touches pages all over the file.
const WRITER_CACHE: &str = "-8192";
/// 16 MiB of changes are gathered before they go into the file, which waits for the disk.
const CHECKPOINT_PAGES: &str = "4096";
/// SQLITE_CORRUPT and SQLITE_NOTADB.
const DAMAGE_CODES: [&str; 2] = ["11", "26"];

/// The two pools of the index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// How far the index follows the log.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) log_id: Vec<u8>,
    /// The log is indexed up to here.
    pub(crate) indexed_bytes: u64,
    /// Where the newest indexed frame begins.
    pub(crate) last_frame: u64,
    pub(crate) head: Head,
}

impl Index {
    /// Opens the index in `dir`; one that is damaged, or that belongs to another log than `log_id`, is made anew.
    pub(crate) async fn open(dir: &Path, log_id: &[u8]) -> Result<(Self, Option<State>), RepoError> {
        let path = dir.join(FILE);
        match Self::open_file(&path).await {
            Ok((index, state)) if state.as_ref().is_none_or(|state| state.log_id == log_id) => {
                return Ok((index, state));
            }
            Ok((index, _)) => {
                index.close().await;
                tracing::warn!(path = %path.display(), "the index belongs to another log; it is made anew");
            }
            Err(RepoError::Index(error)) if is_damage(&error) => {
                tracing::warn!(path = %path.display(), %error, "the index is damaged; it is made anew");
            }
            Err(error) => return Err(error),
        }
        remove_files(&path)?;
        Self::open_file(&path).await
    }

    async fn open_file(path: &Path) -> Result<(Self, Option<State>), RepoError> {
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
        if let Err(error) = sqlx::migrate!("./migrations").run(&writer).await {
            writer.close().await;
            // A damaged file often shows first here.
            return Err(match error {
                sqlx::migrate::MigrateError::Execute(error) => error.into(),
                error => error.into(),
            });
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        let index = Self { writer, readers };
        let state = index.state().await;
        if state.is_err() {
            index.close().await;
        }
        Ok((index, state?))
    }

    /// How far the index is; `None` for a new one.
    pub(crate) async fn state(&self) -> Result<Option<State>, RepoError> {
        let row = sqlx::query(
            "SELECT log_id, indexed_bytes, last_frame, seq, commit_cid, rev, data_cid FROM state WHERE id = 1",
        )
        .fetch_optional(&self.writer)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let rev: Tid = row
            .try_get::<&str, _>("rev")?
            .parse()
            .map_err(|_| bad_row("state", "rev"))?;
        Ok(Some(State {
            log_id: row.try_get("log_id")?,
            indexed_bytes: number(&row, "state", "indexed_bytes")?,
            last_frame: number(&row, "state", "last_frame")?,
            head: Head {
                seq: number(&row, "state", "seq")?,
                commit: cid_column(&row, "commit_cid")?,
                rev,
                data: cid_column(&row, "data_cid")?,
            },
        }))
    }

    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Notes how far the index follows the log.
pub(crate) async fn set_state(connection: &mut SqliteConnection, state: &State) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO state (id, log_id, indexed_bytes, last_frame, seq, commit_cid, rev, data_cid)
         VALUES (1, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET indexed_bytes = excluded.indexed_bytes, last_frame = excluded.last_frame,
             seq = excluded.seq, commit_cid = excluded.commit_cid, rev = excluded.rev, data_cid = excluded.data_cid",
    )
    .bind(&state.log_id)
    .bind(super::to_sql(state.indexed_bytes))
    .bind(super::to_sql(state.last_frame))
    .bind(super::to_sql(state.head.seq))
    .bind(state.head.commit.to_bytes())
    .bind(state.head.rev.as_str())
    .bind(state.head.data.to_bytes())
    .execute(connection)
    .await?;
    Ok(())
}

fn is_damage(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| DAMAGE_CODES.contains(&&*code))
}

fn remove_files(path: &Path) -> Result<(), RepoError> {
    for suffix in COMPANIONS {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(disk("remove", &file, error));
            }
            _ => {}
        }
    }
    Ok(())
}
