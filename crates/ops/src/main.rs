//! The `atcr` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    atcr_ops::run(std::env::args_os())
}
