//! An index in a SQLite file, copied into an empty database in one transaction.
//!
//! Rows are read in the order of their keys, some thousands at a time. Each table's rows are counted and hashed, whatever their order, as
//! they are read from the file and again as they are read from the database; only what is equal is committed.

mod tables;

use std::path::Path;
use std::time::Duration;

use atcr_index::row::{Field, Row};
use atcr_index::stored;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::rows::set;
use crate::write::fill_search;
use crate::{PostgresIndex, codec};
use tables::{Kind, TABLES, Table};

/// Rows of one statement.
const PAGE: i64 = 5_000;

/// The newest migration of the file that is known here.
const FILE_VERSION: i64 = 4;

/// How long another process that is just writing to the file is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// SQLite's word for a file that another process is writing to.
const SQLITE_BUSY: &str = "5";

/// Why an index was not copied. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read the file")]
    File(#[source] sqlx::Error),
    /// Somebody else writes to the file.
    #[error("another process writes to the file: stop the appview that uses it")]
    InUse,
    /// The file is of another version of this program.
    #[error(
        "the file has the tables of version {found}; this program knows version {FILE_VERSION}: start the server once with it"
    )]
    FileVersion {
        /// What it is of.
        found: i64,
    },
    /// The database refuses.
    #[error("cannot write to the database")]
    Database(#[source] sqlx::Error),
    /// The database has rows.
    #[error("the database has an index already: table {0} has rows. Copy into an empty one")]
    NotEmpty(&'static str),
    /// What was written is not what was read.
    #[error("table {table} has {copied} of {read} rows, or others: nothing is kept")]
    Different {
        /// Where.
        table: &'static str,
        /// Rows of the file.
        read: u64,
        /// Rows of the database.
        copied: u64,
    },
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Rows of a table are copied, of so many.
    Copied {
        /// The table.
        table: &'static str,
        /// Rows so far.
        rows: u64,
        /// Rows in all.
        of: u64,
    },
    /// All rows of a table are in the database as they were in the file.
    Equal {
        /// The table.
        table: &'static str,
        /// Rows.
        rows: u64,
    },
    /// Texts of repositories are made searchable.
    Searchable {
        /// Repositories so far.
        rows: u64,
    },
}

/// Rows, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    hash: u64,
}

impl Sum {
    fn add(&mut self, row: &Row) {
        let mut hash = Sha256::new();
        for field in row {
            match field {
                Field::Integer(number) => hash.update(number.to_be_bytes()),
                Field::Flag(flag) => hash.update([u8::from(*flag)]),
                Field::Text(text) | Field::MaybeText(Some(text)) => {
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text.as_bytes());
                }
                Field::MaybeText(None) => hash.update(u64::MAX.to_be_bytes()),
                Field::Bytes(bytes) => {
                    hash.update((bytes.len() as u64).to_be_bytes());
                    hash.update(bytes);
                }
            }
        }
        let hash = hash.finalize();
        let hash = u64::from_le_bytes(std::array::from_fn(|index| hash[index]));
        self.rows += 1;
        self.hash = self.hash.wrapping_add(hash);
    }
}

impl PostgresIndex {
    /// Copies the index of the SQLite file at `path`, and tells `progress` how far it is. Nobody else can write to the file meanwhile.
    ///
    /// # Errors
    /// [`ImportError`]; the database is then as it was.
    pub async fn import_sqlite(
        &self,
        path: &Path,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), ImportError> {
        let mut file = open_file(path).await?;
        let mut transaction = self.writing().await.map_err(ImportError::Database)?;
        let copied = copy_all(&mut file, &mut transaction, progress).await;
        // Nothing was written to it.
        file.close().await.map_err(ImportError::File)?;
        if let Err(error) = copied {
            // At once: what is not kept holds locks.
            transaction.rollback().await.map_err(ImportError::Database)?;
            return Err(error);
        }
        transaction.commit().await.map_err(ImportError::Database)
    }
}

/// Copies every table, and makes the texts searchable.
async fn copy_all(
    file: &mut SqliteConnection,
    connection: &mut PgConnection,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), ImportError> {
    // It takes as long as it takes, and what is copied has to survive a failure of the machine.
    sqlx::raw_sql(
        "SET LOCAL synchronous_commit = on; SET LOCAL idle_in_transaction_session_timeout = '10min'; SET LOCAL statement_timeout = 0; \
         SET LOCAL enable_seqscan = on",
    )
    .execute(&mut *connection)
    .await
    .map_err(ImportError::Database)?;
    for table in &TABLES {
        let statement = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        let has_rows: bool = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut *connection)
            .await
            .map_err(ImportError::Database)?;
        if has_rows {
            return Err(ImportError::NotEmpty(table.name));
        }
    }
    for table in &TABLES {
        let read = copy(file, connection, table, progress).await?;
        let copied = sum_of(connection, table).await?;
        if read != copied {
            return Err(ImportError::Different {
                table: table.name,
                read: read.rows,
                copied: copied.rows,
            });
        }
        progress(Progress::Equal {
            table: table.name,
            rows: read.rows,
        });
    }
    sqlx::raw_sql(
        "SELECT setval(pg_get_serial_sequence('account', 'id'), coalesce(max(id), 0) + 1, false) FROM account; \
         SELECT setval(pg_get_serial_sequence('repository', 'id'), coalesce(max(id), 0) + 1, false) FROM repository; \
         SELECT setval(pg_get_serial_sequence('tag_move', 'id'), coalesce(max(id), 0) + 1, false) FROM tag_move; \
         SELECT setval('manifest_id', coalesce(max(id), 0) + 1, false) FROM manifest; \
         ANALYZE account, repository, manifest, tag, page, repository_hold",
    )
    .execute(&mut *connection)
    .await
    .map_err(ImportError::Database)?;
    let mut after = 0;
    let mut rows = 0;
    while let Some((last, count)) = fill_search(connection, after, PAGE)
        .await
        .map_err(ImportError::Database)?
    {
        after = last;
        rows += count;
        progress(Progress::Searchable { rows });
    }
    Ok(())
}

