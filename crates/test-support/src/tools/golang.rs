//! Programs that are built from Go modules at a fixed version, and kept in the cache.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{Say, Workspace, find_command, require_commands, run};

/// The oldest Go that builds the programs below: 1.25.
const OLDEST_MINOR: u32 = 25;

/// The Go that is fetched where there is none, or an older one.
const FETCHED: &str = "1.26.8";

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

/// A Go that is new enough: the system's, else one kept in the cache. Any older Go, such as Debian's, can fetch the
/// toolchain as a module, whose checksum it compares with Go's public database.
fn require_go(workspace: &Workspace, say: Say<'_>) -> Result<PathBuf> {
    let fetched = workspace.cache().join(format!("go-{FETCHED}"));
    let binary = fetched.join("bin").join("go");
    if binary.is_file() {
        return Ok(binary);
    }
    if let Some(go) = find_command("go")
        && minor_version(&go)? >= OLDEST_MINOR
    {
        return Ok(go);
    }
    require_commands(&["go"], say)?;
    let older = find_command("go").context("Go is not installed")?;
    say(&format!(
        "fetching Go {FETCHED} with the Go that is installed (once)"
    ));
    fetch_toolchain(&older, workspace.cache(), &fetched)?;
    Ok(binary)
}

/// The 26 of `go version go1.26.8 linux/amd64`.
fn minor_version(go: &Path) -> Result<u32> {
    let output = Command::new(go)
        .arg("version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", go.display()))?;
    parse_minor(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("`{} version` answers something unexpected", go.display()))
}

fn parse_minor(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("go1.")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// What `go mod download -json` says.
#[derive(Deserialize)]
struct Download {
    #[serde(rename = "Dir")]
    dir: PathBuf,
}

/// Fetches the toolchain module and makes of it what an installed Go looks like: modules have neither executables nor
/// `go.mod` files below their root.
fn fetch_toolchain(go: &Path, cache: &Path, target: &Path) -> Result<()> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("install Go 1.{OLDEST_MINOR} or later; none is fetched for {other}"),
    };
    let modules = cache.join("go-modules");
    let output = run(
        Command::new(go)
            .args(["mod", "download", "-json"])
            .arg(format!(
                "golang.org/toolchain@v0.0.1-go{FETCHED}.{}-{arch}",
                std::env::consts::OS
            ))
            .current_dir(cache)
            .env("GOMODCACHE", &modules)
            .env("GOFLAGS", "-modcacherw")
            .env("GOWORK", "off"),
        "go mod download golang.org/toolchain",
    )?;
    let module: Download = serde_json::from_slice(&output).context("go names no folder of the toolchain")?;
    restore_module_files(&module.dir)?;
    let tools = module.dir.join("pkg").join("tool");
    for entry in fs::read_dir(&tools)? {
        make_executable(&entry?.path())?;
    }
    make_executable(&module.dir.join("bin"))?;
    // Last of all: where the folder is, it is whole.
    fs::rename(&module.dir, target).with_context(|| format!("cannot create {}", target.display()))?;
    fs::remove_dir_all(&modules).with_context(|| format!("cannot remove {}", modules.display()))
}

fn restore_module_files(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            restore_module_files(&entry.path())?;
        } else if entry.file_name() == "_go.mod" {
            fs::rename(entry.path(), folder.join("go.mod"))?;
        }
    }
    Ok(())
}

fn make_executable(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::set_permissions(entry?.path(), Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The path of `tool`, built first if the cache has it not at this version.
///
/// # Errors
/// If Go can neither be found nor fetched, or the build fails.
pub fn require_go_tool(workspace: &Workspace, tool: GoTool, say: Say<'_>) -> Result<PathBuf> {
    let folder = workspace
        .cache()
        .join("bin")
        .join(format!("{}-{}", tool.name, tool.version));
    let binary = folder.join(tool.name);
    if !binary.is_file() {
        let go = require_go(workspace, say)?;
        say(&format!("building {} {} (once)", tool.name, tool.version));
        run(
            Command::new(go)
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
/// If Go can neither be found nor fetched, or the build fails.
pub fn build_go_folder(workspace: &Workspace, source: &Path, name: &str, say: Say<'_>) -> Result<PathBuf> {
    let binary = workspace.cache().join("bin").join(name);
    let go = require_go(workspace, say)?;
    say(&format!("building {name}"));
    run(
        Command::new(go)
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(source)
            .env("CGO_ENABLED", "0"),
        &format!("go build {name}"),
    )?;
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::parse_minor;

    #[test]
    fn the_version_of_go_is_read_from_what_it_says() {
        assert_eq!(parse_minor("go version go1.26.8 linux/amd64\n"), Some(26));
        assert_eq!(parse_minor("go version go1.19 linux/amd64"), Some(19));
        assert_eq!(parse_minor("go version go1.27rc1 linux/arm64"), Some(27));
        assert_eq!(parse_minor("go version devel"), None);
    }
}
