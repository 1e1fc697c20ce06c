//! All processes that this one or its descendants started.

use std::collections::HashSet;
use std::io;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::process::{POLL, STOP_TIMEOUT, signal};

/// Makes this process the parent of every descendant whose own parent ends, so that none is lost sight of.
///
/// # Errors
/// The operating system's.
pub fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The processes that this one started, and those that they started; those that ended and were not waited for do not
/// count.
fn descendants() -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // `pid (command) state parent …`, where the command may contain anything.
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let state = fields.next();
        let parent = fields.next().and_then(|field| field.parse().ok());
        if let (Some(pid), Some(parent)) = (pid, parent)
            && state != Some("Z")
        {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![std::process::id()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// Asks every descendant of this process to finish and waits until all have; those that take too long are killed.
pub async fn end_descendants() {
    let deadline = Instant::now() + STOP_TIMEOUT;
    let mut asked = HashSet::new();
    loop {
        let pids = descendants();
        if pids.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            return kill_descendants();
        }
        for pid in pids {
            if asked.insert(pid) {
                signal(pid, Signal::TERM);
            }
        }
        sleep(POLL).await;
    }
}

/// Kills every descendant of this process.
pub fn kill_descendants() {
    for pid in descendants() {
        signal(pid, Signal::KILL);
    }
}
