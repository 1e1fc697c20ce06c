//! One child process: its log, its health, its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};

/// The pause between two looks at a process that starts or stops.
pub(super) const POLL: Duration = Duration::from_millis(25);

/// How long a server that was asked to stop may take for the requests in flight; its configuration says so.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// How long a process may take to finish after SIGTERM: a server its grace, and to close what it holds.
pub(super) const STOP_TIMEOUT: Duration = SHUTDOWN_GRACE.saturating_add(Duration::from_secs(10));

/// How many lines of a log an error shows, and how much of each.
const LOG_LINES: usize = 3;
const LOG_LINE_CHARS: usize = 300;

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
    /// Starts `program`, which errors call `name`; standard output and error are appended to `log`.
    ///
    /// # Errors
    /// If the program or the log cannot be opened.
    pub fn spawn(name: &str, program: &Path, arguments: &[&OsStr], log: &Path) -> Result<Self> {
        Self::spawn_with(name, program, arguments, &[], log)
    }

    /// The same with variables in its environment.
    ///
    /// # Errors
    /// As there.
    pub fn spawn_with(
        name: &str,
        program: &Path,
        arguments: &[&OsStr],
        environment: &[(&str, OsString)],
        log: &Path,
    ) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let log_start = file.metadata()?.len();
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self {
            child: Some(child),
            name: name.to_owned(),
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
    pub async fn wait_for_ready(&mut self, url: &str, timeout: Duration) -> Result<()> {
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
            bail!("the {} ended while starting; {}", self.name, self.see_log());
        }
        if Instant::now() > deadline {
            bail!(
                "the {} did not become ready in time; {}",
                self.name,
                self.see_log()
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

    /// Where this run's output is, and the last lines of it that tell of an error, each on a line of its own.
    #[must_use]
    pub fn see_log(&self) -> String {
        let mut text = format!("its log is {}", self.log.display());
        for line in complaints(&self.output()) {
            text.push_str("\n  ");
            text.extend(line.chars().take(LOG_LINE_CHARS));
        }
        text
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

pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// The last lines of `output` that tell of an error; if none does, the last lines. Lines of JSON logs below the level
/// of an error are left out.
fn complaints(output: &str) -> Vec<&str> {
    let noise = |line: &&str| {
        let log: Option<serde_json::Value> = serde_json::from_str(line).ok();
        line.trim().is_empty()
            || log.is_some_and(|log| log["level"].as_u64().is_some_and(|level| level < PINO_ERROR))
    };
    let mut lines: Vec<&str> = output.lines().filter(|line| !noise(line)).collect();
    let tells = |line: &&str| {
        line.starts_with("error")
            || line.contains("Error: ")
            || line.contains(" ERROR ")
            || line.starts_with('{')
    };
    if lines.iter().any(tells) {
        lines.retain(tells);
    }
    lines.split_off(lines.len().saturating_sub(LOG_LINES))
}

/// Whether `pid` is a running process that has `argument` on its command line: a pid that was given to another program
/// since is not ours.
pub(super) fn is_running(pid: u32, argument: &OsStr) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
        && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == argument.as_bytes())
        })
}

/// Stops a process of an earlier run: SIGTERM, then SIGKILL when it takes too long. Nothing happens to a process
/// that does not have `argument` on its command line.
pub async fn stop_pid(pid: u32, argument: &OsStr) {
    if !is_running(pid, argument) {
        return;
    }
    signal(pid, Signal::TERM);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while is_running(pid, argument) {
        if Instant::now() > deadline {
            signal(pid, Signal::KILL);
        }
        sleep(POLL).await;
    }
}

/// The text at `url`.
pub(super) async fn text_of(url: &str) -> Result<String> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(url).send().await?.error_for_status()?;
    Ok(answer.text().await?)
}

#[cfg(test)]
mod tests {
    use super::complaints;

    #[test]
    fn of_a_log_the_last_lines_that_tell_of_an_error_are_shown() {
        let log = "2026 INFO listening\nerror: the signing key cannot be used\n2026 INFO stopped\n";
        assert_eq!(complaints(log), ["error: the signing key cannot be used"]);
        let node = "{\"level\":30,\"msg\":\"started\"}\nfile.js:1\nSyntaxError: Unexpected token\n    at parse\n\nNode.js v24\n";
        assert_eq!(complaints(node), ["SyntaxError: Unexpected token"]);
    }

    #[test]
    fn of_a_log_without_errors_the_last_lines_are_shown() {
        assert_eq!(complaints("one\ntwo\n\nthree\nfour\n"), ["two", "three", "four"]);
        assert!(complaints("").is_empty());
    }
}
