//! Runs a tool as a child process: confined, watched, and with nothing left of it afterwards.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::confine::Confinement;
use crate::error::{Resource, ScanError};

/// How often memory and disk are looked at.
const WATCH: Duration = Duration::from_millis(50);

/// What is kept of the last words of a tool, and of its answer.
const STDERR_BYTES: usize = 16 * 1024;
const STDOUT_BYTES: usize = 1024 * 1024;

/// One run of a tool.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The tool's name in errors.
    pub tool: &'static str,
    /// Its program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment; nothing of the scanner's is passed on.
    pub environment: Vec<(&'static str, OsString)>,
    /// The folder that is its home, in which it works, writes and unpacks.
    pub folder: &'a Path,
    /// What it may read beside that.
    pub readable: Vec<PathBuf>,
    /// Where else it may write.
    pub writable: Vec<PathBuf>,
    /// Whether it may use the network.
    pub network: bool,
    /// Its limits.
    pub limits: Limits,
}

/// The limits of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Bytes of all files below the folders in which it writes.
    pub disk_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Time from start to end.
    pub time: Duration,
}

/// How a run ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// The end of what it said.
    pub stderr: String,
    /// The beginning of what it answered.
    pub stdout: Vec<u8>,
}

impl Ended {
    /// Why a tool that ended by itself gave nothing. The machine's own troubles, which say nothing about the image, are told from the
    /// tool's.
    #[must_use]
    pub fn failure(&self, tool: &'static str) -> ScanError {
        use std::os::unix::process::ExitStatusExt as _;
        let said = self.stderr.to_ascii_lowercase();
        let of_machine = |why: &str| ScanError::Workspace {
            doing: format!("{tool}: {why}"),
            source: io::Error::other(self.reason()),
        };
        if said.contains("no space left on device") || said.contains("disk quota exceeded") {
            return of_machine("there is no space left on the disk");
        }
        if self.status.signal() == Some(libc::SIGXFSZ) || said.contains("file too large") {
            return ScanError::Limit {
                resource: Resource::Disk,
                tool,
                bound: "the length of one file".to_owned(),
            };
        }
        if self.status.signal() == Some(libc::SIGKILL) {
            return of_machine("it was killed, as the system does when memory runs out");
        }
        ScanError::Tool {
            tool,
            detail: self.reason(),
        }
    }

    /// What it said last that tells why it failed.
    #[must_use]
    pub fn reason(&self) -> String {
        let lines = || self.stderr.lines().map(str::trim).filter(|line| !line.is_empty());
        let reason = lines()
            .rfind(|line| line.to_ascii_lowercase().contains("error"))
            .or_else(|| lines().next_back())
            .unwrap_or("it said nothing");
        let printable: String = reason.chars().filter(|c| !c.is_control()).take(600).collect();
        format!("{printable} ({})", self.status)
    }
}

/// Runs `run` through the program `launcher`, which is this one, until it ends, exceeds a limit, or `stop` is cancelled.
///
/// # Errors
/// `Limit`, `Shutdown`, `Tool` if it cannot be started.
///
/// # Cancel safety
/// A dropped call kills the tool.
pub async fn run(launcher: &Path, run: Run<'_>, stop: &CancellationToken) -> Result<Ended, ScanError> {
    let mut process = start(launcher, &run)?;
    let stderr = process.child.stderr.take();
    let stdout = process.child.stdout.take();
    let reading = async {
        let (stderr, stdout) = tokio::join!(read_end(stderr), read_start(stdout));
        (String::from_utf8_lossy(&stderr).into_owned(), stdout)
    };
    let pid = process.process;
    let watched = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(ScanError::Shutdown),
            error = watch_memory_and_time(pid, &run) => Err(error),
            error = watch_disk(&run) => Err(error),
            exited = exited(pid) => exited.map_err(|error| ScanError::Tool {
                tool: run.tool,
                detail: format!("it cannot be waited for: {error}"),
            }),
        }
    };
    // A tool that fills its pipes is read meanwhile.
    tokio::pin!(reading, watched);
    let (outcome, read) = tokio::select! {
        read = &mut reading => (watched.await, Some(read)),
        outcome = &mut watched => (outcome, None),
    };
    // At once: whoever exceeded a limit goes on until it is killed. The pipes end with the tool.
    process.kill();
    let read = match read {
        Some(read) => Some(read),
        None => tokio::time::timeout(Duration::from_secs(1), &mut reading)
            .await
            .ok(),
    };
    let status = process.child.wait().await;
    outcome?;
    let (stderr, stdout) = read.unwrap_or_default();
    Ok(Ended {
        status: status.map_err(|error| ScanError::Tool {
            tool: run.tool,
            detail: format!("it cannot be waited for: {error}"),
        })?,
        stderr,
        stdout,
    })
}

