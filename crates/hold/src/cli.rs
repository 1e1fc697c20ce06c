//! `atcr-hold serve`, `config init`, `config check`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use atcr_config::{LoadOptions, Loaded, Problems, commented_yaml, load};
use clap::{Parser, Subcommand};

use crate::compose;
use crate::config::{HoldConfig, HoldSettings};

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

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write a commented configuration with every default
    Init {
        /// Where to write it; standard output when left out
        file: Option<PathBuf>,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
    },
    /// Say everything that is wrong with a configuration
    Check {
        /// Configuration file; without one, defaults and the environment
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Unknown keys are errors
        #[arg(long)]
        strict: bool,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve { config } => serve(config),
        Command::Config(ConfigCommand::Init { file, force }) => init(file.as_deref(), force),
        Command::Config(ConfigCommand::Check { config, strict }) => check(config, strict),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The one place that speaks to the terminal: tracing may not be set up yet.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The text of `config init`: every key with its default and its documentation.
///
/// # Errors
/// The serializer's, if the defaults cannot be written.
pub fn example_config() -> anyhow::Result<String> {
    commented_yaml::<HoldConfig>().context("cannot write the default configuration")
}

fn serve(file: Option<PathBuf>) -> anyhow::Result<()> {
    let Loaded { config, warnings } = load::<HoldConfig>(&LoadOptions::from_process(file))?;
    let settings = HoldSettings::parse(&config, &mut Problems::default())
        .context("the configuration changed while it was read")?;
    atcr_config::telemetry::init_logging(&config.log_level, settings.log_format)
        .map_err(anyhow::Error::msg)
        .context("log_level")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(compose::run(settings))
}

fn init(file: Option<&Path>, force: bool) -> anyhow::Result<()> {
    let text = example_config()?;
    let Some(path) = file else {
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(());
    };
    write_private(path, &text, force).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(
        std::io::stdout(),
        "wrote {}; set server.public_url and registration.owner_did in it",
        path.display()
    )?;
    Ok(())
}

/// The file may come to hold secrets, so only its owner may read it.
fn write_private(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path)?.write_all(text.as_bytes())
}

fn check(file: Option<PathBuf>, strict: bool) -> anyhow::Result<()> {
    let mut options = LoadOptions::from_process(file);
    options.strict = strict;
    let Loaded { warnings, .. } = load::<HoldConfig>(&options)?;
    let mut out = std::io::stdout();
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "the configuration is valid")?;
    Ok(())
}