/// Opens the file, and keeps everybody else from writing to it until the connection is closed: what is read is of one state, and nothing
/// is written there that the copy does not have.
async fn open_file(path: &Path) -> Result<SqliteConnection, ImportError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT);
    let mut file = options.connect().await.map_err(ImportError::File)?;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut file)
        .await
        .map_err(|error| {
            let code = error.as_database_error().and_then(|error| error.code());
            if code.as_deref() == Some(SQLITE_BUSY) {
                ImportError::InUse
            } else {
                ImportError::File(error)
            }
        })?;
    let found: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(&mut file)
        .await
        .map_err(ImportError::File)?;
    if found == FILE_VERSION {
        Ok(file)
    } else {
        Err(ImportError::FileVersion { found })
    }
}

/// Copies a table, and returns the sum of what was read.
async fn copy(
    file: &mut SqliteConnection,
    connection: &mut PgConnection,
    table: &Table,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Sum, ImportError> {
    let all: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {}", table.name)))
        .fetch_one(&mut *file)
        .await
        .map_err(ImportError::File)?;
    let insert = table.insert();
    let mut sum = Sum::default();
    let mut last: Option<Row> = None;
    loop {
        let select = table.select_page(last.is_some(), PAGE);
        let mut query = sqlx::query(AssertSqlSafe(select));
        for field in last.iter().flat_map(|row| row.iter().take(table.key)) {
            query = match field {
                Field::Integer(number) => query.bind(*number),
                Field::Text(text) => query.bind(text.clone()),
                Field::MaybeText(text) => query.bind(text.clone()),
                Field::Bytes(bytes) => query.bind(bytes.clone()),
                Field::Flag(flag) => query.bind(*flag),
            };
        }
        let found = query.fetch_all(&mut *file).await.map_err(ImportError::File)?;
        let is_last = i64::try_from(found.len()).unwrap_or(PAGE) < PAGE;
        let rows: Vec<Row> = found
            .iter()
            .map(|row| of_file(row, table))
            .collect::<Result<_, _>>()
            .map_err(ImportError::File)?;
        for row in &rows {
            sum.add(row);
        }
        last = rows.last().cloned();
        set(connection, &insert, rows)
            .await
            .map_err(ImportError::Database)?;
        progress(Progress::Copied {
            table: table.name,
            rows: sum.rows,
            of: stored::count(all),
        });
        if is_last {
            return Ok(sum);
        }
    }
}

/// A row of the file, as the database has it.
fn of_file(row: &SqliteRow, table: &Table) -> Result<Row, sqlx::Error> {
    let field = |(place, kind): (usize, &Kind)| {
        Ok(match kind {
            Kind::Integer => Field::Integer(row.try_get(place)?),
            Kind::MaybeInteger => Field::Integer(row.try_get::<Option<i64>, _>(place)?.unwrap_or(-1)),
            Kind::Text => Field::Text(codec::text(row.try_get::<&str, _>(place)?)),
            Kind::MaybeText => Field::MaybeText(row.try_get::<Option<&str>, _>(place)?.map(codec::text)),
            Kind::Bytes => Field::Bytes(row.try_get(place)?),
            Kind::Flag => Field::Flag(row.try_get::<i64, _>(place)? != 0),
        })
    };
    table.kinds().enumerate().map(field).collect()
}

/// The sum of a table of the database.
async fn sum_of(connection: &mut PgConnection, table: &Table) -> Result<Sum, ImportError> {
    let mut sum = Sum::default();
    // A cursor, so that a table of any size is read in little memory.
    let declare = format!("DECLARE copied NO SCROLL CURSOR FOR {}", table.select_all());
    sqlx::raw_sql(AssertSqlSafe(declare))
        .execute(&mut *connection)
        .await
        .map_err(ImportError::Database)?;
    loop {
        let found: Vec<PgRow> = sqlx::query(AssertSqlSafe(format!("FETCH {PAGE} FROM copied")))
            .persistent(false)
            .fetch_all(&mut *connection)
            .await
            .map_err(ImportError::Database)?;
        for row in &found {
            sum.add(&of_database(row, table).map_err(ImportError::Database)?);
        }
        if found.is_empty() {
            break;
        }
    }
    sqlx::raw_sql("CLOSE copied")
        .execute(&mut *connection)
        .await
        .map_err(ImportError::Database)?;
    Ok(sum)
}

fn of_database(row: &PgRow, table: &Table) -> Result<Row, sqlx::Error> {
    let field = |(place, kind): (usize, &Kind)| {
        Ok(match kind {
            Kind::Integer => Field::Integer(row.try_get(place)?),
            Kind::MaybeInteger => Field::Integer(row.try_get::<Option<i64>, _>(place)?.unwrap_or(-1)),
            Kind::Text => Field::Text(row.try_get(place)?),
            Kind::MaybeText => Field::MaybeText(row.try_get(place)?),
            Kind::Bytes => Field::Bytes(row.try_get(place)?),
            Kind::Flag => Field::Flag(row.try_get(place)?),
        })
    };
    table.kinds().enumerate().map(field).collect()
}
