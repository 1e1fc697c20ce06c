//! What the commands print while they wait for other programs, which are played by scripts here.
#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use atcr_test_support::network::Ports;
use tempfile::TempDir;

/// Waits until the file `gate` is beside the script, and half a minute at most: a test that does not open it is to fail.
const WAIT: &str =
    "n=0; while [ ! -e \"$(dirname \"$0\")/gate\" ] && [ $n -lt 600 ]; do sleep 0.05; n=$((n+1)); done\n";

/// Does not end by itself.
const FOR_EVER: &str = "while true; do sleep 0.05; done\n";

/// Scripts in the place of cargo and npm, and an empty cache and target folder: as on a machine where nothing was built yet.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new(cargo: &str, npm: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, script) in [("cargo", cargo), ("npm", npm)] {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}")).expect("a script");
            fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `xtask up` on this machine.
    fn up(&self) -> Command {
        let path = std::env::var("PATH").expect("a PATH");
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg("up")
            .arg("--state")
            .arg(self.path("state"))
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("CARGO", self.path("cargo"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("ATCR_CACHE_DIR", self.path("cache"))
            .env("ATCR_PROGRESS_SECONDS", "0.1")
            .stdin(Stdio::null());
        let ports = Ports::free().expect("four ports");
        for (option, port) in [
            ("--plc-port", ports.plc),
            ("--pds-port", ports.pds),
            ("--hold-port", ports.hold),
            ("--appview-port", ports.appview),
        ] {
            command.arg(option).arg(port.to_string());
        }
        command
    }

    /// Lets the scripts go on.
    fn open_gate(&self) {
        fs::write(self.path("gate"), "").expect("a file");
    }

    /// The command lines of the scripts that run.
    fn running(&self) -> Vec<String> {
        let folder = self.folder.path().to_string_lossy().into_owned();
        fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&folder))
            .collect()
    }
}

#[test]
fn a_first_run_says_what_it_will_do_and_a_log_shows_how_far_cargo_and_npm_are() {
    let cargo = format!(
        "printf '    Building [==>   ] 12/590: serde, tokio\\r' >&2\n{WAIT}echo 'error: stop here' >&2\nexit 1\n"
    );
    let npm =
        format!("echo 'npm http fetch GET 200 https://registry.example/a/-/a-1.0.0.tgz 5ms' >&2\n{FOR_EVER}");
    let machine = Machine::new(&cargo, &npm);
    let mut child = machine
        .up()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xtask starts");
    let mut seen = Vec::new();
    let mut wanted = vec![
        "building the programs: crate 12 of 590 (serde, tokio)",
        "installing the reference PDS and PLC directory, from npm: package 1 of ",
    ];
    for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
        let line = line.expect("a line");
        wanted.retain(|text| !line.contains(text));
        seen.push(line);
        if wanted.is_empty() {
            machine.open_gate();
        }
    }
    let output = child.wait_with_output().expect("it ends");
    assert!(wanted.is_empty(), "{seen:#?}");
    assert!(
        seen[0].starts_with("The first run builds and installs the following, in about ")
            && seen[0].ends_with(" min on two cores:"),
        "{seen:#?}"
    );
    for announced in [
        "  programs: atcr-hold, atcr-appview",
        "  the reference PDS and PLC directory, from npm",
    ] {
        assert!(seen.iter().any(|line| line.contains(announced)), "{seen:#?}");
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.starts_with("error: the build failed;"), "{errors}");
    assert!(errors.contains("error: stop here"), "{errors}");
    assert_eq!(
        machine.running(),
        Vec::<String>::new(),
        "npm goes on although the build failed"
    );
}

#[test]
fn an_error_says_its_reason_once() {
    for arguments in [
        ["dist", "--signing-key", "/no/such/key.pem"],
        ["dist", "--program", "/no/such/program"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(arguments)
            .output()
            .expect("xtask runs");
        assert_reason_once(&output.stderr);
    }
    let machine = Machine::new("exit 1\n", FOR_EVER);
    let mut without_cargo = machine.up();
    without_cargo.env("CARGO", "/no/such/cargo");
    assert_reason_once(&without_cargo.output().expect("xtask runs").stderr);
}

fn assert_reason_once(errors: &[u8]) {
    let errors = String::from_utf8_lossy(errors);
    assert_eq!(errors.matches("os error 2").count(), 1, "{errors}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_its_reason_once() {
    let machine = Machine::new("exit 0\n", "exit 0\n");
    // A file is where a folder should be.
    fs::write(machine.path("state"), "").expect("a file");
    let output = machine.up().arg("--no-build").output().expect("xtask runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("os error").count(), 1, "{errors}");
    assert!(
        errors.contains(&*machine.path("state").to_string_lossy()),
        "{errors}"
    );
    assert!(Path::new(&machine.path("state")).is_file());
}
