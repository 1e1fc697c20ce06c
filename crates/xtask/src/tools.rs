//! `tools`: installs everything that the tests talk to.

use anyhow::Result;
use atcr_test_support::tools::{CargoTool, GoTool, Need, Workspace};

use crate::build::{announce, install};
use crate::interrupt::Interrupt;

/// What the tests and the lints need beside the programs.
pub(crate) const TEST_NEEDS: &[Need] = &[
    Need::Commands(&[
        "cc",
        "git",
        "tar",
        "npm",
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
        "gpg",
        "pass",
        "docker-credential-pass",
        "initdb",
        "psql",
    ]),
    Need::NetworkPackages,
    Need::Go(GoTool::VERSITYGW),
    Need::Go(GoTool::CRANE),
    Need::Go(GoTool::ORAS),
    Need::Go(GoTool::CONFORMANCE),
    Need::Go(GoTool::RELAY),
    Need::Go(GoTool::COLLECTION_DIRECTORY),
    Need::Go(GoTool::TAP),
    Need::Go(GoTool::BUILDKITD),
    Need::Go(GoTool::BUILDCTL),
    // Syft after it: most of both is the same code.
    Need::Go(GoTool::GRYPE),
    Need::Go(GoTool::SYFT),
    Need::Cargo(CargoTool::DENY),
    Need::Cargo(CargoTool::MACHETE),
];

/// Installs what the tests need, so that `cargo test` alone finds it.
pub(crate) async fn tools(interrupt: &Interrupt) -> Result<()> {
    let workspace = Workspace::locate()?;
    announce(&workspace, TEST_NEEDS, false);
    interrupt.or(install(&workspace, TEST_NEEDS)).await?;
    crate::progress::print(format_args!(
        "Everything is installed in {}.",
        workspace.cache().display()
    ));
    Ok(())
}
