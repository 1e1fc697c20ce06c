//! Connections to the database, and what is refused at the start.

use std::fmt;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use url::Url;

/// The migrations, in order.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Connections of one server that read at once.
const READERS: u32 = 16;

/// Connections of one server that write: [`BATCHES`](crate::BATCHES) of them batches, the others in the queue.
const WRITERS: u32 = 4;

/// Connections of one server for what may not wait behind writers: leases, and whether a write would succeed.
const LEASES: u32 = 2;

/// How long a connection is waited for, at the start and later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The oldest server that is taken, as `server_version_num` counts.
const OLDEST_VERSION: i32 = 150_000;

/// What every connection is told. A page's statements are few rows by key: a plan that reads a table whole is never meant, however small
/// the table was when the server last looked, and compiling a plan costs more than running it.
const SESSION: &str = "SET search_path = atcr_index, public; SET client_encoding = 'UTF8'; SET jit = off; SET enable_seqscan = off; \
     SET enable_hashjoin = off; SET enable_mergejoin = off; SET timezone = 'UTC'";

/// What a connection is told that writes. One that hangs in a transaction keeps all others from writing, so the server ends it.
const WRITER: &str = "SET synchronous_commit = off; SET idle_in_transaction_session_timeout = '5s'; SET lock_timeout = '30s'; \
     SET statement_timeout = '60s'";

/// What a connection is told that renews leases: who comes late has lost them.
const LEASE: &str = "SET synchronous_commit = off; SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = '2s'";

/// What a connection is told that reads.
const READER: &str = "SET default_transaction_read_only = on; SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '30s'";

/// The address of a database: `postgres://user:password@host:port/database?sslmode=…`. Neither its text nor its errors show the password.
#[derive(Clone)]
pub struct DatabaseUrl {
    url: Url,
    options: PgConnectOptions,
}

/// A text that is no address of a PostgreSQL database. It does not repeat the text, which may have a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUrl {
    /// It begins otherwise.
    #[error("it has to begin with postgres://")]
    Scheme,
    /// It names no database.
    #[error("it has to name a database, as in postgres://host/database")]
    Database,
    /// A part of it is malformed.
    #[error("it is no address of the form postgres://user:password@host:port/database")]
    Form,
}

impl DatabaseUrl {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let url: Url = text.parse().map_err(|_| InvalidUrl::Form)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(InvalidUrl::Scheme);
        }
        if url.path().trim_matches('/').is_empty() {
            return Err(InvalidUrl::Database);
        }
        let options: PgConnectOptions = text.parse().map_err(|_| InvalidUrl::Form)?;
        Ok(Self { url, options })
    }
}

