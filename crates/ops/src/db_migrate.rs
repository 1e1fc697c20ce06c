//! Moves an appview's index of the network: the same copy as `atcr-appview db-migrate`, with the file and the database as arguments.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail};
use atcr_index_postgres::{DatabaseUrl, PostgresIndex, Progress};
use clap::Args;
use serde_json::json;

use crate::output::Output;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples, while no appview runs with either:
  atcr db-migrate --file /var/lib/atcr/index.db --to postgres://atcr@db.example/atcr
  ATCR_INDEX_DATABASE_URL=postgres://… atcr db-migrate --json

The password may also come from PGPASSWORD or ~/.pgpass. Sessions and devices stay in the appview's own ui.db.";

/// From where to where.
#[derive(Debug, Args)]
pub struct DbMigrate {
    /// The index's file
    #[arg(
        long,
        value_name = "FILE",
        env = "ATCR_INDEX_DATABASE_PATH",
        default_value = "/var/lib/atcr/index.db"
    )]
    file: PathBuf,
    /// The database, which has to be empty
    #[arg(
        long,
        value_name = "URL",
        env = "ATCR_INDEX_DATABASE_URL",
        hide_env_values = true,
        value_parser = DatabaseUrl::parse
    )]
    to: DatabaseUrl,
    /// Answer with a line of JSON for each table, and one at the end
    #[arg(long)]
    json: bool,
}

impl DbMigrate {
    /// Copies the index and compares every row.
    ///
    /// # Errors
    /// Why it could not be done. The database is then as it was, and the file always is.
    pub async fn run(self) -> anyhow::Result<()> {
        let output = Output::new(self.json);
        let file = self.file.display();
        if !self.file.is_file() {
            bail!("there is no file {file}");
        }
        let begun = Instant::now();
        output.line(format!("from {file} to {}", self.to));
        let index = PostgresIndex::open(&self.to).await?;
        let mut all = 0;
        let mut note = |progress| match progress {
            Progress::Copied { table, rows, of } => output.progress(format!("{table}: {rows} of {of} rows")),
            Progress::Equal { table, rows } => {
                all += rows;
                output.line(format!("{table}: {rows} rows, all equal"));
                output.json(&json!({ "table": table, "rows": rows }));
            }
            Progress::Searchable { rows } => output.progress(format!("search: {rows} repositories")),
        };
        let copied = index.import_sqlite(&self.file, &mut note).await;
        index.close().await;
        output.done();
        copied.with_context(|| format!("{file} was not copied; the database is as it was"))?;
        output.line(format!(
            "{all} rows in {:.0?}. {file} is as it was; an appview with index.database_url no longer reads it.",
            begun.elapsed()
        ));
        output.json(&json!({ "copied": true, "rows": all, "seconds": begun.elapsed().as_secs() }));
        Ok(())
    }
}
