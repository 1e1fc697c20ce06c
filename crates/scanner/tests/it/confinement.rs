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

    let read = format!("read -r line < {}/secret && echo $line", other.path().display());
    let output = confined(folder.path(), own, &[], &read);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let write = format!("echo x > {}/new", other.path().display());
    assert!(!confined(folder.path(), own, &[], &write).status.success());
    assert!(!other.path().join("new").exists());
    // The scanner's own environment, where its secret is.
    let environment = format!("read -r -d '' line < /proc/{own}/environ");
    assert!(!confined(folder.path(), own, &[], &environment).status.success());

    let of_others = "read -r line < /etc/passwd";
    assert!(!confined(folder.path(), own, &[], of_others).status.success());

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
    let script = "printf -v x %090000000d 0; y=$x$x; while :; do :; done";
    assert_eq!(
        limit(shell(folder.path(), script, narrow, &stop).await),
        Resource::Memory
    );
    let short = Limits {
        time: Duration::from_millis(300),
        ..GENEROUS
    };
    assert_eq!(
        limit(shell(folder.path(), "while :; do :; done", short, &stop).await),
        Resource::Time
    );
    let small = Limits {
        disk_bytes: 1 << 20,
        ..GENEROUS
    };
    fs::create_dir(folder.path().join("deep")).unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8; do printf %0300000d 0 > deep/$i; done; while :; do :; done";
    assert_eq!(
        limit(shell(folder.path(), script, small, &stop).await),
        Resource::Disk
    );
}

#[test]
fn a_tool_makes_no_links_and_pipes_where_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::process::id();
    fs::create_dir(folder.path().join("deep")).unwrap();
    fs::write(folder.path().join("file"), b"x").unwrap();
    for (made, script) in [
        ("link", "exec ln -s /etc/passwd link"),
        ("pipe", "exec mkfifo pipe"),
        ("deep/again", "exec ln file deep/again"),
    ] {
        let output = confined(folder.path(), own, &[], script);
        assert!(!output.status.success(), "{script}: {output:?}");
        let made = folder.path().join(made).symlink_metadata();
        assert!(made.is_err(), "{script}: {output:?}");
    }
    // It executes nothing that it wrote.
    let script = "echo x > program; exec chmod 700 program";
    assert!(confined(folder.path(), own, &[], script).status.success());
    let output = confined(folder.path(), own, &[], "exec ./program");
    assert_eq!(output.status.code(), Some(126), "{output:?}");
}

#[test]
fn a_tool_starts_no_process_leaves_no_group_and_signals_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::process::id();
    for script in ["(echo x > made)", "echo x > made &", "x=$(echo y > made)"] {
        let output = confined(folder.path(), own, &[], script);
        assert!(!folder.path().join("made").exists(), "{script}: {output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("fork"),
            "{script}: {output:?}"
        );
    }
    let mut other = Command::new("sleep").arg("300").spawn().unwrap();
    let kill = format!("kill -9 {}", other.id());
    let output = confined(folder.path(), own, &[], &kill);
    let still_runs = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(!output.status.success() && still_runs, "{output:?}");
    // Itself it may.
    assert!(confined(folder.path(), own, &[], "kill -0 $$").status.success());
    let output = confined(folder.path(), own, &[], "exec setsid -w true");
    assert!(!output.status.success(), "{output:?}");
    let output = confined(folder.path(), own, &[], "exec prlimit --nofile=10 --pid 1");
    assert!(!output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_machine_in_trouble_is_told_from_an_image_that_a_tool_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    for (script, class) in [
        ("echo 'write x: no space left on device' >&2; exit 1", "scanner"),
        ("kill -9 $$", "scanner"),
        ("echo 'write x: file too large' >&2; exit 1", "limit:disk"),
        ("echo 'it is broken' >&2; exit 1", "tool"),
    ] {
        let ended = shell(folder.path(), script, GENEROUS, &stop).await.unwrap();
        assert_eq!(ended.failure("shell").class(), class, "{script}: {ended:?}");
    }
}

#[tokio::test]
async fn a_tool_ends_when_the_scanner_is_asked_to_stop_and_says_its_reason_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let script = "echo one >&2; echo ERROR it is broken >&2; echo after >&2; exit 1";
    let ended = shell(folder.path(), script, GENEROUS, &stop).await.unwrap();
    assert_eq!(ended.reason(), "ERROR it is broken (exit status: 1)");
    stop.cancel();
    let stopped = shell(folder.path(), "while :; do :; done", GENEROUS, &stop).await;
    assert!(matches!(stopped, Err(ScanError::Shutdown)));
}
