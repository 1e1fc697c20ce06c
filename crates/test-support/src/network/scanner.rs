//! The scanner of a network's hold, with the real tools.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::file::write_private;
use super::ports::is_taken;
use super::process::SHUTDOWN_GRACE;
use super::{Network, Part, START_TIMEOUT};

/// What scans the images of a network.
#[derive(Clone, Debug)]
pub struct ScannerOptions {
    /// The program that lists packages.
    pub syft: PathBuf,
    /// The program that looks them up.
    pub grype: PathBuf,
    /// Where health and metrics are, on 127.0.0.1.
    pub port: u16,
    /// A vulnerability database that is used instead of the public one, as `atcr-scanner db import` takes it.
    pub database: Option<PathBuf>,
}

impl ScannerOptions {
    /// Refuses a port that is taken.
    ///
    /// # Errors
    /// One sentence about it.
    pub fn require_free(&self) -> Result<()> {
        if is_taken(self.port) {
            bail!(
                "port {} is in use by another program; stop that program, or choose another port with --scanner-port",
                self.port
            );
        }
        Ok(())
    }
}

/// The name of the program below `state`, by which its process is known: it takes no argument that names a folder.
pub(super) fn program(state: &Path) -> PathBuf {
    state.join("scanner/atcr-scanner")
}

/// The secret that hold and scanner share, made at its first use.
pub(super) fn secret(state: &Path) -> Result<String> {
    let path = state.join("scanner/secret");
    if !path.exists() {
        std::fs::create_dir_all(state.join("scanner"))?;
        // Random enough for a network of one machine.
        let part = || RandomState::new().hash_one(&path);
        write_private(&path, format!("{:016x}{:016x}", part(), part()).as_bytes())?;
    }
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

impl Network {
    /// Starts the scanner; waits until it answers. Connecting to the hold is its own business.
    ///
    /// # Errors
    /// If the network has none, and what its log says.
    pub async fn start_scanner(&mut self) -> Result<()> {
        let options = self.options.scanner.clone();
        let options = options.context("the network has no scanner")?;
        let state = self.options.state.clone();
        let environment = self.scanner_environment(&options)?;
        let program = program(&state);
        let target = self.workspace.binary("atcr-scanner")?;
        match std::fs::remove_file(&program) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => std::os::unix::fs::symlink(target, &program)?,
        }
        if let Some(database) = &options.database {
            let mut import = Command::new(&program);
            import
                .args(["db", "import"])
                .arg(database)
                .envs(environment.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::null());
            let output = tokio::task::spawn_blocking(move || import.output()).await??;
            if !output.status.success() {
                bail!(
                    "the vulnerability database is not taken: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        self.launch_with(Part::Scanner, &program, &["serve".as_ref()], &environment)?
            .wait_for_ready(&format!("http://127.0.0.1:{}/livez", options.port), START_TIMEOUT)
            .await
    }

    fn scanner_environment(&self, options: &ScannerOptions) -> Result<Vec<(&'static str, OsString)>> {
        let state = &self.options.state;
        let work = state.join("scanner/tmp");
        std::fs::create_dir_all(&work)?;
        let mut environment: Vec<(&str, OsString)> = vec![
            ("SCANNER_HOLD_URL", self.file.hold.url.clone().into()),
            ("SCANNER_SHARED_SECRET", secret(state)?.into()),
            ("SCANNER_TMP_DIR", work.into()),
            ("SCANNER_VULN_DB_PATH", state.join("scanner/vulndb").into()),
            ("SCANNER_ADDR", format!("127.0.0.1:{}", options.port).into()),
            ("SCANNER_SYFT_PATH", options.syft.clone().into()),
            ("SCANNER_GRYPE_PATH", options.grype.clone().into()),
            ("SCANNER_PLC_DIRECTORY_URL", self.file.plc.url.clone().into()),
            ("SCANNER_HANDLE_RESOLVER_URL", self.file.pds.url.clone().into()),
            ("SCANNER_TEST_MODE", "true".into()),
            (
                "SCANNER_SHUTDOWN_GRACE",
                format!("{}s", SHUTDOWN_GRACE.as_secs()).into(),
            ),
        ];
        if options.database.is_some() {
            environment.push(("SCANNER_VULN_DB_UPDATE_INTERVAL", "0s".into()));
        }
        Ok(environment)
    }
}
