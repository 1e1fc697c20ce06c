//! Installs what the real parts and the real clients need; a second run finds everything in place.
//!
//! - [`Need`]: something to install, with what it is called and how long it takes
//! - [`GoTool`], [`CargoTool`]: programs at fixed versions, kept in the cache of [`Workspace`]
//! - [`watch`]: runs a program and reads its progress

mod debian;
mod golang;
mod need;
mod node;
mod running;
mod rust;
mod workspace;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use debian::{can_install_packages, require_commands};
pub use golang::GoTool;
pub use need::Need;
pub use running::{Note, Printed, watch};
pub use rust::{CargoTool, cargo_progress, watch_cargo};
pub use workspace::{Workspace, suites};

/// Receives one line for each thing that is installed.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// The path of command `name`, if it is on PATH.
#[must_use]
pub fn find_command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps daemons where an ordinary user's PATH does not look.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/local/go/bin".into()])
        .chain(postgres_programs())
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Where Debian keeps the programs of PostgreSQL servers, the newest version first.
fn postgres_programs() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, folder)| folder).collect()
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
