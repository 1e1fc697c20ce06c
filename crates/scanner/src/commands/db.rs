//! `atcr-scanner db`: the vulnerability database by hand. A scanner that serves takes up what is made here.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_server::Shutdown;
use clap::Subcommand;

use crate::compose;
use crate::database::{Updated, Updater};
use crate::settings::ScannerSettings;

/// A command.
#[derive(Clone, Debug, Subcommand)]
pub enum DbCommand {
    /// Say which database is in use, and how old it is
    Status,
    /// Look for a newer one, and use it
    Update,
    /// Use the one in a file, for machines without a network
    Import {
        /// An archive as its publisher has it, or a vulnerability.db
        file: PathBuf,
    },
}

/// Runs `command`.
///
/// # Errors
/// What failed, for people.
#[expect(clippy::print_stdout, reason = "printing is what it is for")]
pub async fn run(command: DbCommand, settings: ScannerSettings) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot watch for signals")?;
    let tools = compose::tools(&settings, compose::launcher()?).await?;
    let databases = compose::databases(&settings, &tools, shutdown.soft())
        .await?
        .context("SCANNER_VULN_ENABLED is false: there is no database")?;
    match command {
        DbCommand::Status => {}
        DbCommand::Update => {
            let updater = Updater::new(Arc::clone(&databases), settings.database_url, Arc::clone(&clock));
            if updater.update().await? == Updated::Unchanged {
                println!("there is no newer database");
            }
        }
        DbCommand::Import { file } => databases.import(&file).await?,
    }
    match databases.current() {
        Some(current) => println!(
            "database of {}, {} hours old, in {}",
            current.status().built.format("%Y-%m-%d %H:%M UTC"),
            current.age(clock.now()).as_secs() / 3600,
            current.folder().display()
        ),
        None => println!(
            "there is no vulnerability database in {}",
            databases.folder().display()
        ),
    }
    Ok(())
}
