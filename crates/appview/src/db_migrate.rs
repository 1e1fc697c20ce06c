//! `atcr-appview db-migrate`: the index of the network, moved from its file into a PostgreSQL database.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail};
use atcr_index_postgres::{PostgresIndex, Progress};
use atcr_server::{LoadOptions, Problems, load};
use clap::{Args, ValueEnum};

use crate::config::AppViewConfig;
use crate::settings::AppViewSettings;

/// Rows after which the progress of a table is said.
const SAID_EVERY: u64 = 100_000;

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatabaseKind {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// From where to where.
#[derive(Debug, Args)]
pub struct DbMigrate {
    /// What the index is in
    #[arg(long, value_enum)]
    from: DatabaseKind,
    /// What it is moved to: the database of index.database_url
    #[arg(long, value_enum)]
    to: DatabaseKind,
    /// The index's file; without one, index.db in the data folder
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Configuration file; without one, defaults and the environment
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "what the command was asked for")]
fn say(line: &str) {
    println!("{line}");
}

impl DbMigrate {
    /// Copies the index and compares every row.
    ///
    /// # Errors
    /// Why it could not be done. The database is then as it was, and the file always is.
    pub async fn run(self) -> anyhow::Result<()> {
        if (self.from, self.to) != (DatabaseKind::Sqlite, DatabaseKind::Postgres) {
            bail!("only --from sqlite --to postgres is there");
        }
        let config = load::<AppViewConfig>(&LoadOptions::from_process(self.config))?.config;
        let settings = AppViewSettings::parse(&config, &mut Problems::default())
            .context("the configuration changed while it was read")?;
        let url = settings
            .index_database
            .context("index.database_url is not set: it says where to")?;
        let file = self.file.unwrap_or(settings.paths.index);
        if !file.is_file() {
            bail!("there is no file {}", file.display());
        }
        let begun = Instant::now();
        say(&format!("from {} to {url}", file.display()));
        let index = PostgresIndex::open(&url).await?;
        let mut said = 0;
        let mut note = |progress| match progress {
            Progress::Copied { table, rows, of } => {
                if rows >= said + SAID_EVERY {
                    said = rows;
                    say(&format!("  {table}: {rows} of {of} rows"));
                }
            }
            Progress::Equal { table, rows } => {
                said = 0;
                say(&format!("{table}: {rows} rows, all equal"));
            }
            Progress::Searchable { rows } => say(&format!("search: {rows} repositories")),
        };
        let copied = index.import_sqlite(&file, &mut note).await;
        index.close().await;
        copied.with_context(|| format!("{} was not copied; the database is as it was", file.display()))?;
        say(&format!(
            "Done in {:.0?}. {} is as it was; the server with index.database_url no longer reads it.",
            begun.elapsed(),
            file.display()
        ));
        Ok(())
    }
}
