//! `test`: every test, after installing what they need.

use anyhow::{Context as _, Result, bail};
use atcr_test_support::tools::{GoTool, Workspace, require_commands, require_go_tool, suites};
use clap::Args;

use crate::progress::{Step, say};
use crate::{build, conformance};

#[derive(Clone, Debug, Args)]
pub(crate) struct TestArguments {
    /// Leave out formatting and lints
    #[arg(long)]
    no_lint: bool,
    /// Leave out the OCI conformance suite
    #[arg(long)]
    no_conformance: bool,
    /// Only tests whose name contains this
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

/// Passes everything, in order of speed; the test runner's own summaries come last.
pub(crate) async fn test(arguments: &TestArguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    // The appview's build collects its pages' assets with npm.
    require_commands(&["cc", "git", "tar", "npm"], &mut |line| say(line))?;
    if !arguments.no_lint {
        cargo(&workspace, "formatting", &["fmt", "--all", "--check"])?;
        cargo(
            &workspace,
            "lints",
            &[
                "clippy",
                "--quiet",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ],
        )?;
    }
    build::prepare(&workspace)?;
    require_commands(
        &[
            "docker",
            "dockerd",
            "containerd",
            "runc",
            "skopeo",
            "podman",
            "openssl",
            "chromium",
            "chromedriver",
        ],
        &mut |line| say(line),
    )?;
    let gateway = require_go_tool(&workspace, GoTool::VERSITYGW, &mut |line| say(line))?;
    let crane = require_go_tool(&workspace, GoTool::CRANE, &mut |line| say(line))?;
    let oras = require_go_tool(&workspace, GoTool::ORAS, &mut |line| say(line))?;

    let mut incomplete = Vec::new();
    if suites(&workspace).is_none() {
        incomplete.push("the AT Protocol vectors (set ATCR_SUITES)");
    }
    if !arguments.no_conformance && arguments.filter.is_empty() {
        match conformance::source(&workspace)? {
            Some(source) => {
                let results = workspace.root().join(".atcr").join("conformance");
                conformance::run(&workspace, &source, &results, false).await?;
            }
            None => incomplete.push("the OCI conformance suite (set ATCR_SUITES, or allow git clone)"),
        }
    }

    let mut command = build::cargo(&workspace);
    command
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(&arguments.filter)
        .env("ATCR_VERSITYGW", gateway)
        .env("ATCR_CRANE", crane)
        .env("ATCR_ORAS", oras)
        // A snapshot that changed is a failure, not a file to look at later.
        .env("INSTA_UPDATE", "no");
    if let Some(folder) = suites(&workspace) {
        command.env("ATCR_SUITES", folder);
    }
    if !command.status().context("cannot start cargo")?.success() {
        bail!("tests failed");
    }
    if !incomplete.is_empty() {
        println!("\nNot complete; skipped: {}", incomplete.join(", "));
    }
    Ok(())
}

fn cargo(workspace: &Workspace, what: &str, arguments: &[&str]) -> Result<()> {
    let step = Step::begin(what);
    let output = build::cargo(workspace)
        .args(arguments)
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!(
            "{what}: cargo {} failed:\n{}",
            arguments[0],
            String::from_utf8_lossy(&text)
        );
    }
    step.done();
    Ok(())
}
