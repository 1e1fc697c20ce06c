//! Commands that Debian packages bring.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::running::{run, run_noting};
use super::{Note, Say, find_command};

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
        "initdb" => vec!["postgresql"],
        "psql" => vec!["postgresql-client"],
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

/// Those of `commands` that are not on PATH.
pub(super) fn missing_commands<'a>(commands: &[&'a str]) -> Vec<&'a str> {
    commands
        .iter()
        .copied()
        .filter(|name| find_command(name).is_none())
        .collect()
}

/// The packages that bring `commands`, each once.
pub(super) fn packages_of<'a>(commands: &[&'a str]) -> Vec<&'a str> {
    let mut packages: Vec<&str> = commands
        .iter()
        .map(|name| package(name, &is_known_to_apt))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Whether this is root on a Debian system.
#[must_use]
pub fn can_install_packages() -> bool {
    rustix::process::geteuid().is_root() && find_command("apt-get").is_some()
}

/// Makes sure that every command is there, and tells `say` which packages are installed.
///
/// # Errors
/// One sentence with the command to run, if something is missing and cannot be installed here.
pub fn require_commands(commands: &[&str], say: Say<'_>) -> Result<()> {
    let missing = missing_commands(commands);
    if !missing.is_empty() && can_install_packages() {
        say(&format!(
            "installing Debian packages: {}",
            packages_of(&missing).join(" ")
        ));
    }
    install_packages(commands, &|_| {})
}

/// Installs the packages of the commands that are missing.
///
/// # Errors
/// As those of [`require_commands`].
pub(super) fn install_packages(commands: &[&str], note: Note<'_>) -> Result<()> {
    let missing = missing_commands(commands);
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install_packages() {
        let packages = packages_of(&missing).join(" ");
        bail!(
            "{} not found; install with your package manager, for example `sudo apt-get install {packages}`",
            missing.join(", ")
        );
    }
    note("reading the list of packages");
    run(Command::new("apt-get").args(["update", "-qq"]), "apt-get update")?;
    run_noting(
        Command::new("apt-get")
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages_of(&missing))
            .env("DEBIAN_FRONTEND", "noninteractive")
            // The program that needs a daemon starts it; its package does not.
            .env("RUNLEVEL", "1"),
        "apt-get install",
        note,
        &mut apt_progress,
    )?;
    Ok(())
}

/// `unpacking NAME` or `setting up NAME`, from what apt-get prints.
fn apt_progress(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    match (words.next()?, words.next()?, words.next()) {
        ("Unpacking", name, _) => Some(format!("unpacking {name}")),
        ("Setting", "up", Some(name)) => Some(format!("setting up {name}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{apt_progress, package};

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

    #[test]
    fn what_apt_get_is_at_is_read_from_its_lines() {
        assert_eq!(
            apt_progress("Unpacking skopeo (1.9.3) ...").as_deref(),
            Some("unpacking skopeo")
        );
        assert_eq!(
            apt_progress("Setting up skopeo (1.9.3) ...").as_deref(),
            Some("setting up skopeo")
        );
        assert_eq!(apt_progress("Reading package lists..."), None);
    }
}
