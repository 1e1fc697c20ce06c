//! What a tool may not do, tried with a shell in the tool's place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use atcr_scanner::error::{Resource, ScanError};
use atcr_scanner::tools::child::{Ended, Limits, Run, run};
use tokio_util::sync::CancellationToken;

use super::program::scanner;

const SHELL: &str = "/bin/bash";

/// What a shell needs to run.
const READ: [&str; 3] = ["/bin", "/usr", "/lib"];

fn confined(folder: &Path, parent: u32, more: &[&str], script: &str) -> Output {
    let mut command = Command::new(scanner());
    command
        .args([
            "__limit",
            "--file-bytes",
            "100000",
            "--parent",
            &parent.to_string(),
        ])
        .args(["--write", folder.to_str().unwrap()]);
    for path in READ {
        command.args(["--read", path]);
    }
    command
        .args(more)
        .args(["--", SHELL, "-c", script])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn a_tool_reaches_no_network_no_other_paths_and_writes_no_long_file() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("secret"), "hunter2").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = std::process::id();

    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    assert!(!confined(folder.path(), own, &[], &connect).status.success());
    assert!(
        confined(folder.path(), own, &["--network", "--read", "/dev"], &connect)
            .status
            .success()
    );

    let read = format!("cat {}/secret", other.path().display());
    let output = confined(folder.path(), own, &[], &read);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let write = format!("echo x > {}/new", other.path().display());
    assert!(!confined(folder.path(), own, &[], &write).status.success());
    assert!(!other.path().join("new").exists());
    // The scanner's own environment, where its secret is.
    let environment = format!("cat /proc/{own}/environ");
    assert!(!confined(folder.path(), own, &[], &environment).status.success());

    assert!(
        confined(folder.path(), own, &[], "printf %090000d 0 > short")
            .status
            .success()
    );
    assert!(
        !confined(folder.path(), own, &[], "printf %0200000d 0 > long")
            .status
            .success()
    );
    assert!(fs::metadata(folder.path().join("long")).unwrap().len() <= 100_000);
}

#[test]
fn a_tool_whose_scanner_is_gone_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = confined(folder.path(), 1, &[], "echo started > here");
    assert!(!output.status.success());
    assert!(!folder.path().join("here").exists());
}

async fn shell(
    folder: &Path,
    script: &str,
    limits: Limits,
    stop: &CancellationToken,
) -> Result<Ended, ScanError> {
    let shell = Run {
        tool: "shell",
        program: Path::new(SHELL),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("PATH", "/usr/bin:/bin".into())],
        folder,
        readable: READ.map(PathBuf::from).to_vec(),
        writable: Vec::new(),
        network: false,
        limits,
    };
    run(Path::new(scanner()), shell, stop).await
}

const GENEROUS: Limits = Limits {
    memory_bytes: 1 << 30,
    disk_bytes: 1 << 30,
    file_bytes: 1 << 30,
    time: Duration::from_mins(5),
};

fn limit(outcome: Result<Ended, ScanError>) -> Resource {
    match outcome.unwrap_err() {
        ScanError::Limit { resource, .. } => resource,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn memory_time_and_disk_end_a_tool() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let narrow = Limits {
        memory_bytes: 64 << 20,
        ..GENEROUS
    };
    let script = "x=$(printf %090000000d 0); y=$x$x; sleep 300";
    assert_eq!(
        limit(shell(folder.path(), script, narrow, &stop).await),
        Resource::Memory
    );
    let short = Limits {
        time: Duration::from_millis(300),
        ..GENEROUS
    };
    assert_eq!(
        limit(shell(folder.path(), "sleep 300", short, &stop).await),
        Resource::Time
    );
    let small = Limits {
        disk_bytes: 1 << 20,
        ..GENEROUS
    };
    let script = "mkdir deep; for i in 1 2 3 4 5 6 7 8; do printf %0300000d 0 > deep/$i; done; sleep 300";
    assert_eq!(
        limit(shell(folder.path(), script, small, &stop).await),
        Resource::Disk
    );
}

#[tokio::test]
async fn what_a_tool_has_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let script = "sleep 300 & echo $! > pid; exit 3";
    let ended = shell(folder.path(), script, GENEROUS, &stop).await.unwrap();
    assert_eq!(ended.status.code(), Some(3));
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    let status = format!("/proc/{}/status", pid.trim());
    let is_alive = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        status.contains("sleep") && !status.contains("State:\tZ")
    };
    // It was sent the signal; the system may take a moment.
    for _ in 0..1000 {
        if !is_alive() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is still alive");
}

#[tokio::test]
async fn a_tool_ends_when_the_scanner_is_asked_to_stop_and_says_its_reason_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let script = "echo one >&2; echo ERROR it is broken >&2; echo after >&2; exit 1";
    let ended = shell(folder.path(), script, GENEROUS, &stop).await.unwrap();
    assert_eq!(ended.reason(), "ERROR it is broken (exit status: 1)");
    stop.cancel();
    let stopped = shell(folder.path(), "sleep 300", GENEROUS, &stop).await;
    assert!(matches!(stopped, Err(ScanError::Shutdown)));
}
