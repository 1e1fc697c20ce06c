//! The development commands: `cargo xtask up`, `demo`, `test`, `conformance` and their companions.

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
mod tools;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use interrupt::{EXIT_CODE, Interrupt, Interrupted};
use progress::print_error;

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
    /// Show which parts of the registry run, and where
    Status(up::StateArguments),
    /// Push and pull a real image, and show that every digest is equal
    Demo(demo::DemoArguments),
    /// Run all tests, after installing what they need
    Test(test::TestArguments),
    /// Install what the tests talk to, and nothing else
    Tools,
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
            print_error(format_args!("cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(command));
    // Work that was given up may still be at its end on a thread.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(sentence(&error));
            if error.is::<Interrupted>() {
                EXIT_CODE.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The sentence of an error and of its causes. A cause that the text has already, since an error may carry its own, is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn run(command: Command) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let outcome = match command {
        Command::Up(arguments) => up::up(arguments, &interrupt).await,
        Command::Down(arguments) => interrupt.or(up::down(&arguments)).await,
        Command::Status(arguments) => interrupt.or(up::status(&arguments)).await,
        Command::Demo(arguments) => demo::demo(arguments, &interrupt).await,
        Command::Tools => tools::tools(&interrupt).await,
        Command::Test(arguments) => test::test(arguments, &interrupt).await,
        Command::Conformance(arguments) => conformance::conformance(arguments, &interrupt).await,
        Command::Dist(arguments) => {
            interrupt
                .or(interrupt::blocking(move || dist::dist(&arguments)))
                .await
        }
    };
    if outcome.is_err() {
        // Of two things that were done at once, the other may still be at it.
        interrupt.clean_up().await;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read key.pem: {source}")]
    struct WithItsCause {
        source: std::io::Error,
    }

    #[test]
    fn a_cause_that_an_error_carries_in_its_own_text_is_said_once() {
        let source = std::io::Error::from_raw_os_error(2);
        let error = anyhow::Error::from(WithItsCause { source }).context("cannot start");
        assert_eq!(
            sentence(&error),
            "cannot start: cannot read key.pem: No such file or directory (os error 2)"
        );
    }
}
