//! Commands that Debian packages bring.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::{Say, find_command, run};

/// The packages that bring `command`, where the names differ; the first that the system knows is the one.
fn packages(command: &str) -> Vec<&str> {
    match command {
        // Debian 13 has the client in a package of its own, Debian 12 with the daemon; its `docker` is something else.
        "docker" => vec!["docker-cli", "docker.io"],
        "dockerd" => vec!["docker.io"],
        "cc" => vec!["build-essential"],
        "musl-gcc" => vec!["musl-tools"],
        "gpg" => vec!["gnupg"],
        "docker-credential-pass" => vec!["golang-docker-credential-helpers"],
        "chromedriver" => vec!["chromium-driver"],
        "go" => vec!["golang-go"],
        other => vec![other],
    }
}

/// The package to install for `command`.
fn package<'a>(command: &'a str, is_known: &dyn Fn(&str) -> bool) -> &'a str {
    let packages = packages(command);
    let known = packages.iter().find(|name| is_known(name));
    known.or(packages.last()).copied().unwrap_or(command)
}

/// Whether the package index of this system has `package`.
fn is_known_to_apt(package: &str) -> bool {
    Command::new("apt-cache")
        .args(["show", "--no-all-versions", package])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Makes sure that every command is there, installing Debian packages when this is root on a Debian system.
///
/// # Errors
/// One sentence with the command to run, if something is missing and cannot be installed here.
pub fn require_commands(commands: &[&str], say: Say<'_>) -> Result<()> {
    let missing: Vec<&str> = commands
        .iter()
        .copied()
        .filter(|name| find_command(name).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let is_installer = rustix::process::geteuid().is_root() && find_command("apt-get").is_some();
    if is_installer {
        run(Command::new("apt-get").args(["update", "-qq"]), "apt-get update")?;
    }
    let mut wanted: Vec<&str> = missing
        .iter()
        .map(|name| package(name, &is_known_to_apt))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let list = wanted.join(" ");
    if !is_installer {
        bail!(
            "{} not found; install with your package manager, for example `sudo apt-get install {list}`",
            missing.join(", ")
        );
    }
    say(&format!("installing Debian packages: {list}"));
    run(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&wanted)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // A daemon is started by whoever needs it, not by its package.
            .env("RUNLEVEL", "1"),
        "apt-get install",
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::package;

    #[test]
    fn the_docker_client_comes_from_a_package_of_docker_and_not_from_the_one_called_docker() {
        assert_eq!(
            package("docker", &|name| name == "docker.io" || name == "docker"),
            "docker.io"
        );
        assert_eq!(package("docker", &|_| true), "docker-cli");
        assert_eq!(package("docker", &|_| false), "docker.io");
    }

    #[test]
    fn a_command_of_no_other_name_comes_from_its_own_package() {
        assert_eq!(package("skopeo", &|_| true), "skopeo");
        assert_eq!(package("cc", &|_| true), "build-essential");
    }
}
