//! `version`: what this program is.

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Args;
use serde_json::json;

use crate::printer::Printer;
use crate::release::Version;

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct VersionArguments {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commit this was built from; release builds name it.
fn commit() -> &'static str {
    option_env!("ATCR_BUILD_COMMIT").unwrap_or("unknown")
}

/// When it was built; release builds name it.
fn date() -> &'static str {
    option_env!("ATCR_BUILD_DATE").unwrap_or("unknown")
}

/// The version with commit and date.
#[must_use]
pub fn line() -> &'static str {
    static LINE: LazyLock<String> =
        LazyLock::new(|| format!("{} (commit {}, built {})", Version::current(), commit(), date()));
    &LINE
}

/// Writes the version. The second word of the line is the bare version; `update` reads it there.
pub fn version(printer: &Printer, arguments: &VersionArguments) -> ExitCode {
    if arguments.json {
        printer.json(&json!({
            "version": Version::current(),
            "commit": commit(),
            "date": date(),
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        }));
    } else {
        printer.product(format_args!("docker-credential-atcr {}", line()));
    }
    ExitCode::SUCCESS
}
