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
mod image;
mod interrupt;
mod network;
mod progress;
mod s3_check;
mod test;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use interrupt::{EXIT_CODE, Interrupt, Interrupted};

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
    Demo(demo::DemoArguments),
    /// Pass all tests; installs what they need
    Test(test::TestArguments),
    /// Run the OCI distribution conformance suite against a fresh registry
    Conformance(conformance::ConformanceArguments),
    /// Make a release of the credential helper: archives, checksums, signatures
    Dist(dist::DistArguments),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(command));
    // Work that was given up may still be at its end on a thread.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Interrupted>() {
                EXIT_CODE.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let outcome = match command {
        Command::Up(arguments) => up::up(arguments, &interrupt).await,
        Command::Down(arguments) => interrupt.or(up::down(&arguments)).await,
        Command::Status(arguments) => interrupt.or(up::status(&arguments)).await,
        Command::Demo(arguments) => demo::demo(arguments, &interrupt).await,
        Command::Test(arguments) => test::test(arguments, &interrupt).await,
        Command::Conformance(arguments) => conformance::conformance(arguments, &interrupt).await,
        Command::Dist(arguments) => {
            interrupt
                .or(interrupt::blocking(move || dist::dist(&arguments)))
                .await
        }
    };
    if outcome.as_ref().is_err_and(|error| error.is::<Interrupted>()) {
        interrupt.clean_up().await;
    }
    outcome
}