impl fmt::Display for DatabaseUrl {
    /// Scheme, host, port and database: what may be in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "postgres://{host}{port}{}", self.url.path())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why the index cannot be in this database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server does not answer, or refuses the sign-in.
    #[error("cannot connect to the database {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The server is too old.
    #[error("the database {url} is PostgreSQL {found}; 15 or later is needed")]
    Version {
        /// Where.
        url: String,
        /// What the server says it is.
        found: String,
    },
    /// The texts of the database are in another encoding.
    #[error(
        "the database {url} has the encoding {found}; UTF8 is needed (CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0)"
    )]
    Encoding {
        /// Where.
        url: String,
        /// Its encoding.
        found: String,
    },
    /// The database knows no letters but those of ASCII, so nothing with others would be found in time.
    #[error(
        "the database {url} has the character type {found}, in which only a to z are letters; one that knows all of them is needed \
         (CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0)"
    )]
    Letters {
        /// Where.
        url: String,
        /// Its character type.
        found: String,
    },
    /// The extension that finds words with a slip in them is not there and cannot be made.
    #[error(
        "the database {url} has no extension pg_trgm, and this user cannot make it: install the server's contrib package, \
         then run CREATE EXTENSION pg_trgm there as its owner"
    )]
    Extension {
        /// Where.
        url: String,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// The tables cannot be made or brought up to date.
    #[error("cannot bring the tables of {url} up to date")]
    Tables {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
}

/// The connections of one server.
pub(crate) struct Pools {
    pub(crate) writers: PgPool,
    pub(crate) readers: PgPool,
    pub(crate) leases: PgPool,
}

/// Connections to a database whose tables are up to date.
pub(crate) async fn open(url: &DatabaseUrl) -> Result<Pools, OpenError> {
    let unreachable = |source| OpenError::Unreachable {
        url: url.to_string(),
        source,
    };
    let first = pool(url, 1, "SET search_path = atcr_index, public")
        .await
        .map_err(unreachable)?;
    let prepared = prepare(&first, url).await;
    first.close().await;
    prepared?;
    let writers = pool(url, WRITERS, WRITER).await.map_err(unreachable)?;
    let readers = pool(url, READERS, READER).await.map_err(unreachable)?;
    let leases = pool(url, LEASES, LEASE).await.map_err(unreachable)?;
    Ok(Pools {
        writers,
        readers,
        leases,
    })
}

async fn pool(url: &DatabaseUrl, connections: u32, session: &'static str) -> Result<PgPool, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(SESSION).execute(&mut *connection).await?;
                sqlx::raw_sql(session).execute(&mut *connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(url.options.clone());
    // A pool tries again for as long as it waits, and then says only that; the first try says why.
    let connecting = PgConnection::connect_with(&url.options);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
    Ok(pool)
}

/// Checks what the database is, and brings its tables up to date.
async fn prepare(pool: &PgPool, url: &DatabaseUrl) -> Result<(), OpenError> {
    let unreachable = |source| OpenError::Unreachable {
        url: url.to_string(),
        source,
    };
    let (version, found, encoding): (i32, String, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_version'), current_setting('server_encoding')",
    )
    .fetch_one(pool)
    .await
    .map_err(unreachable)?;
    check_version(version, &found, url)?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding {
            url: url.to_string(),
            found: encoding,
        });
    }
    let tables = |source| OpenError::Tables {
        url: url.to_string(),
        source,
    };
    let refused = |error| tables(MigrateError::Execute(error));
    // Several servers may start at once.
    let mut transaction = pool.begin().await.map_err(unreachable)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(crate::WRITER_LOCK + 1)
        .execute(&mut *transaction)
        .await
        .map_err(unreachable)?;
    // Asked for first: a user who may not make it may have been given it.
    let is_there: bool = sqlx::query_scalar("SELECT to_regnamespace('atcr_index') IS NOT NULL")
        .fetch_one(&mut *transaction)
        .await
        .map_err(unreachable)?;
    if !is_there {
        sqlx::raw_sql("CREATE SCHEMA atcr_index")
            .execute(&mut *transaction)
            .await
            .map_err(refused)?;
    }
    sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
        .execute(&mut *transaction)
        .await
        .map_err(|source| OpenError::Extension {
            url: url.to_string(),
            source,
        })?;
    // Of other words no groups of three characters would be made, so a search for them would read every row.
    let (knows_letters, found): (bool, String) = sqlx::query_as(
        "SELECT lower('Ä') = 'ä' AND cardinality(show_trgm('äöü')) > 0, datctype FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(unreachable)?;
    if !knows_letters {
        return Err(OpenError::Letters {
            url: url.to_string(),
            found,
        });
    }
    transaction.commit().await.map_err(refused)?;
    MIGRATIONS.run(pool).await.map_err(tables)
}

fn check_version(version: i32, found: &str, url: &DatabaseUrl) -> Result<(), OpenError> {
    if version < OLDEST_VERSION {
        return Err(OpenError::Version {
            url: url.to_string(),
            found: found.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH_PASSWORD: &str = "postgres://atcr:s3cr3t@db.example:5433/atcr?sslmode=require";

    #[test]
    fn an_address_shows_no_credentials() {
        let url = DatabaseUrl::parse(WITH_PASSWORD).unwrap();
        assert_eq!(url.to_string(), "postgres://db.example:5433/atcr");
        assert_eq!(format!("{url:?}"), "postgres://db.example:5433/atcr");
        let error = OpenError::Unreachable {
            url: url.to_string(),
            source: sqlx::Error::PoolTimedOut,
        };
        assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        for (text, wrong) in [
            ("mysql://u:s3cr3t@h/d", "postgres://"),
            ("postgres://u:s3cr3t@h", "name a database"),
            ("postgres://u:s3cr3t@h:port/d", "of the form"),
            ("s3cr3t", "of the form"),
        ] {
            let error = DatabaseUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn an_old_server_is_refused_by_name() {
        let url = DatabaseUrl::parse(WITH_PASSWORD).unwrap();
        let error = check_version(140_011, "14.11 (Debian)", &url).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("PostgreSQL 14.11 (Debian); 15 or later")
        );
        check_version(150_000, "15.0", &url).unwrap();
    }
}
