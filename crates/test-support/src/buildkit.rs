//! A BuildKit daemon for the occasion, and its client.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::tools::GoTool;

/// How long the daemon may take to answer.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A daemon, which must run as root; it is stopped when this is dropped.
#[derive(Debug)]
pub struct BuildKit {
    daemon: Child,
    client: PathBuf,
    address: OsString,
    /// The folder of Docker's client configuration, where credentials are looked for.
    config: PathBuf,
}

impl BuildKit {
    /// Starts a daemon with its state in `folder`. It speaks plain HTTP to `registry`, a host with its port.
    ///
    /// # Errors
    /// If it is not installed, or does not answer.
    pub fn start(folder: &Path, registry: &str) -> Result<Self> {
        let config = folder.join("client");
        std::fs::create_dir_all(&config)?;
        let settings = folder.join("buildkitd.toml");
        std::fs::write(&settings, format!("[registry.\"{registry}\"]\n  http = true\n"))?;
        let mut address = OsString::from("unix://");
        address.push(folder.join("buildkitd.sock"));
        let log_path = folder.join("buildkitd.log");
        let log = std::fs::File::create(&log_path)?;
        let daemon = Command::new(GoTool::BUILDKITD.installed()?)
            .arg("--config")
            .arg(&settings)
            .arg("--root")
            .arg(folder.join("state"))
            .arg("--addr")
            .arg(&address)
            // Works on every file system, in a container too.
            .args(["--oci-worker-snapshotter=native", "--containerd-worker=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start buildkitd")?;
        let mut buildkit = Self {
            daemon,
            client: GoTool::BUILDCTL.installed()?,
            address,
            config,
        };
        let deadline = Instant::now() + START_TIMEOUT;
        while !buildkit.answers() {
            let has_ended = matches!(buildkit.daemon.try_wait(), Ok(Some(_)) | Err(_));
            if has_ended || Instant::now() > deadline {
                let text = std::fs::read_to_string(&log_path).unwrap_or_default();
                bail!(
                    "buildkitd does not run here: {}",
                    text.lines().last().unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(buildkit)
    }

    /// Docker's client configuration of the builds; what it holds about credentials is used for pushes and for the cache.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.json")
    }

    /// A `buildctl` command for this daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.client);
        command
            .arg("--addr")
            .arg(&self.address)
            .env("DOCKER_CONFIG", &self.config)
            .stdin(Stdio::null());
        command
    }

    fn answers(&self) -> bool {
        self.command()
            .args(["debug", "workers"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for BuildKit {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}
