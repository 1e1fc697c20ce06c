//! `atcr-scanner serve`, `scan`, `doctor`, `db …`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use atcr_server::{LoadOptions, Loaded, exit_code, load, run_to_end};
use clap::{CommandFactory as _, Parser, Subcommand};
use rustix::fs::Mode;

use crate::commands::db::DbCommand;
use crate::commands::doctor;
use crate::commands::scan::ScanArguments;
use crate::config::ScannerConfig;
use crate::serve;
use crate::settings::{HoldSettings, ScannerSettings};
use crate::tools::confine::{self, Confinement};

/// ATCR scanner: lists what is in images and looks up known vulnerabilities, for a hold or by hand.
///
/// Settings are environment variables: SCANNER_HOLD_URL and SCANNER_SHARED_SECRET are required to serve, the others are in
/// docs/SBOM_SCANNING.md.
#[derive(Debug, Parser)]
#[command(name = "atcr-scanner", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Scan for the hold of SCANNER_HOLD_URL until it is told to stop
    Serve,
    /// Scan one image
    Scan(ScanArguments),
    /// Say whether everything is there that a scan needs
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Work with the vulnerability database
    #[command(subcommand)]
    Db(DbCommand),
    /// Become a tool with fewer rights
    #[command(name = "__limit", hide = true)]
    Limit(Confinement),
    /// Say what a tool could still do
    #[command(name = "__probe", hide = true)]
    Probe,
}

/// The command line as it is understood, to be compared with what documents say of it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    rustix::process::umask(Mode::from_bits_retain(0o077));
    let outcome = match Cli::parse().command {
        Command::Serve => serve(),
        Command::Scan(arguments) => configured(Verbosity::Quiet).and_then(|(config, settings)| {
            run_to_end(crate::commands::scan::run(arguments, config, settings))
        }),
        Command::Doctor { json } => configured(Verbosity::Quiet)
            .and_then(|(config, settings)| run_to_end(doctor::run(config, settings, json))),
        Command::Db(command) => configured(Verbosity::Full)
            .and_then(|(_, settings)| run_to_end(crate::commands::db::run(command, settings))),
        Command::Limit(confinement) => confinement.become_tool().map(|never| match never {}),
        Command::Probe => confine::probe(),
    };
    exit_code(outcome)
}

fn serve() -> anyhow::Result<()> {
    let (config, settings) = configured(Verbosity::Full)?;
    let hold = HoldSettings::parse(&config)
        .map_err(|missing| anyhow::anyhow!("problems in the configuration\n  {missing}"))?;
    run_to_end(serve::run(settings, hold))
}

/// What a command logs unless SCANNER_LOG_LEVEL says so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verbosity {
    /// What a server logs.
    Full,
    /// Nothing but what is wrong.
    Quiet,
}

fn configured(verbosity: Verbosity) -> anyhow::Result<(ScannerConfig, ScannerSettings)> {
    let options = LoadOptions::from_process(None::<PathBuf>);
    let Loaded { config, warnings } = load::<ScannerConfig>(&options)?;
    let settings = ScannerSettings::parse(&config, &mut atcr_server::Problems::default())
        .context("the configuration changed while it was read")?;
    let is_set = options.environment.contains_key("SCANNER_LOG_LEVEL");
    let level = if verbosity == Verbosity::Quiet && !is_set {
        "warn"
    } else {
        &config.log_level
    };
    atcr_server::telemetry::init_logging(level, settings.log_format)
        .map_err(anyhow::Error::msg)
        .context("SCANNER_LOG_LEVEL")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok((config, settings))
}