/// Returns when the process has ended. It is not reaped: its number and its group's stay its own until it is waited for.
async fn exited(process: Pid) -> io::Result<()> {
    let waiting = tokio::task::spawn_blocking(move || {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(process), ended))
    });
    waiting.await.map_err(io::Error::other)??;
    Ok(())
}

fn start(launcher: &Path, run: &Run<'_>) -> Result<Process, ScanError> {
    let mut readable = run.readable.clone();
    readable.push(run.program.to_owned());
    let mut writable = run.writable.clone();
    writable.push(run.folder.to_owned());
    let confinement = Confinement {
        parent: std::process::id(),
        file_bytes: run.limits.file_bytes,
        read: readable,
        write: writable,
        network: run.network,
        command: std::iter::once(run.program.as_os_str().to_owned())
            .chain(run.arguments.iter().cloned())
            .collect(),
    };
    let child = Command::new(launcher)
        .args(confinement.arguments())
        .env_clear()
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(run.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let child = child.map_err(|error| ScanError::Tool {
        tool: run.tool,
        detail: format!("it cannot be started: {error}"),
    })?;
    let process = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
        .ok_or_else(|| ScanError::Tool {
            tool: run.tool,
            detail: "it has no number".to_owned(),
        })?;
    Ok(Process {
        child,
        process,
        is_killed: false,
    })
}

/// A running tool. Dropping it ends it.
struct Process {
    child: Child,
    /// Its number, which is that of its group.
    process: Pid,
    is_killed: bool,
}

impl Process {
    /// Ends the tool and whatever is in its group. Before it is waited for: afterwards the number may be another's.
    fn kill(&mut self) {
        if !self.is_killed {
            self.is_killed = true;
            // It was killed, or had ended.
            let _ = kill_process_group(self.process, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn exceeded(run: &Run<'_>, resource: Resource, bound: String) -> ScanError {
    ScanError::Limit {
        resource,
        tool: run.tool,
        bound,
    }
}

/// Returns when the tool takes too much memory or time.
async fn watch_memory_and_time(process: Pid, run: &Run<'_>) -> ScanError {
    let began = Instant::now();
    let Limits {
        memory_bytes, time, ..
    } = run.limits;
    loop {
        if began.elapsed() > time {
            return exceeded(run, Resource::Time, format!("{} s", time.as_secs()));
        }
        if resident_bytes(process).is_some_and(|bytes| bytes > memory_bytes) {
            return exceeded(run, Resource::Memory, format!("{} MiB", memory_bytes >> 20));
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// Returns when the files where the tool writes take too much.
async fn watch_disk(run: &Run<'_>) -> ScanError {
    let most = run.limits.disk_bytes;
    let folders: Vec<PathBuf> = std::iter::once(run.folder.to_owned())
        .chain(run.writable.iter().cloned())
        .collect();
    loop {
        let began = Instant::now();
        let folders = folders.clone();
        let used = tokio::task::spawn_blocking(move || {
            folders.iter().fold(0, |used: u64, folder| {
                used.saturating_add(bytes_below(folder, most))
            })
        });
        if used.await.is_ok_and(|bytes| bytes > most) {
            return exceeded(run, Resource::Disk, format!("{} MiB", most >> 20));
        }
        // Many small files take long to count; the tool needs the disk as well.
        tokio::time::sleep(WATCH.max(10 * began.elapsed())).await;
    }
}

/// Resident memory of a process; `None` if it has ended.
fn resident_bytes(process: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Bytes of the files below `folder`, counted until there are more than `enough`. What vanishes meanwhile does not count.
pub(crate) fn bytes_below(folder: &Path, enough: u64) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // What cannot be counted is too much.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return u64::MAX,
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.blocks() * 512;
            }
            if bytes > enough {
                return bytes;
            }
        }
    }
    bytes
}

/// Reads to the end and keeps the last bytes.
async fn read_end(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    read_pieces(pipe, |piece| {
        kept.extend_from_slice(piece);
        let surplus = kept.len().saturating_sub(STDERR_BYTES);
        kept.drain(..surplus);
    })
    .await;
    kept
}

/// Reads to the end and keeps the first bytes.
async fn read_start(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept: Vec<u8> = Vec::new();
    read_pieces(pipe, |piece| {
        let room = STDOUT_BYTES - kept.len();
        kept.extend_from_slice(&piece[..piece.len().min(room)]);
    })
    .await;
    kept
}

async fn read_pieces(pipe: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 8192];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) => return,
            Ok(read) => take(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
