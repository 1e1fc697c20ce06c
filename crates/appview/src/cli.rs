//! The command line: `serve`, `config init`, `config check`, `index`, `db-migrate`.

use std::path::PathBuf;

use anyhow::Context as _;
use atcr_server::telemetry::{init_logging, install_metrics, metrics_router};
use atcr_server::{ConfigCommand, LoadOptions, Loaded, Problems, Shutdown, health, load, run_to_end, serve};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;

use crate::compose;
use crate::config::AppViewConfig;
use crate::db_migrate::DbMigrate;
use crate::index_command::IndexCommand;
use crate::settings::AppViewSettings;

/// The ATCR AppView: a container registry over the AT Protocol.
#[derive(Debug, Parser)]
#[command(name = "atcr-appview", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the appview until it is told to stop
    Serve {
        /// Configuration file; without one, defaults and the environment
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Work with the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Copy the index of the network from its file into the database of index.database_url, compare every row, and keep the file. While no
    /// server runs with either. Sessions and devices stay in ui.db
    DbMigrate(DbMigrate),
    /// Work with the index of the network
    #[command(subcommand)]
    Index(IndexCommand),
}

/// Runs the command that `cli` asks for.
///
/// # Errors
/// Why it could not be done, for the person at the terminal.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve { config } => {
            let loaded = load::<AppViewConfig>(&LoadOptions::from_process(config))?;
            run_to_end(serve_until_stopped(loaded))
        }
        Command::Index(command) => run_to_end(command.run()),
        Command::DbMigrate(command) => run_to_end(command.run()),
        Command::Config(command) => {
            command.run::<AppViewConfig>("server.base_url and server.default_hold_did")
        }
    }
}

async fn serve_until_stopped(loaded: Loaded<AppViewConfig>) -> anyhow::Result<()> {
    let Loaded { config, warnings } = loaded;
    let settings = AppViewSettings::parse(&config, &mut Problems::default())
        .context("the configuration changed while it was read")?;
    init_logging(&config.log_level, settings.log_format)
        .map_err(anyhow::Error::msg)
        .context("log_level")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot listen for signals")?;
    let mut metrics = None;
    if let Some(addr) = settings.metrics_listen {
        let handle = install_metrics().map_err(anyhow::Error::msg)?;
        metrics = Some((bind(addr, "server.metrics_addr").await?, metrics_router(handle)));
    }
    let (addr, grace) = (settings.listen, settings.shutdown_grace.get());
    let listener = bind(addr, "server.addr").await?;
    // Migrations may take long, or wait for another process, and have nothing to finish.
    let composed = compose::compose(&settings, compose::Outside::real(), shutdown.clone());
    let Some(app) = shutdown.unless_begun(composed).await else {
        return Ok(());
    };
    let app = app?;
    if let Some((listener, router)) = metrics {
        let router = router.merge(health::operator_routes(app.readiness.clone()));
        shutdown.spawn(serve::serve(listener, router, shutdown.clone()));
    }
    tracing::info!(%addr, base_url = %app.base_url, did = %app.did, "serving");
    serve::serve_within(listener, app.router, settings.listener.clone(), shutdown.clone()).await;
    let finished = shutdown.drain(grace).await;
    app.database.close().await;
    app.index.close().await;
    if finished {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped with requests unfinished");
    }
    Ok(())
}

async fn bind(addr: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr} ({key})"))
}
