//! `atcr-hold init`, `doctor`, `serve`, `keys …`, `identity …`, `relays …`, `gc …`, `repo …`, `config init`, `config check`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use atcr_atproto::syntax::Did;
use atcr_server::{ConfigCommand, LoadOptions, Loaded, Problems, exit_code, load, run_to_end};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use rustix::fs::Mode;

use crate::adapters::relay_client::RelayClient;
use crate::commands::doctor::DoctorArguments;
use crate::commands::gc::GcCommand;
use crate::commands::identity;
use crate::commands::init::InitArguments;
use crate::commands::keys::CarryCommand;
use crate::commands::repo::RepoCommand;
use crate::commands::scans::ScansCommand;
use crate::compose;
use crate::config::HoldConfig;
use crate::relays::RelayApi as _;
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
    /// Set a hold up: asks a few questions, writes the configuration, says what to do next
    Init(Box<InitArguments>),
    /// Look at a hold, running or not, from inside and from outside, and say what to do
    ///
    /// Changes nothing but two objects that it writes into a bucket and removes again. The exit code is 0 if all is well, 1 for warnings,
    /// 2 for problems.
    Doctor(DoctorArguments),
    /// Work with the hold's keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Work with the hold's DID and its document
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// See and ask the relays that the configuration names
    #[command(subcommand)]
    Relays(RelaysCommand),
    /// Work with the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// See and run the garbage collection of the hold that is running
    #[command(subcommand)]
    Gc(GcCommand),
    /// Work with the repository of a hold that is not running
    #[command(subcommand)]
    Repo(RepositoryCommand),
    /// See which images were scanned, and have them scanned again
    #[command(subcommand)]
    Scans(ScansCommand),
}

#[derive(Debug, Subcommand)]
enum RepositoryCommand {
    /// Make the hold of an empty folder, without serving it
    Init {
        /// The DID that was served at the same host before; followers are told that it ended
        #[arg(long, value_name = "DID")]
        replaces: Option<Did>,
        #[command(flatten)]
        configured: Configured,
    },
    #[command(flatten)]
    Kept(RepoCommand),
}

#[derive(Debug, Subcommand)]
enum RelaysCommand {
    /// What each relay knows of the hold
    Status {
        /// Configuration file; without one, defaults and the environment
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Ask each relay to follow the hold, which has to be running
    Announce {
        /// Configuration file; without one, defaults and the environment
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Configured {
    /// Configuration file; without one, defaults and the environment
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Change the signing key; the hold may run
    Rotate {
        #[command(flatten)]
        configured: Configured,
    },
    #[command(flatten)]
    Carry(CarryCommand),
}

#[derive(Debug, Subcommand)]
enum IdentityCommand {
    /// Say who the hold is, and where folder, document and directory differ
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        configured: Configured,
    },
    /// Go on under the hold's DID although its key or its repository is lost
    Recover {
        /// The DID, if neither the folder nor the configuration has it
        #[arg(long, value_name = "DID")]
        did: Option<Did>,
        #[command(flatten)]
        configured: Configured,
    },
}

/// The command line as it is understood, to be compared with what documents say of it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Whatever the process writes is for its own user: blobs, records, uploads and keys.
    rustix::process::umask(Mode::from_bits_retain(0o077));
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Relays(command) => ask_relays(command),
        Command::Serve { config } => run(config, compose::run),
        Command::Init(arguments) => arguments.run(),
        Command::Doctor(arguments) => match arguments.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Keys(KeysCommand::Rotate { configured }) => run(configured.config, async |settings| {
            identity::rotate(&settings).await
        }),
        Command::Identity(IdentityCommand::Show { json, configured }) => {
            run(configured.config, async |settings| {
                identity::show(&settings, json).await
            })
        }
        Command::Identity(IdentityCommand::Recover { did, configured }) => {
            run(configured.config, async |settings| {
                identity::recover(&settings, did).await
            })
        }
        Command::Keys(KeysCommand::Carry(command)) => command.run(),
        Command::Gc(command) => command.run(),
        Command::Repo(RepositoryCommand::Init { replaces, configured }) => {
            run(configured.config, async |settings| {
                identity::init(&settings, replaces).await
            })
        }
        Command::Repo(RepositoryCommand::Kept(command)) => command.run(),
        Command::Scans(command) => command.run(),
        Command::Config(command) => command.run::<HoldConfig>("server.public_url and registration.owner_did"),
    };
    exit_code(outcome)
}

/// One line for each relay; fails if one of them did.
#[expect(clippy::print_stdout, reason = "printing is what it is for")]
fn ask_relays(command: RelaysCommand) -> anyhow::Result<()> {
    let (file, announces) = match command {
        RelaysCommand::Status { config } => (config, false),
        RelaysCommand::Announce { config } => (config, true),
    };
    let Loaded { config, .. } = load::<HoldConfig>(&LoadOptions::from_process(file))?;
    let settings = HoldSettings::parse(&config, &mut Problems::default())
        .context("the configuration changed while it was read")?;
    let hostname = settings.hostname();
    anyhow::ensure!(
        !settings.relays.is_empty(),
        "there is no relay to ask: server.relay_endpoint is empty, or names relays on the internet while {hostname} is not"
    );
    let client = RelayClient::new()?;
    let failed = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(async {
            let mut failed = 0;
            for relay in &settings.relays {
                let outcome = if announces {
                    let asked = client.request_crawl(relay, &hostname).await;
                    asked.map(|()| format!("was asked to follow {hostname}"))
                } else {
                    let status = client.host_status(relay, &hostname).await;
                    status.map(|status| format!("{hostname}: {status}"))
                };
                failed += usize::from(outcome.is_err());
                match outcome {
                    Ok(line) => println!("{relay}: {line}"),
                    Err(error) => println!("{relay}: {:#}", anyhow::Error::new(error)),
                }
            }
            failed
        });
    anyhow::ensure!(failed == 0, "{failed} of {} relays failed", settings.relays.len());
    Ok(())
}

/// Does `work` with the settings, in a runtime of its own.
fn run(
    file: Option<PathBuf>,
    work: impl AsyncFnOnce(HoldSettings) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Loaded { config, warnings } = load::<HoldConfig>(&LoadOptions::from_process(file))?;
    let settings = HoldSettings::parse(&config, &mut Problems::default())
        .context("the configuration changed while it was read")?;
    atcr_server::telemetry::init_logging(&config.log_level, settings.log_format)
        .map_err(anyhow::Error::msg)
        .context("log_level")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    run_to_end(work(settings))
}
