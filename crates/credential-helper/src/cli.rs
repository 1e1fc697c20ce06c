//! Arguments, and which command they are for.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::{
    Context, configure_docker, erase, get, list, login, logout, scan, status, store, switch, update, verify,
    version,
};
use crate::environment::Environment;
use crate::error::{self, HelperError};
use crate::printer::Printer;

/// Sign Docker in to ATCR registries with your own AT Protocol account.
#[derive(Debug, Parser)]
#[command(
    name = "docker-credential-atcr",
    version = version::line(),
    arg_required_else_help = true,
    after_help = "Start with: docker-credential-atcr login atcr.io"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign in to a registry
    Login(login::LoginArguments),
    /// Sign out of a registry and forget the account
    Logout(logout::LogoutArguments),
    /// Show the accounts, and whether their sign-ins still work
    Status(status::StatusArguments),
    /// Choose the account for images whose name does not say which
    Switch(switch::SwitchArguments),
    /// Make Docker ask this program for a registry's credentials
    ConfigureDocker(configure_docker::ConfigureDockerArguments),
    /// Prove that an image is its author's, without trusting the registry
    Verify(Box<verify::VerifyArguments>),
    /// Show the known vulnerabilities of an image, as its hold found them
    Scan(scan::ScanArguments),
    /// Replace this program with its newest release
    Update(update::UpdateArguments),
    /// Show the version
    Version(version::VersionArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Answer Docker: who is signed in to the registry on standard input
    #[command(hide = true)]
    Get,
    /// Take credentials from `docker login`
    #[command(hide = true)]
    Store,
    /// Take credentials out of use for `docker logout`
    #[command(hide = true)]
    Erase,
    /// Answer Docker: all registries and their accounts
    #[command(hide = true)]
    List,
}

impl Command {
    /// Whether Docker is at the other end, which reads errors from standard output.
    const fn is_protocol(&self) -> bool {
        matches!(self, Self::Get | Self::Store | Self::Erase | Self::List)
    }

    /// Whether a script reads the answer; then the command asks nothing.
    const fn writes_json(&self) -> bool {
        match self {
            Self::Login(arguments) => arguments.json,
            Self::Logout(arguments) => arguments.json,
            Self::Status(arguments) => arguments.json,
            Self::Switch(arguments) => arguments.json,
            Self::ConfigureDocker(arguments) => arguments.json,
            Self::Update(arguments) => arguments.json,
            Self::Verify(arguments) => arguments.json,
            Self::Scan(arguments) => arguments.json,
            Self::Version(arguments) => arguments.json,
            Self::Completions { .. } | Self::Get | Self::Store | Self::Erase | Self::List => false,
        }
    }
}

/// The command line as it is understood, to be compared with what documents say of it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command in `arguments`, the program's name first, and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(error) => {
            // Help goes to standard output, complaints to standard error; neither can be reported further.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment = Environment::read();
    let printer = match Printer::new(&environment) {
        printer if command.writes_json() => printer.without_questions(),
        printer => printer,
    };
    let is_protocol = command.is_protocol();
    match dispatch(command, environment, printer.clone()) {
        Ok(code) => code,
        Err(error) => {
            let sentence = error::chain(&error);
            if is_protocol {
                printer.product(sentence);
            } else {
                printer.error(sentence);
            }
            if let Some(hint) = error.hint() {
                printer.hint(hint);
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, environment: Environment, printer: Printer) -> Result<ExitCode, HelperError> {
    match command {
        Command::Version(arguments) => return Ok(version::version(&printer, &arguments)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "docker-credential-atcr",
                &mut script,
            );
            printer.product_bytes(&script);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Update(arguments) => return update::update(&printer, &arguments),
        _ => {}
    }
    let context = Context::new(environment, printer)?;
    match command {
        Command::Login(arguments) => login::login(&context, &arguments),
        Command::Logout(arguments) => logout::logout(&context, &arguments),
        Command::Status(arguments) => status::status(&context, &arguments),
        Command::Switch(arguments) => switch::switch(&context, &arguments),
        Command::ConfigureDocker(arguments) => configure_docker::configure_docker(&context, &arguments),
        Command::Verify(arguments) => verify::verify(&context, &arguments),
        Command::Scan(arguments) => scan::scan(&context, &arguments),
        Command::Get => get::get(&context),
        Command::Store => store::store(&context),
        Command::Erase => erase::erase(&context),
        Command::List => list::list(&context),
        Command::Version(_) | Command::Completions { .. } | Command::Update(_) => Ok(ExitCode::SUCCESS),
    }
}
