//! Installs what the real parts and the real clients need, and says so; a second run finds everything in place.

mod debian;
mod golang;
mod node;
mod rust;
mod workspace;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

pub use debian::require_commands;
pub use golang::{GoTool, build_go_folder, require_go_tool};
pub use node::require_network_packages;
pub use rust::require_cargo_deny;
pub use workspace::{Workspace, suites};

/// How many lines of a command's output an error shows.
const FAILURE_LINES: usize = 4;

/// Receives one line for each thing that is installed.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// The path of command `name`, if it is on PATH.
#[must_use]
pub fn find_command(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps daemons where an ordinary user's PATH does not look.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/local/go/bin".into()])
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Runs `command` quietly and returns what it printed to its standard output; if it fails, the error has the command to
/// run by hand and the last lines.
fn run(command: &mut Command, what: &str) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what}: cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        let mut by_hand = command.get_program().to_string_lossy().into_owned();
        for argument in command.get_args() {
            by_hand = format!("{by_hand} {}", argument.display());
        }
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(FAILURE_LINES)..].join("\n  ");
        bail!("{what} failed; `{by_hand}` shows why:\n  {tail}");
    }
    Ok(output.stdout)
}

/// Makes `link` point at `target`, replacing an older link.
fn relink(target: &Path, link: &Path) -> Result<()> {
    if std::fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    if link.is_symlink() {
        std::fs::remove_file(link)?;
    } else if link.exists() {
        std::fs::remove_dir_all(link)?;
    }
    std::os::unix::fs::symlink(target, link).with_context(|| format!("cannot link {}", link.display()))
}
