//! Programs that are built from crates at a fixed version, and kept in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Say, Workspace, run};

const CARGO_DENY: &str = "0.20.2";

/// The path of cargo-deny, built first (two to five minutes) if the cache has it not at this version.
///
/// # Errors
/// If the build fails.
pub fn require_cargo_deny(workspace: &Workspace, say: Say<'_>) -> Result<PathBuf> {
    let folder = workspace.cache().join(format!("cargo-deny-{CARGO_DENY}"));
    let binary = folder.join("bin").join("cargo-deny");
    if !binary.is_file() {
        say(&format!("building cargo-deny {CARGO_DENY} (a few minutes, once)"));
        run(
            Command::new("cargo")
                .args([
                    "install",
                    "--quiet",
                    "--locked",
                    "cargo-deny",
                    "--version",
                    CARGO_DENY,
                    "--root",
                ])
                .arg(&folder)
                // A folder of its own, which cargo removes: nothing here is of use to the workspace.
                .env_remove("CARGO_TARGET_DIR"),
            "cargo install cargo-deny",
        )?;
    }
    Ok(binary)
}
