//! The optimised programs and the Node packages.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use atcr_test_support::tools::{Workspace, require_commands, require_network_packages};
use clap::Args;

use crate::interrupt::{Interrupt, blocking};
use crate::progress::{Step, say};

/// How many of the compiler's errors are shown.
const ERRORS_SHOWN: usize = 4;

const BUILD: [&str; 12] = [
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
];

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BuildArguments {
    /// Take the programs as they were built last
    #[arg(long)]
    no_build: bool,
}

/// Builds the servers and both helpers in the release profile and installs the local network's packages.
pub(crate) async fn prepare(
    workspace: &Workspace,
    arguments: &BuildArguments,
    interrupt: &Interrupt,
) -> Result<()> {
    let no_build = arguments.no_build;
    interrupt
        .or(async {
            if !no_build {
                blocking(|| require_commands(&["cc", "npm"], &mut |line| say(line))).await?;
                let step = Step::begin("programs (optimised build)");
                let command = cargo(workspace);
                blocking(|| build(command)).await?;
                step.done();
            }
            let workspace = workspace.clone();
            blocking(move || require_network_packages(&workspace, &mut |line| say(line))).await
        })
        .await
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

fn build(mut cargo: Command) -> Result<()> {
    let output = cargo
        .args(BUILD)
        .stdin(Stdio::null())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error")).collect();
        bail!(
            "the build failed; `cargo {}` shows why:\n  {}",
            BUILD.join(" "),
            errors[..errors.len().min(ERRORS_SHOWN)].join("\n  ")
        );
    }
    Ok(())
}
