//! A Docker engine to try things with: the one that runs, or one started for the occasion.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tools::{Say, find_command, require_commands};
use anyhow::{Context as _, Result, bail};

/// How long the engine may take to answer.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A client that knows an account keeps further ones in this file too; one that knows none would ask the system's keyring.
const CLIENT_CONFIG: &str = r#"{"auths":{"registry.invalid":{}}}"#;

/// An engine and how to reach it; one that was started here is stopped when this is dropped.
#[derive(Debug)]
pub struct Engine {
    host: Option<String>,
    child: Option<Child>,
    /// Docker's client configuration, so that logins stay out of the user's own.
    config: PathBuf,
    environment: Vec<(String, OsString)>,
}

impl Engine {
    /// The engine that runs, else one started with its state in `folder`; `None` if there is neither.
    ///
    /// # Errors
    /// If `folder` cannot be written.
    pub fn find_or_start(folder: &Path, say: Say<'_>) -> Result<Option<Self>> {
        let config = folder.join("client");
        std::fs::create_dir_all(&config)?;
        if !config.join("config.json").exists() {
            std::fs::write(config.join("config.json"), CLIENT_CONFIG)?;
        }
        let mut engine = Self {
            host: None,
            child: None,
            config,
            environment: Vec::new(),
        };
        if find_command("docker").is_some() && engine.answers() {
            return Ok(Some(engine));
        }
        if let Err(error) = require_commands(&["dockerd", "containerd", "runc", "docker"], say) {
            say(&format!("no Docker engine: {error}"));
            return Ok(None);
        }
        let dockerd = find_command("dockerd").context("dockerd is not installed")?;
        let socket = folder.join("docker.sock");
        let log = std::fs::File::create(folder.join("dockerd.log"))?;
        let child = Command::new(dockerd)
            .args(["--bridge=none", "--iptables=false"])
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("docker.pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        engine.host = Some(format!("unix://{}", socket.display()));
        engine.child = Some(child);
        let deadline = Instant::now() + START_TIMEOUT;
        while !engine.answers() {
            let ended = engine
                .child
                .as_mut()
                .is_some_and(|c| matches!(c.try_wait(), Ok(Some(_))));
            if ended || Instant::now() > deadline {
                let text = std::fs::read_to_string(folder.join("dockerd.log")).unwrap_or_default();
                let last = text.lines().last().unwrap_or_default();
                say(&format!("no Docker engine can be started here ({last})"));
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(engine))
    }

    /// Docker's client configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.json")
    }

    /// Sets a variable for every `docker` command, and so for the credential helpers it calls.
    pub fn set_env(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// A `docker` command for this engine.
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--config").arg(&self.config);
        if let Some(host) = &self.host {
            command.arg("--host").arg(host);
        }
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null());
        command
    }

    /// Runs `docker` with `arguments` and returns what it printed.
    ///
    /// # Errors
    /// What docker printed, if it failed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command()
            .args(arguments)
            .output()
            .context("cannot start docker")?;
        if !output.status.success() {
            bail!(
                "docker {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Signs in to `registry`.
    ///
    /// # Errors
    /// What docker printed, if it failed.
    pub fn login(&self, registry: &str, username: &str, password: &str) -> Result<()> {
        // Not as an argument, which every user of the machine can read.
        let mut child = self
            .command()
            .args(["login", registry, "--username", username, "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start docker")?;
        child
            .stdin
            .take()
            .context("docker has no input")?
            .write_all(password.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "docker login {registry} failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        self.command()
            .args(["version", "--format", "{{.Server.Version}}"])
            .output()
            .is_ok_and(|output| output.status.success())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGTERM, so that it takes its containerd along.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}
