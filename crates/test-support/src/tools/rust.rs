//! Programs that are built from crates at a fixed version and kept in the cache, and what cargo says of its progress.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::running::run_noting;
use super::{Note, Printed, Workspace, watch};

/// A Rust program at a fixed version.
#[derive(Clone, Copy, Debug)]
pub struct CargoTool {
    /// The crate's name, which is the command's too.
    pub name: &'static str,
    pub(super) version: &'static str,
    /// About how long the build takes on two cores.
    pub(super) estimate: Duration,
}

impl CargoTool {
    /// Checks licences, sources and duplicates of dependencies.
    pub const DENY: Self = Self {
        name: "cargo-deny",
        version: "0.20.2",
        estimate: Duration::from_mins(4),
    };
    /// Finds dependencies that no code uses.
    pub const MACHETE: Self = Self {
        name: "cargo-machete",
        version: "0.9.2",
        estimate: Duration::from_mins(1),
    };

    /// Where the program is once it is installed.
    #[must_use]
    pub fn path(self, workspace: &Workspace) -> PathBuf {
        self.folder(workspace).join("bin").join(self.name)
    }

    fn folder(self, workspace: &Workspace) -> PathBuf {
        workspace.cache().join(format!("{}-{}", self.name, self.version))
    }
}

/// Builds `tool` into the cache, if it is not there at this version.
///
/// # Errors
/// If the build fails.
pub(super) fn install_cargo_tool(workspace: &Workspace, tool: CargoTool, note: Note<'_>) -> Result<()> {
    if tool.path(workspace).is_file() {
        return Ok(());
    }
    let mut command = Command::new("cargo");
    command
        .args([
            "install",
            "--locked",
            tool.name,
            "--version",
            tool.version,
            "--root",
        ])
        .arg(tool.folder(workspace))
        // A folder of its own, which cargo removes: nothing here is of use to the workspace.
        .env_remove("CARGO_TARGET_DIR");
    show_progress(&mut command);
    run_noting(
        &mut command,
        &format!("cargo install {}", tool.name),
        note,
        &mut |line| cargo_progress(line),
    )?;
    Ok(())
}

/// Runs a cargo command to its end and notes its progress.
///
/// # Errors
/// If cargo cannot be started.
pub fn watch_cargo(command: &mut Command, note: Note<'_>) -> Result<Printed> {
    show_progress(command);
    watch(command, note, &mut |line| cargo_progress(line))
}

/// Makes cargo draw its progress bar although it does not write to a terminal.
fn show_progress(command: &mut Command) {
    command
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .env("CARGO_TERM_COLOR", "never");
}

/// How far cargo is, from a line of its standard error: `crate 12 of 590 (serde, tokio)`, or what it waits for.
#[must_use]
pub fn cargo_progress(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(bar) = line.strip_prefix("Building [") {
        let (_, state) = bar.split_once(']')?;
        let (count, crates) = state.trim().split_once(':')?;
        let (done, all) = count.split_once('/')?;
        return Some(format!("crate {done} of {all} ({})", crates.trim()));
    }
    if line.starts_with("Blocking waiting for file lock") {
        return Some("waiting for another cargo".to_owned());
    }
    let is_fetching = line.starts_with("Updating ") || line.starts_with("Download");
    is_fetching.then(|| "downloading crates".to_owned())
}

#[cfg(test)]
mod tests {
    use super::cargo_progress;

    #[test]
    fn the_progress_bar_of_cargo_is_read() {
        assert_eq!(
            cargo_progress("    Building [=====>        ] 123/590: aws-sdk-s3, sqlx-core(build)").as_deref(),
            Some("crate 123 of 590 (aws-sdk-s3, sqlx-core(build))")
        );
        assert_eq!(
            cargo_progress(" Downloading 5 crates, remaining bytes: 1.2MB").as_deref(),
            Some("downloading crates")
        );
        assert_eq!(
            cargo_progress("    Blocking waiting for file lock on build directory").as_deref(),
            Some("waiting for another cargo")
        );
    }

    #[test]
    fn other_lines_of_cargo_are_no_progress() {
        for line in [
            "   Compiling serde v1.0.1",
            "    Finished `release` profile",
            "error: no",
            "Building [",
            "",
        ] {
            assert_eq!(cargo_progress(line), None, "{line}");
        }
    }
}
