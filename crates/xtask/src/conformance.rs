//! `conformance`: the OCI distribution suite against a fresh registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use atcr_test_support::network::{NetworkFile, NetworkOptions, Ports};
use atcr_test_support::tools::{GoTool, Need, Workspace};
use clap::Args;

use crate::build::{self, BuildArguments};
use crate::interrupt::{Interrupt, blocking};
use crate::network::{fresh_state, with_network};
use crate::progress::{Step, print};

#[derive(Clone, Debug, Args)]
pub(crate) struct ConformanceArguments {
    /// Switch on every check, also those that are off by default
    #[arg(long)]
    all: bool,
    /// Where the reports go
    #[arg(long, default_value = ".atcr/conformance", value_name = "DIR")]
    results: PathBuf,
    #[command(flatten)]
    build: BuildArguments,
}

/// Runs the suite; fails if any check fails.
pub(crate) async fn conformance(arguments: ConformanceArguments, interrupt: &Interrupt) -> Result<()> {
    let workspace = Workspace::locate()?;
    let suite = [Need::Go(GoTool::CONFORMANCE)];
    build::prepare(&workspace, &arguments.build, &suite, &[], interrupt).await?;
    let results = workspace.root().join(&arguments.results);
    run(&workspace, &results, arguments.all, interrupt).await
}

/// Runs the suite, which is installed, against a registry with fresh state; the reports go to `results`.
pub(crate) async fn run(
    workspace: &Workspace,
    results: &Path,
    all: bool,
    interrupt: &Interrupt,
) -> Result<()> {
    let state = fresh_state(&workspace.root().join(".atcr").join("conformance-network"))?;
    std::fs::create_dir_all(results)?;
    let mut options = NetworkOptions::new(state, Ports::free()?);
    // One of the switches pushes images of which parts are missing.
    options.allow_missing_content = all;
    let passed = with_network(workspace, options, interrupt, async |file| {
        let mut suite = command(&GoTool::CONFORMANCE.path(workspace), file, results, all)?;
        let step = Step::begin("OCI conformance suite");
        let status = blocking(move || suite.status().context("cannot start the suite")).await?;
        step.done();
        Ok(status.success())
    })
    .await?;
    print(summary(results));
    if !passed {
        bail!(
            "the conformance suite failed; see {}",
            results.join("report.html").display()
        );
    }
    Ok(())
}

/// The suite against the network of `file`.
fn command(binary: &Path, file: &NetworkFile, results: &Path, all: bool) -> Result<Command> {
    let alice = file.account("alice.test")?;
    let log = std::fs::File::create(results.join("output.log"))?;
    let mut command = Command::new(binary);
    command
        .env("OCI_REGISTRY", file.appview.url.trim_start_matches("http://"))
        .env("OCI_TLS", "disabled")
        .env("OCI_REPO1", "alice.test/conformance/one")
        .env("OCI_REPO2", "alice.test/conformance/two")
        .env("OCI_USERNAME", &alice.handle)
        .env("OCI_PASSWORD", &alice.app_password)
        .env("OCI_VERSION", "1.1")
        .env("OCI_RESULTS_DIR", results)
        .current_dir(results)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if all {
        for switch in [
            "OCI_API_BLOBS_DIGEST_HEADER",
            "OCI_API_BLOBS_UPLOAD_CANCEL",
            "OCI_API_MANIFESTS_DIGEST_HEADER",
            "OCI_API_MANIFESTS_TAG_PARAM",
            "OCI_DATA_SPARSE",
        ] {
            command.env(switch, "true");
        }
    }
    Ok(command)
}

/// The last lines of the suite's output: its counts.
fn summary(results: &Path) -> String {
    let text = std::fs::read_to_string(results.join("output.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
