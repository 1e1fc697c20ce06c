//! Programs that are built from Go modules at a fixed version, and kept in the cache.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::debian::install_packages;
use super::running::{run, run_noting};
use super::{Note, Workspace, find_command};

/// The oldest Go that builds the programs below: 1.25.
const OLDEST_MINOR: u32 = 25;

/// The Go that is fetched where there is none, or an older one.
const FETCHED: &str = "1.26.8";

/// The version of the relay and what belongs to it.
const INDIGO: &str = "v0.0.0-20260605210604-af2fec94f34c";

/// The version of BuildKit's daemon and client.
const BUILDKIT: &str = "v0.33.1";

/// A Go program at a fixed version.
#[derive(Clone, Copy, Debug)]
pub struct GoTool {
    /// The command's name.
    pub name: &'static str,
    module: &'static str,
    pub(super) version: &'static str,
    /// Whether its `go.mod` has directives with which Go installs no program by name and version; then it is built as a
    /// dependency of a module of ours.
    as_dependency: bool,
    /// Whether it is linked with C code.
    is_c: bool,
    /// Whether it is told its version, which it writes into what it makes, and built without what debuggers need.
    is_stamped: bool,
    /// About how long the build takes on two cores, with nothing downloaded before.
    pub(super) estimate: Duration,
}

impl GoTool {
    /// go-containerregistry's client.
    pub const CRANE: Self = Self {
        name: "crane",
        module: "github.com/google/go-containerregistry/cmd/crane",
        version: "v0.22.1",
        as_dependency: false,
        is_c: false,
        is_stamped: false,
        estimate: Duration::from_mins(1),
    };
    /// The client of OCI artifacts.
    pub const ORAS: Self = Self {
        name: "oras",
        module: "oras.land/oras/cmd/oras",
        version: "v1.3.6",
        as_dependency: false,
        is_c: false,
        is_stamped: false,
        estimate: Duration::from_mins(1),
    };
    /// An S3 server over a folder.
    pub const VERSITYGW: Self = Self {
        name: "versitygw",
        module: "github.com/versity/versitygw/cmd/versitygw",
        version: "v1.8.0",
        as_dependency: false,
        is_c: false,
        is_stamped: false,
        estimate: Duration::from_mins(2),
    };
    /// The conformance suite of the OCI distribution specification.
    pub const CONFORMANCE: Self = Self {
        name: "conformance",
        module: "github.com/opencontainers/distribution-spec/conformance",
        version: "v0.0.0-20260831232431-97274622c111",
        as_dependency: false,
        is_c: false,
        is_stamped: false,
        estimate: Duration::from_mins(1),
    };

    /// BuildKit's daemon.
    pub const BUILDKITD: Self = Self {
        name: "buildkitd",
        module: "github.com/moby/buildkit/cmd/buildkitd",
        version: BUILDKIT,
        as_dependency: true,
        is_c: false,
        is_stamped: false,
        estimate: Duration::from_mins(4),
    };
    /// BuildKit's client.
    pub const BUILDCTL: Self = Self {
        name: "buildctl",
        module: "github.com/moby/buildkit/cmd/buildctl",
        version: BUILDKIT,
        as_dependency: true,
        is_c: false,
        is_stamped: false,
        estimate: Duration::from_mins(1),
    };

    /// The network's relay, strict about what hosts send.
    pub const RELAY: Self = Self {
        name: "relay",
        module: "github.com/bluesky-social/indigo/cmd/relay",
        version: INDIGO,
        as_dependency: false,
        is_c: true,
        is_stamped: false,
        estimate: Duration::from_mins(3),
    };
    /// A follower of a relay that verifies everything and gives records in order.
    pub const TAP: Self = Self {
        name: "tap",
        module: "github.com/bluesky-social/indigo/cmd/tap",
        version: INDIGO,
        as_dependency: false,
        is_c: true,
        is_stamped: false,
        estimate: Duration::from_mins(1),
    };
    /// The directory of accounts by collection.
    pub const COLLECTION_DIRECTORY: Self = Self {
        name: "collectiondir",
        module: "github.com/bluesky-social/indigo/cmd/collectiondir",
        version: INDIGO,
        as_dependency: false,
        is_c: false,
        is_stamped: false,
        estimate: Duration::from_mins(1),
    };

    /// Lists the packages of an image. The version that [`Self::GRYPE`] is linked with.
    pub const SYFT: Self = Self {
        name: "syft",
        module: "github.com/anchore/syft/cmd/syft",
        version: "v1.57.0",
        as_dependency: false,
        is_c: false,
        is_stamped: true,
        estimate: Duration::from_mins(1),
    };
    /// Looks packages up in a vulnerability database.
    pub const GRYPE: Self = Self {
        name: "grype",
        module: "github.com/anchore/grype/cmd/grype",
        version: "v0.121.2",
        as_dependency: false,
        is_c: false,
        is_stamped: true,
        estimate: Duration::from_mins(8),
    };

