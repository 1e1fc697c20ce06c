//! `test`: every test, after installing what they need.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use atcr_test_support::tools::{
    GoTool, Workspace, require_cargo_deny, require_commands, require_go_tool, suites,
};
use clap::Args;

use crate::build::{self, BuildArguments};
use crate::conformance;
use crate::interrupt::{Interrupt, blocking};
use crate::progress::{Step, say};

#[derive(Clone, Debug, Args)]
pub(crate) struct TestArguments {
    /// Leave out formatting, lints and the rules for dependencies
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
pub(crate) async fn test(arguments: TestArguments, interrupt: &Interrupt) -> Result<()> {
    let workspace = Workspace::locate()?;
    // The appview's build collects its pages' assets with npm.
    interrupt
        .or(blocking(|| {
            require_commands(&["cc", "git", "tar", "npm"], &mut |line| say(line))
        }))
        .await?;
    if !arguments.no_lint {
        interrupt.or(lint(&workspace)).await?;
    }
    build::prepare(&workspace, &BuildArguments::default(), interrupt).await?;
    let clients = {
        let workspace = workspace.clone();
        interrupt
            .or(blocking(move || Clients::require(&workspace)))
            .await?
    };

    let mut incomplete = Vec::new();
    if suites(&workspace).is_none() {
        incomplete.push("the AT Protocol vectors (set ATCR_SUITES)");
    }
    if !arguments.no_conformance && arguments.filter.is_empty() {
        match conformance::source(&workspace, interrupt).await? {
            Some(source) => {
                // As it comes, and with every switch on.
                for (folder, all) in [("conformance", false), ("conformance-all", true)] {
                    let results = workspace.root().join(".atcr").join(folder);
                    conformance::run(&workspace, &source, &results, all, interrupt).await?;
                }
            }
            None => incomplete.push("the OCI conformance suite (set ATCR_SUITES, or allow git clone)"),
        }
    }

    let mut command = build::cargo(&workspace);
    command
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(&arguments.filter)
        .env("ATCR_VERSITYGW", clients.versitygw)
        .env("ATCR_CRANE", clients.crane)
        .env("ATCR_ORAS", clients.oras)
        // A snapshot that changed is a failure, not a file to look at later.
        .env("INSTA_UPDATE", "no");
    if let Some(folder) = suites(&workspace) {
        command.env("ATCR_SUITES", folder);
    }
    let tests = blocking(move || command.status().context("cannot start cargo"));
    if !interrupt.or(tests).await?.success() {
        bail!("tests failed");
    }
    if !incomplete.is_empty() {
        println!("\nNot complete; skipped: {}", incomplete.join(", "));
    }
    Ok(())
}

/// The clients and servers of others that the tests find by a variable.
struct Clients {
    versitygw: PathBuf,
    crane: PathBuf,
    oras: PathBuf,
}

impl Clients {
    /// Installs everything that the tests talk to.
    fn require(workspace: &Workspace) -> Result<Self> {
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
                "curl",
            ],
            &mut |line| say(line),
        )?;
        let go_tool = |tool| require_go_tool(workspace, tool, &mut |line| say(line));
        Ok(Self {
            versitygw: go_tool(GoTool::VERSITYGW)?,
            crane: go_tool(GoTool::CRANE)?,
            oras: go_tool(GoTool::ORAS)?,
        })
    }
}

/// Formatting, lints, and what may be depended on (`.deny.toml`; known vulnerabilities are not looked up, for their list
/// comes from a forge).
async fn lint(workspace: &Workspace) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut command = build::cargo(workspace);
        command.args(arguments);
        command
    };
    check("formatting", cargo(&["fmt", "--all", "--check"])).await?;
    let deny = {
        let workspace = workspace.clone();
        blocking(move || require_cargo_deny(&workspace, &mut |line| say(line))).await?
    };
    let mut command = Command::new(deny);
    command
        .args(["check", "bans", "licenses", "sources"])
        .current_dir(workspace.root());
    check("licences and sources of dependencies", command).await?;
    let clippy = [
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    check("lints", cargo(&clippy)).await
}

/// Runs `command`; what it found is the error.
async fn check(what: &str, mut command: Command) -> Result<()> {
    let step = Step::begin(what);
    let program = command.get_program().to_string_lossy().into_owned();
    let output = blocking(move || {
        command
            .output()
            .with_context(|| format!("cannot start {program}"))
    })
    .await?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{what}:\n{}", String::from_utf8_lossy(&text));
    }
    step.done();
    Ok(())
}
