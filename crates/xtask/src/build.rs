//! What a command needs before it starts: the programs, and what is installed once.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use atcr_test_support::tools::{Need, Workspace, watch_cargo};
use clap::Args;

use crate::interrupt::{Interrupt, blocking};
use crate::progress::{Step, print};

/// How many of the compiler's errors are shown.
const ERRORS_SHOWN: usize = 4;

/// About how long the programs take to build on two cores, with nothing built before.
const BUILD_TIME: Duration = Duration::from_mins(5);

/// The programs, by the names of their files.
const PROGRAMS: [&str; 4] = [
    "atcr-hold",
    "atcr-appview",
    "docker-credential-atcr",
    "oauth-helper",
];

/// What scans images; not in what every command builds.
pub(crate) const SCANNER: &str = "atcr-scanner";

const BUILD: [&str; 11] = [
    "build",
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

/// What the programs need to be built.
const TO_BUILD: Need = Need::Commands(&["cc", "npm"]);

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BuildArguments {
    /// Use the programs as they were last built
    #[arg(long)]
    no_build: bool,
}

/// Builds the servers and both helpers with the profile of this program, and installs the local network's packages and `more`.
/// `packages` are built too.
pub(crate) async fn prepare(
    workspace: &Workspace,
    arguments: &BuildArguments,
    more: &[Need],
    packages: &[&'static str],
    interrupt: &Interrupt,
) -> Result<()> {
    let mut needs = vec![TO_BUILD, Need::NetworkPackages];
    needs.extend(more);
    let builds = !arguments.no_build;
    announce(workspace, &needs, builds);
    interrupt
        .or(async {
            if builds {
                install(workspace, &[TO_BUILD]).await?;
            }
            // The one waits for the network where the other waits for the processor.
            let programs = async {
                if builds {
                    build_programs(workspace, packages).await?;
                }
                Ok(())
            };
            tokio::try_join!(programs, install(workspace, &needs[1..])).map(|_| ())
        })
        .await
}

/// Says what is about to be installed and built, and about how long it takes; says nothing if all is there.
pub(crate) fn announce(workspace: &Workspace, needs: &[Need], builds: bool) {
    let mut due: Vec<(String, Duration)> = Vec::new();
    if builds && PROGRAMS.iter().any(|name| workspace.binary(name).is_err()) {
        due.push((format!("programs: {}", PROGRAMS.join(", ")), BUILD_TIME));
    }
    for need in needs.iter().filter(|need| !need.is_met(workspace)) {
        due.push((need.title(), need.estimate()));
    }
    if due.is_empty() {
        return;
    }
    let all: Duration = due.iter().map(|(_, time)| *time).sum();
    print(format_args!(
        "The first run builds and installs the following, in about {} on two cores:",
        minutes(all)
    ));
    for (title, time) in due {
        print(format_args!("  {:>6}  {title}", minutes(time)));
    }
}

/// `8 min`
fn minutes(time: Duration) -> String {
    format!("{} min", time.as_secs().div_ceil(60))
}

/// Installs each of `needs` that is missing, with a line for each.
pub(crate) async fn install(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    for need in needs.iter().copied() {
        let workspace = workspace.clone();
        if need.is_met(&workspace) {
            // What is installed may still have to be linked to.
            blocking(move || need.install(&workspace, &|_| {})).await?;
            continue;
        }
        let step = Step::begin(format!("installing {}", need.title()));
        let note = step.noter();
        blocking(move || need.install(&workspace, &note)).await?;
        step.done();
    }
    Ok(())
}

async fn build_programs(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let step = Step::begin("building the programs");
    let note = step.noter();
    let mut command = cargo(workspace);
    command.args(BUILD);
    for package in packages {
        command.args(["-p", package]);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let printed = blocking(move || watch_cargo(&mut command, &note)).await?;
    if !printed.success {
        let errors: Vec<&str> = printed
            .lines
            .iter()
            .map(String::as_str)
            .filter(|line| line.starts_with("error"))
            .collect();
        bail!(
            "the build failed; `cargo {}` shows why:\n  {}",
            BUILD.join(" "),
            errors[..errors.len().min(ERRORS_SHOWN)].join("\n  ")
        );
    }
    step.done();
    Ok(())
}

/// `cargo` as from the user's shell. The variables that the cargo which runs this program has set are taken away: build scripts
/// of dependencies watch them, and a build from here and one from the shell would each undo the other's work.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(program);
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
