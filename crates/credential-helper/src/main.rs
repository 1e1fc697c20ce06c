//! `docker-credential-atcr`: the doorway.

use std::process::ExitCode;

fn main() -> ExitCode {
    atcr_credential_helper::run(std::env::args_os())
}
