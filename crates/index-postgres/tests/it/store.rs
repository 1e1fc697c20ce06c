//! A database of its own for each test, on one server for all.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

use atcr_index_postgres::{DatabaseUrl, PostgresIndex};
use atcr_index_suite::Subject;
use atcr_test_support::postgres_server::PostgresServer;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;

/// Starts with the first test; the server ends with this process.
pub(crate) static SERVER: LazyLock<PostgresServer> = LazyLock::new(|| PostgresServer::start().unwrap());

/// A database with tables and no rows, of which the others are copies.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// Databases of tests that have ended.
static LEFT: Mutex<Vec<String>> = Mutex::new(Vec::new());

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Ends what an earlier test left running, and takes every row out.
const EMPTY: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
    DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(format('atcr_index.%I', tablename), ', ') || ' RESTART IDENTITY'
        FROM pg_tables WHERE schemaname = 'atcr_index' AND tablename <> '_sqlx_migrations'); END $$;
    ALTER SEQUENCE atcr_index.manifest_id RESTART";

pub(crate) fn url(database: &str) -> DatabaseUrl {
    DatabaseUrl::parse(&SERVER.url(database)).unwrap()
}

/// A name that no database has.
pub(crate) fn new_name() -> String {
    format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

async fn template() -> &'static str {
    TEMPLATE
        .get_or_init(|| async {
            let name = new_name();
            SERVER
                .run("postgres", &format!("CREATE DATABASE {name}"))
                .unwrap();
            PostgresIndex::open(&url(&name)).await.unwrap().close().await;
            name
        })
        .await
}

pub(crate) struct Store {
    index: PostgresIndex,
    database: String,
}

impl Store {
    /// The index as another server would open it.
    pub(crate) async fn opened_again(&self) -> PostgresIndex {
        PostgresIndex::open(&url(&self.database)).await.unwrap()
    }

    /// A connection of somebody else.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&SERVER.url(&self.database)).await.unwrap()
    }

    /// Runs SQL in the database.
    pub(crate) fn run(&self, sql: &str) -> String {
        SERVER.run(&self.database, sql).unwrap()
    }
}

impl Subject for Store {
    type Index = PostgresIndex;

    async fn new() -> Self {
        let template = template().await;
        let left = LEFT.lock().unwrap().pop();
        let database = if let Some(database) = left {
            SERVER.run(&database, EMPTY).unwrap();
            database
        } else {
            let database = new_name();
            let create = format!("CREATE DATABASE {database} TEMPLATE {template}");
            SERVER.run("postgres", &create).unwrap();
            database
        };
        Self {
            index: PostgresIndex::open(&url(&database)).await.unwrap(),
            database,
        }
    }

    fn index(&self) -> &PostgresIndex {
        &self.index
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        LEFT.lock().unwrap().push(self.database.clone());
    }
}
