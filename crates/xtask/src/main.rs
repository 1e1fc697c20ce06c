//! The development commands: `cargo xtask up`, `demo`, `test`, `conformance` and their companions.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks on its terminal"
)]

mod build;
mod conformance;
mod demo;
mod dist;
mod progress;
mod test;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run, try and test ATCR on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole registry on loopback: PLC directory, PDS, hold, appview
    Up(up::UpArguments),
    /// Stop the registry that `up --detach` left running
    Down(up::StateArguments),
    /// Say what of the registry is running, and where
    Status(up::StateArguments),
    /// Push and pull a real image, and show that every digest is equal
    Demo(up::UpArguments),
    /// Pass all tests; installs what they need
    Test(test::TestArguments),
    /// Run the OCI distribution conformance suite against a fresh registry
    Conformance(conformance::ConformanceArguments),
    /// Make a release of the credential helper: archives, checksums, signatures
    Dist(dist::DistArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Up(arguments) => up::up(arguments).await,
        Command::Down(arguments) => up::down(&arguments).await,
        Command::Status(arguments) => up::status(&arguments).await,
        Command::Demo(arguments) => demo::demo(arguments).await,
        Command::Test(arguments) => test::test(&arguments).await,
        Command::Conformance(arguments) => conformance::conformance(&arguments).await,
        Command::Dist(arguments) => dist::dist(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
