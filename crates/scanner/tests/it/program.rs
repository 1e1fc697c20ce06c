//! The program under test, and the tools that it runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program.
pub(crate) fn scanner() -> &'static str {
    env!("CARGO_BIN_EXE_atcr-scanner")
}

/// Syft and Grype; `None` where they are not named.
pub(crate) struct RealTools {
    pub(crate) syft: PathBuf,
    pub(crate) grype: PathBuf,
}

impl RealTools {
    /// `cargo xtask test` names them.
    pub(crate) fn find() -> Option<Self> {
        let named = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_file())
        };
        let found = named("ATCR_SYFT").zip(named("ATCR_GRYPE"));
        if found.is_none() {
            eprintln!(
                "SKIPPED: ATCR_SYFT and ATCR_GRYPE name no programs, nothing is scanned; `cargo xtask test` installs them"
            );
        }
        found.map(|(syft, grype)| Self { syft, grype })
    }
}

/// One machine's scanner: its folders, its variables.
pub(crate) struct Machine {
    pub(crate) folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    pub(crate) fn new(tools: &RealTools) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = Self {
            folder,
            variables: Vec::new(),
        };
        let tmp = machine.path("tmp");
        std::fs::create_dir(&tmp).unwrap();
        machine.set("SCANNER_TMP_DIR", tmp.to_str().unwrap());
        let database = machine.path("vulndb");
        machine.set("SCANNER_VULN_DB_PATH", database.to_str().unwrap());
        machine.set("SCANNER_SYFT_PATH", tools.syft.to_str().unwrap());
        machine.set("SCANNER_GRYPE_PATH", tools.grype.to_str().unwrap());
        machine.set("SCANNER_TEST_MODE", "true");
        machine.set("SCANNER_ADDR", "127.0.0.1:0");
        machine
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(scanner());
        command
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Scans a layout; the JSON, or what was said on failure.
    pub(crate) fn scan(&self, layout: &Path, more: &[&str]) -> Result<Value, String> {
        let mut arguments = vec!["scan", "--json", "--oci-layout", layout.to_str().unwrap()];
        arguments.extend(more);
        let output = self.run(&arguments);
        self.left_nothing();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Nothing of a job is left on the disk.
    pub(crate) fn left_nothing(&self) {
        let left: Vec<_> = std::fs::read_dir(self.path("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "atcr-scanner")
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}
