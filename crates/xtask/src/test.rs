//! `test`: every test, after installing what they need.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use atcr_test_support::tools::{CargoTool, GoTool, Workspace, suites, watch_cargo};
use clap::Args;

use crate::build::{self, BuildArguments, announce, install};
use crate::conformance;
use crate::interrupt::{Interrupt, blocking};
use crate::progress::{Step, print};
use crate::tools::TEST_NEEDS;

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
    announce(&workspace, TEST_NEEDS, true);
    interrupt.or(install(&workspace, TEST_NEEDS)).await?;
    if !arguments.no_lint {
        interrupt.or(lint(&workspace)).await?;
    }
    let scanner = &[build::SCANNER];
    build::prepare(&workspace, &BuildArguments::default(), &[], scanner, interrupt).await?;

    let vectors = suites(&workspace);
    if !arguments.no_conformance && arguments.filter.is_empty() {
        // As it comes, and with every switch on.
        for (folder, all) in [("conformance", false), ("conformance-all", true)] {
            let results = workspace.root().join(".atcr").join(folder);
            conformance::run(&workspace, &results, all, interrupt).await?;
        }
    }

    let tests = |more: &[&str]| {
        let mut command = build::cargo(&workspace);
        command
            .args(["test", "--locked", "--workspace"])
            .args(more)
            .args(&arguments.filter)
            .env("ATCR_VERSITYGW", GoTool::VERSITYGW.path(&workspace))
            .env("ATCR_SYFT", GoTool::SYFT.path(&workspace))
            .env("ATCR_GRYPE", GoTool::GRYPE.path(&workspace))
            // A snapshot that changed is a failure, not a file to look at later.
            .env("INSTA_UPDATE", "no");
        if let Some(folder) = &vectors {
            command.env("ATCR_SUITES", folder);
        }
        command
    };
    interrupt
        .or(check("building the tests", tests(&["--no-run"])))
        .await?;
    let command = tests(&["--no-fail-fast"]);
    if !interrupt.or(blocking(move || run_on(command))).await? {
        bail!("tests failed");
    }
    if vectors.is_none() {
        print("\nNot complete; skipped: the AT Protocol vectors (set ATCR_SUITES)");
    }
    Ok(())
}

/// Runs `command`, whose output is ours, and says whether it succeeded. If the reader of our output is gone, the output is
/// lost and the command goes on.
fn run_on(mut command: Command) -> Result<bool> {
    let mut output = std::io::stdout();
    let cannot_start = || format!("cannot start {}", command.get_program().display());
    if output.is_terminal() {
        let context = cannot_start();
        return Ok(command.status().context(context)?.success());
    }
    let context = cannot_start();
    let mut child = command.stdout(Stdio::piped()).spawn().context(context)?;
    if let Some(mut pipe) = child.stdout.take() {
        let mut buffer = [0; 8192];
        loop {
            let read = std::io::Read::read(&mut pipe, &mut buffer)?;
            if read == 0 {
                break;
            }
            let _ = output.write_all(&buffer[..read]).and_then(|()| output.flush());
        }
    }
    Ok(child.wait()?.success())
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
    let mut command = Command::new(CargoTool::DENY.path(workspace));
    command
        .args(["check", "bans", "licenses", "sources"])
        .current_dir(workspace.root());
    check("licences, sources and duplicates of dependencies", command).await?;
    let mut command = Command::new(CargoTool::MACHETE.path(workspace));
    command.arg("crates").current_dir(workspace.root());
    check("unused dependencies", command).await?;
    let clippy = [
        "clippy",
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
    let note = step.noter();
    let printed = blocking(move || watch_cargo(&mut command, &note)).await?;
    if !printed.success {
        bail!("{what}:\n{}", printed.lines.join("\n"));
    }
    step.done();
    Ok(())
}
