//! `atcr-hold serve`, `config init`, `config check`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use atcr_server::{ConfigCommand, LoadOptions, Loaded, Problems, exit_code, load, run_to_end};
use clap::{Parser, Subcommand};
use rustix::fs::Mode;

use crate::compose;
use crate::config::HoldConfig;
use crate::settings::HoldSettings;

/// ATCR hold: stores container image layers and serves them to registries.
#[derive(Debug, Parser)]
#[command(name = "atcr-hold", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hold until it is told to stop
    Serve {
        /// Configuration file; without one, defaults and the environment
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Work with the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve { config } => serve(config),
        Command::Config(command) => command.run::<HoldConfig>("server.public_url and registration.owner_did"),
    };
    exit_code(outcome)
}

fn serve(file: Option<PathBuf>) -> anyhow::Result<()> {
    // Whatever the process writes is for its own user: blobs, records, uploads and keys.
    rustix::process::umask(Mode::from_bits_retain(0o077));
    let Loaded { config, warnings } = load::<HoldConfig>(&LoadOptions::from_process(file))?;
    let settings = HoldSettings::parse(&config, &mut Problems::default())
        .context("the configuration changed while it was read")?;
    atcr_server::telemetry::init_logging(&config.log_level, settings.log_format)
        .map_err(anyhow::Error::msg)
        .context("log_level")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    run_to_end(compose::run(settings))
}
