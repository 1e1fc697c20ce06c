//! Commands that Debian packages bring.

use std::process::Command;

use anyhow::{Result, bail};

use super::{Say, find_command, run};

/// The package that brings `command`, where the names differ.
fn package(command: &str) -> &str {
    match command {
        "dockerd" => "docker.io",
        "cc" => "build-essential",
        "musl-gcc" => "musl-tools",
        "gpg" => "gnupg",
        "docker-credential-pass" => "golang-docker-credential-helpers",
        "chromedriver" => "chromium-driver",
        other => other,
    }
}

/// Makes sure that every command is there, installing Debian packages when this is root on a Debian system.
///
/// # Errors
/// One sentence with the command to run, if something is missing and cannot be installed here.
pub fn require_commands(commands: &[&str], say: Say<'_>) -> Result<()> {
    let mut missing: Vec<&str> = commands
        .iter()
        .filter(|name| find_command(name).is_none())
        .map(|name| package(name))
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !rustix::process::geteuid().is_root() || find_command("apt-get").is_none() {
        bail!(
            "missing: {list}; install with your package manager, for example `sudo apt-get install {list}`"
        );
    }
    say(&format!("installing Debian packages: {list}"));
    run(Command::new("apt-get").args(["update", "-qq"]), "apt-get update")?;
    run(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // A daemon is started by whoever needs it, not by its package.
            .env("RUNLEVEL", "1"),
        "apt-get install",
    )
}
