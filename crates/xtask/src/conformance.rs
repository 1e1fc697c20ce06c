//! `conformance`: the OCI distribution suite against a fresh registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use atcr_test_support::network::{Network, NetworkOptions, Ports};
use atcr_test_support::tools::{Workspace, build_go_folder, suites};
use clap::Args;

use crate::build;
use crate::progress::{Step, say};

/// Where the suite lives when it is not beside the checkout, and the state it is taken at.
const REPOSITORY: &str = "https://github.com/opencontainers/distribution-spec";
const COMMIT: &str = "967efdc";

#[derive(Clone, Debug, Args)]
pub(crate) struct ConformanceArguments {
    /// Switch on every check, also those that are off by default
    #[arg(long)]
    all: bool,
    /// Where the reports go
    #[arg(long, default_value = ".atcr/conformance", value_name = "DIR")]
    results: PathBuf,
}

/// Runs the suite; fails if any check fails.
pub(crate) async fn conformance(arguments: &ConformanceArguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    build::prepare(&workspace)?;
    let Some(source) = source(&workspace)? else {
        bail!(
            "the OCI conformance suite is not at hand: set ATCR_SUITES to a folder that has oci-conformance/, or allow `git clone {REPOSITORY}`"
        );
    };
    run(
        &workspace,
        &source,
        &workspace.root().join(&arguments.results),
        arguments.all,
    )
    .await
}

/// The suite's source: beside the checkout, else cloned into the cache; `None` if neither can be had.
pub(crate) fn source(workspace: &Workspace) -> Result<Option<PathBuf>> {
    if let Some(folder) = suites(workspace).map(|suites| suites.join("oci-conformance"))
        && folder.is_dir()
    {
        return Ok(Some(folder));
    }
    let clone = workspace.cache().join(format!("distribution-spec-{COMMIT}"));
    if !clone.join("conformance").is_dir() {
        say("cloning the OCI conformance suite");
        let cloned = Command::new("git")
            .args(["clone", "--quiet", REPOSITORY])
            .arg(&clone)
            .status()?
            .success()
            && Command::new("git")
                .arg("-C")
                .arg(&clone)
                .args(["checkout", "--quiet", COMMIT])
                .status()?
                .success();
        if !cloned {
            return Ok(None);
        }
    }
    Ok(Some(clone.join("conformance")))
}

/// Runs the suite of `source` against a registry with fresh state; the reports go to `results`.
pub(crate) async fn run(workspace: &Workspace, source: &Path, results: &Path, all: bool) -> Result<()> {
    let binary = build_go_folder(workspace, source, "oci-conformance", &mut |line| say(line))?;
    let state = workspace.root().join(".atcr").join("conformance-network");
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    let step = Step::begin("a fresh registry");
    let network = Network::start(
        workspace,
        NetworkOptions::new(state, Ports::free()?),
        &mut |_, _| {},
    )
    .await?;
    step.done();

    std::fs::create_dir_all(results)?;
    let alice = network.file().account("alice.test")?;
    let mut command = Command::new(&binary);
    command
        .env(
            "OCI_REGISTRY",
            network.file().appview.url.trim_start_matches("http://"),
        )
        .env("OCI_TLS", "disabled")
        .env("OCI_REPO1", "alice.test/conformance/one")
        .env("OCI_REPO2", "alice.test/conformance/two")
        .env("OCI_USERNAME", &alice.handle)
        .env("OCI_PASSWORD", &alice.app_password)
        .env("OCI_VERSION", "1.1")
        .env("OCI_RESULTS_DIR", results)
        .current_dir(results);
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
    let step = Step::begin("OCI conformance suite");
    let log = std::fs::File::create(results.join("output.log"))?;
    let status = command
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .context("cannot start the suite")?;
    step.done();
    network.stop_all().await?;
    println!("{}", summary(results));
    if !status.success() {
        bail!(
            "the conformance suite failed; see {}",
            results.join("report.html").display()
        );
    }
    Ok(())
}

/// The last lines of the suite's output: its counts.
fn summary(results: &Path) -> String {
    let text = std::fs::read_to_string(results.join("output.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
