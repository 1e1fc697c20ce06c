//! The two programs that do the work, and how they are run.
//!
//! | Module | Decides |
//! |---|---|
//! | [`confine`] | what a tool may do at all |
//! | [`child`] | how it is started, watched and ended |
//! | [`syft`], [`grype`] | with which arguments and environment, and what its answer means |

pub mod child;
pub mod confine;
pub mod grype;
pub mod syft;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::child::{Limits, Run};
use crate::error::ScanError;

/// What a tool says of itself if it was built without a version.
const NO_VERSION: &str = "[not provided]";

/// How long a tool may take to say its version, and how much memory.
const VERSION_LIMITS: Limits = Limits {
    memory_bytes: 512 << 20,
    disk_bytes: 64 << 20,
    file_bytes: 16 << 20,
    time: Duration::from_secs(30),
};

/// A program at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// `syft` or `grype`.
    pub name: &'static str,
    /// The program.
    pub path: PathBuf,
    /// What it says its version is; `unknown` if it says nothing.
    pub version: String,
}

/// The tools, and what starts them.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The program that confines them: this one.
    pub launcher: PathBuf,
    /// Lists packages.
    pub syft: Tool,
    /// Looks packages up; `None` when vulnerabilities are not looked up.
    pub grype: Option<Tool>,
}

impl Tools {
    /// Name and version of the scanner and its tools, at most 64 bytes.
    #[must_use]
    pub fn scanner_version(&self) -> String {
        let grype = self
            .grype
            .as_ref()
            .map(|grype| format!(".grype.{}", grype.version));
        let whole = format!(
            "atcr-scanner-v{}+syft.{}{}",
            env!("CARGO_PKG_VERSION"),
            self.syft.version,
            grype.unwrap_or_default()
        );
        atcr_scan_protocol::bounds::cut(&whole, 64).to_owned()
    }
}

/// The program `name` at `path`, or on PATH.
///
/// # Errors
/// A sentence that says where it was looked for, and how it is told where it is.
pub fn find(name: &'static str, path: Option<&Path>) -> Result<PathBuf, String> {
    let variable = format!("SCANNER_{}_PATH", name.to_uppercase());
    if let Some(path) = path {
        return std::path::absolute(path)
            .ok()
            .filter(|path| path.is_file())
            .ok_or_else(|| format!("{variable}: there is no program {}", path.display()));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not on PATH; install it, or name it in {variable}"))
}

#[derive(serde::Deserialize)]
struct Says {
    version: Option<String>,
}

/// Asks the program at `path` for its version, which also shows that it can be run in `folder`.
///
/// # Errors
/// `Tool` if it cannot.
pub async fn identify(
    launcher: &Path,
    name: &'static str,
    path: PathBuf,
    folder: &Path,
) -> Result<Tool, ScanError> {
    let run = Run {
        tool: name,
        program: &path,
        arguments: ["version", "-o", "json"].map(OsString::from).to_vec(),
        environment: surroundings(folder, VERSION_LIMITS.memory_bytes),
        folder,
        readable: Vec::new(),
        writable: Vec::new(),
        network: false,
        limits: VERSION_LIMITS,
    };
    let ended = child::run(launcher, run, &CancellationToken::new()).await?;
    if !ended.status.success() {
        return Err(ScanError::Tool {
            tool: name,
            detail: ended.reason(),
        });
    }
    let says: Option<Says> = serde_json::from_slice(&ended.stdout).ok();
    let version = known_version(says.and_then(|says| says.version));
    Ok(Tool { name, path, version })
}

/// What a tool says of its version; `unknown` if it says nothing.
pub(crate) fn known_version(said: Option<String>) -> String {
    said.filter(|version| !version.is_empty() && version != NO_VERSION)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// What every tool finds in its environment: `folder` for everything that it wants to write, and no colours.
fn surroundings(folder: &Path, memory_bytes: u64) -> Vec<(&'static str, OsString)> {
    // Go's collector works harder in the last quarter of what the tool may have.
    let heap = memory_bytes / 4 * 3;
    let in_folder = [
        "HOME",
        "TMPDIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
    ];
    in_folder
        .into_iter()
        .map(|name| (name, folder.as_os_str().to_owned()))
        .chain([
            ("PATH", OsString::new()),
            ("NO_COLOR", "1".into()),
            ("GOMEMLIMIT", heap.to_string().into()),
        ])
        .collect()
}
