//! The `atcr-appview` program.

use std::process::ExitCode;

use atcr_appview::cli::{Cli, run};
use clap::Parser as _;

fn main() -> ExitCode {
    atcr_server::exit_code(run(Cli::parse()))
}
