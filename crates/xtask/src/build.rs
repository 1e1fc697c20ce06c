//! The optimised programs and the Node packages.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use atcr_test_support::tools::{Workspace, require_commands, require_network_packages};

use crate::progress::{Step, say};

/// Builds the servers and both helpers in the release profile and installs the local network's packages.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    require_commands(&["cc", "npm"], &mut |line| say(line))?;
    let step = Step::begin("programs (optimised build)");
    build(workspace)?;
    step.done();
    require_network_packages(workspace, &mut |line| say(line))
}

/// `cargo` as from the user's shell. The variables that the cargo which runs this program has set are taken away: build scripts
/// of others watch them, and a build from here and one from the shell would take turns in making each other's work anew.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace.root());
    for (name, _) in std::env::vars_os() {
        let is_set_by_cargo = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_"));
        if is_set_by_cargo {
            command.env_remove(name);
        }
    }
    command
}

fn build(workspace: &Workspace) -> Result<()> {
    let output = cargo(workspace)
        .args([
            "build",
            "--release",
            "--locked",
            "--bins",
            "-p",
            "atcr-hold",
            "-p",
            "atcr-appview",
            "-p",
            "atcr-credential-helper",
            "-p",
            "atcr-oauth-helper",
        ])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
