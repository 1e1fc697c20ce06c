//! The optimised programs and the Node packages.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use atcr_test_support::tools::{Workspace, require_commands, require_network_packages};

use crate::progress::{Step, say};

/// Builds the servers and the credential helper in the release profile and installs the local network's packages.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    require_commands(&["cc", "npm"], &mut |line| say(line))?;
    let step = Step::begin("programs (optimised build)");
    build(workspace)?;
    step.done();
    require_network_packages(workspace, &mut |line| say(line))
}

fn build(workspace: &Workspace) -> Result<()> {
    let output = Command::new(env!("CARGO"))
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
        ])
        .current_dir(workspace.root())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
