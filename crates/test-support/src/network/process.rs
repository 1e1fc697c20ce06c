//! One child process: its log, its health, its end.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};

/// The pause between two looks at a process that starts or stops.
const POLL: Duration = Duration::from_millis(25);

/// How long a process may take to finish after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// How many lines of a log an error shows.
const LOG_TAIL: usize = 40;

/// The level of errors in the PDS's log.
const PINO_ERROR: u64 = 50;

/// A process of ours in a process group of its own (a Ctrl-C at the terminal reaches only its parent), its output in
/// a file. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Option<Child>,
    name: String,
    log: PathBuf,
    /// Where this run's output begins in the log.
    log_start: u64,
}

impl Program {
    /// Starts `program`; standard output and error are appended to `log`.
    ///
    /// # Errors
    /// If the program or the log cannot be opened.
    pub fn spawn(program: &Path, arguments: &[&OsStr], log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let log_start = file.metadata()?.len();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let name = program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            child: Some(child),
            name,
            log: log.to_owned(),
            log_start,
        })
    }

    /// The process id, until it was waited for.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)) | Err(_)))
    }

    /// The line of the local network's output that says it is ready.
    ///
    /// # Errors
    /// If the process ends or `timeout` passes first.
    pub async fn ready_line(&mut self, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let output = self.output();
            // The PDS logs JSON too, each line with a level.
            let is_ready = |line: &&str| {
                serde_json::from_str::<serde_json::Value>(line)
                    .is_ok_and(|value| value.get("accounts").is_some())
            };
            if let Some(line) = output.lines().find(is_ready) {
                return Ok(line.to_owned());
            }
            self.still_starting(deadline)?;
            sleep(POLL).await;
        }
    }

    /// Waits until `url` answers 200.
    ///
    /// # Errors
    /// If the process ends or `timeout` passes first.
    pub async fn wait_for_ready(&mut self, name: &str, url: &str, timeout: Duration) -> Result<()> {
        name.clone_into(&mut self.name);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build()?;
        let deadline = Instant::now() + timeout;
        loop {
            if client
                .get(url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            self.still_starting(deadline)?;
            sleep(POLL).await;
        }
    }

    fn still_starting(&mut self, deadline: Instant) -> Result<()> {
        if self.has_ended() {
            bail!("the {} ended while starting:\n{}", self.name, self.log_tail());
        }
        if Instant::now() > deadline {
            bail!(
                "the {} did not become ready in time:\n{}",
                self.name,
                self.log_tail()
            );
        }
        Ok(())
    }

    /// This run's output so far.
    #[must_use]
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    /// The end of this run's output; lines of JSON logs below the level of an error are left out.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let output = self.output();
        let noise = |line: &&str| {
            let log: Option<serde_json::Value> = serde_json::from_str(line).ok();
            log.is_some_and(|log| log["level"].as_u64().is_some_and(|level| level < PINO_ERROR))
        };
        let lines: Vec<&str> = output.lines().filter(|line| !noise(line)).collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }

    /// Asks the process to finish and waits until it has.
    ///
    /// # Errors
    /// If it had to be killed.
    pub async fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        signal(child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("the {} did not stop when asked and was killed", self.name);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Kills the process and waits until it is gone.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn kill(mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Forgets the process, which goes on.
    pub fn detach(mut self) {
        self.child = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether `pid` is a running process whose command line contains `word`: a pid that was given to another program
/// since is not ours.
#[must_use]
pub fn is_running(pid: u32, word: &str) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
        && std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
}

/// Stops a process of an earlier run: SIGTERM, then SIGKILL when it takes too long. Nothing happens to a process
/// whose command line does not contain `word`.
pub async fn stop_pid(pid: u32, word: &str) {
    if !is_running(pid, word) {
        return;
    }
    signal(pid, Signal::TERM);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while is_running(pid, word) {
        if Instant::now() > deadline {
            signal(pid, Signal::KILL);
        }
        sleep(POLL).await;
    }
}
