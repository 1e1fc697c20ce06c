//! The command line: `serve`, `config init`, `config check`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use atcr_config::telemetry::{LogFormat, init_logging, install_metrics, listen_addr, metrics_router};
use atcr_config::{LoadOptions, Loaded, Shutdown, commented_yaml, load, serve};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;

use crate::compose;
use crate::config::AppViewConfig;

/// The ATCR AppView: a container registry over the AT Protocol.
#[derive(Debug, Parser)]
#[command(name = "atcr-appview", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM.
    Serve {
        /// The configuration file; without one, defaults and the environment.
        #[arg(long, short)]
        config: Option<PathBuf>,
    },
    /// Make and check configuration files.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write a configuration file with every setting, its default and what it means.
    Init {
        /// Where to; without it, to standard output. An existing file is left alone.
        file: Option<PathBuf>,
    },
    /// Say everything that is wrong with a configuration.
    Check {
        /// The configuration file; without one, defaults and the environment.
        #[arg(long, short)]
        config: Option<PathBuf>,
        /// Unknown settings are wrong too.
        #[arg(long)]
        strict: bool,
    },
}

/// Runs the command that `cli` asks for.
///
/// # Errors
/// Why it could not be done, for the person at the terminal.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve { config } => {
            let loaded = load::<AppViewConfig>(&LoadOptions::from_process(config))?;
            serve_until_stopped(loaded).await
        }
        Command::Config {
            command: ConfigCommand::Init { file },
        } => init(file),
        Command::Config {
            command: ConfigCommand::Check { config, strict },
        } => {
            let options = LoadOptions {
                strict,
                ..LoadOptions::from_process(config)
            };
            let loaded = load::<AppViewConfig>(&options)?;
            let mut out = std::io::stdout().lock();
            for warning in loaded.warnings {
                writeln!(out, "warning: {warning}")?;
            }
            writeln!(out, "the configuration is valid")?;
            Ok(())
        }
    }
}

fn init(file: Option<PathBuf>) -> anyhow::Result<()> {
    let yaml = commented_yaml::<AppViewConfig>()?;
    match file {
        None => Ok(std::io::stdout().lock().write_all(yaml.as_bytes())?),
        Some(path) => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(yaml.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display())),
    }
}

async fn serve_until_stopped(loaded: Loaded<AppViewConfig>) -> anyhow::Result<()> {
    let Loaded { config, warnings } = loaded;
    let format = if config.log_format == "json" {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    init_logging(&config.log_level, format)
        .map_err(anyhow::Error::msg)
        .context("log_level")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot listen for signals")?;
    if !config.server.metrics_addr.is_empty() {
        let metrics = install_metrics().map_err(anyhow::Error::msg)?;
        let addr = listen_addr(&config.server.metrics_addr).map_err(anyhow::Error::msg)?;
        let listener = bind(addr, "server.metrics_addr").await?;
        shutdown.spawn(serve::serve(listener, metrics_router(metrics), shutdown.clone()));
    }
    let addr = config.listen_addr().map_err(anyhow::Error::msg)?;
    let grace = config.server.shutdown_grace.get();
    let listener = bind(addr, "server.addr").await?;
    let app = compose::compose(&config, compose::Outside::real(), shutdown.clone()).await?;
    tracing::info!(%addr, base_url = %app.base_url, did = %app.did, "serving");
    serve::serve(listener, app.router, shutdown.clone()).await;
    let finished = shutdown.drain(grace).await;
    app.database.close().await;
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