    /// Where the program is once it is installed.
    #[must_use]
    pub fn path(self, workspace: &Workspace) -> PathBuf {
        self.folder(workspace).join(self.name)
    }

    /// The installed program.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn installed(self) -> Result<PathBuf> {
        let path = self.path(&Workspace::locate()?);
        if !path.is_file() {
            bail!(
                "{} {} is not installed; run `cargo xtask tools`",
                self.name,
                self.version
            );
        }
        Ok(path)
    }

    fn folder(self, workspace: &Workspace) -> PathBuf {
        workspace
            .cache()
            .join("bin")
            .join(format!("{}-{}", self.name, self.version))
    }
}

/// A Go that is new enough: the system's, else one kept in the cache. Any older Go, such as Debian's, can fetch the
/// toolchain as a module, whose checksum it compares with Go's public database.
fn require_go(workspace: &Workspace, note: Note<'_>) -> Result<PathBuf> {
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
    install_packages(&["go"], note)?;
    let older = find_command("go").context("Go is not installed")?;
    note(&format!("fetching Go {FETCHED} with the Go that is installed"));
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

/// Builds `tool` into the cache, if it is not there at this version.
///
/// # Errors
/// If Go can neither be found nor fetched, or the build fails.
pub(super) fn install_go_tool(workspace: &Workspace, tool: GoTool, note: Note<'_>) -> Result<()> {
    if tool.path(workspace).is_file() {
        return Ok(());
    }
    let go = require_go(workspace, note)?;
    let folder = tool.folder(workspace);
    std::fs::create_dir_all(&folder)?;
    let mut command = Command::new(go);
    command
        .env("CGO_ENABLED", if tool.is_c { "1" } else { "0" })
        .env("GOFLAGS", "-mod=mod")
        .env("GOWORK", "off");
    if tool.as_dependency {
        let module = workspace
            .cache()
            .join(format!("module-{}-{}", tool.name, tool.version));
        std::fs::create_dir_all(&module)?;
        let (path, _) = tool
            .module
            .split_once("/cmd/")
            .context("a program is below cmd")?;
        std::fs::write(
            module.join("go.mod"),
            format!("module installed\n\ngo 1.25\n\nrequire {path} {}\n", tool.version),
        )?;
        // Go writes into the file it is told to only when it is complete.
        command
            .args(["build", "-v", "-o"])
            .arg(&folder)
            .arg(tool.module)
            .current_dir(module);
    } else {
        command.args(["install", "-v"]).env("GOBIN", &folder);
        if tool.is_stamped {
            let version = tool.version.trim_start_matches('v');
            command.args([
                "-trimpath",
                "-ldflags",
                &format!("-s -w -X main.version={version}"),
            ]);
        }
        command.arg(format!("{}@{}", tool.module, tool.version));
    }
    let mut compiled = 0;
    run_noting(
        &mut command,
        &format!("building {}", tool.name),
        note,
        &mut |line| go_progress(line, &mut compiled),
    )?;
    Ok(())
}

/// How far `go install -v` is: what it downloads, then how many packages it has compiled.
fn go_progress(line: &str, compiled: &mut u32) -> Option<String> {
    if let Some(module) = line.strip_prefix("go: downloading ") {
        return Some(format!("downloading {module}"));
    }
    if line.starts_with("go: ") || line.contains(' ') {
        return None;
    }
    *compiled += 1;
    Some(format!("{compiled} Go packages compiled"))
}

#[cfg(test)]
mod tests {
    use super::{go_progress, parse_minor};

    #[test]
    fn the_version_of_go_is_read_from_what_it_says() {
        assert_eq!(parse_minor("go version go1.26.8 linux/amd64\n"), Some(26));
        assert_eq!(parse_minor("go version go1.19 linux/amd64"), Some(19));
        assert_eq!(parse_minor("go version go1.27rc1 linux/arm64"), Some(27));
        assert_eq!(parse_minor("go version devel"), None);
    }

    #[test]
    fn what_go_downloads_and_compiles_is_read_from_its_lines() {
        let mut compiled = 0;
        let mut progress = |line: &str| go_progress(line, &mut compiled);
        assert_eq!(
            progress("go: downloading github.com/a/b v1.0.0").as_deref(),
            Some("downloading github.com/a/b v1.0.0")
        );
        assert_eq!(
            progress("github.com/a/b").as_deref(),
            Some("1 Go packages compiled")
        );
        assert_eq!(progress("# github.com/a/b"), None);
        assert_eq!(
            progress("github.com/a/b/c").as_deref(),
            Some("2 Go packages compiled")
        );
    }
}
