//! Programs that are built from Go modules at a fixed version, and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Say, Workspace, find_command, run};

/// A Go program at a fixed version.
#[derive(Clone, Copy, Debug)]
pub struct GoTool {
    /// The command's name.
    pub name: &'static str,
    module: &'static str,
    version: &'static str,
}

impl GoTool {
    /// go-containerregistry's client.
    pub const CRANE: Self = Self {
        name: "crane",
        module: "github.com/google/go-containerregistry/cmd/crane",
        version: "v0.22.1",
    };
    /// The client of OCI artifacts.
    pub const ORAS: Self = Self {
        name: "oras",
        module: "oras.land/oras/cmd/oras",
        version: "v1.3.6",
    };
    /// An S3 server over a folder.
    pub const VERSITYGW: Self = Self {
        name: "versitygw",
        module: "github.com/versity/versitygw/cmd/versitygw",
        version: "v1.8.0",
    };
}

fn go() -> Result<PathBuf> {
    find_command("go").context("Go is not installed; install Go 1.25 or later")
}

/// The path of `tool`, built first if the cache has it not at this version.
///
/// # Errors
/// If Go is missing or the build fails.
pub fn require_go_tool(workspace: &Workspace, tool: GoTool, say: Say<'_>) -> Result<PathBuf> {
    let folder = workspace
        .cache()
        .join("bin")
        .join(format!("{}-{}", tool.name, tool.version));
    let binary = folder.join(tool.name);
    if !binary.is_file() {
        say(&format!("building {} {} (once)", tool.name, tool.version));
        run(
            Command::new(go()?)
                .args(["install", &format!("{}@{}", tool.module, tool.version)])
                .env("CGO_ENABLED", "0")
                .env("GOBIN", &folder)
                .env("GOFLAGS", "-mod=mod"),
            &format!("go install {}", tool.name),
        )?;
    }
    Ok(binary)
}

/// Builds the Go program in `source` to the cache as `name`; Go itself knows when nothing changed.
///
/// # Errors
/// If Go is missing or the build fails.
pub fn build_go_folder(workspace: &Workspace, source: &Path, name: &str, say: Say<'_>) -> Result<PathBuf> {
    let binary = workspace.cache().join("bin").join(name);
    say(&format!("building {name}"));
    run(
        Command::new(go()?)
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(source)
            .env("CGO_ENABLED", "0"),
        &format!("go build {name}"),
    )?;
    Ok(binary)
}
