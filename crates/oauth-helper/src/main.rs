//! The doorway of `oauth-helper`.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    atcr_oauth_helper::run(atcr_oauth_helper::Options::parse()).await
}
