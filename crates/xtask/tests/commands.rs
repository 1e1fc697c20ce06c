//! The commands as a person runs them, Ctrl-C included, each with state and ports of its own.
//!
//! They need the optimised programs and the Node packages; `cargo xtask test` installs and builds them.
#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use atcr_test_support::network::{NetworkFile, Ports};
use atcr_test_support::s3_server::start_versitygw;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// The pause between two looks at something that comes about.
const POLL: Duration = Duration::from_millis(20);

/// A folder of state and the ports of one network.
struct Commands {
    state: TempDir,
    ports: Ports,
}

impl Commands {
    fn new() -> Self {
        Self {
            state: tempfile::tempdir().expect("a temporary folder"),
            ports: Ports::free().expect("four ports"),
        }
    }

    fn state(&self) -> &Path {
        self.state.path()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg(name)
            .arg("--state")
            .arg(self.state())
            .stdin(Stdio::null());
        command
    }

    fn up(&self) -> Command {
        let mut command = self.command("up");
        let Ports {
            plc,
            pds,
            hold,
            appview,
        } = self.ports;
        for (option, port) in [
            ("--plc-port", plc),
            ("--pds-port", pds),
            ("--hold-port", hold),
            ("--appview-port", appview),
        ] {
            command.arg(option).arg(port.to_string());
        }
        command.arg("--no-build");
        command
    }

    /// The command lines of all processes that were given a path in the folder of the state.
    fn processes(&self) -> Vec<String> {
        let state = self.state().to_string_lossy().into_owned();
        std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&state))
            .collect()
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        assert!(
            !self.state().join("network.json").exists(),
            "network.json is left"
        );
        self.ports.require_free().expect("the ports are free again");
        assert!(text(&run(&mut self.command("status"))).contains("Nothing is running"));
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // No one else stops the network of a test that failed.
            let _ = self.command("down").output();
        }
    }
}

fn run(command: &mut Command) -> Output {
    command.output().expect("xtask runs")
}

/// What a command printed, whole.
fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}:\n{}", text(&output));
    text(&output)
}

fn refuse(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?}:\n{}", text(&output));
    assert!(output.stdout.is_empty(), "{}", text(&output));
    text(&output)
}

/// Starts a command whose lines are read as they come.
fn start(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("xtask starts");
    let lines = BufReader::new(child.stdout.take().expect("its output"));
    (child, lines)
}

fn wait_for_line(lines: &mut BufReader<ChildStdout>, wanted: &str) {
    let mut seen = String::new();
    loop {
        let start = seen.len();
        let read = lines.read_line(&mut seen).expect("a line");
        assert!(read > 0, "it ended before {wanted:?}:\n{seen}");
        if seen[start..].contains(wanted) {
            return;
        }
    }
}

/// Waits until `probe` finds something.
fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(POLL);
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid");
    kill_process(pid, signal).expect("the signal is sent");
}

/// The exit code of `child`; its remaining output is read, so that it is not kept waiting.
fn end(mut child: Child, lines: BufReader<ChildStdout>) -> Option<i32> {
    lines.lines().for_each(drop);
    child.wait().expect("it ends").code()
}

/// The addresses on which a program listens on `port`, as `/proc/net` writes them.
fn listeners(port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| {
            let table = std::fs::read_to_string(table).unwrap_or_default();
            let mut found = Vec::new();
            for line in table.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                if let [_, local, _, "0A", ..] = fields[..]
                    && let Some(address) = local.strip_suffix(suffix.as_str())
                {
                    found.push(address.to_owned());
                }
            }
            found
        })
        .collect()
}

#[test]
fn a_port_in_use_is_one_line_that_names_the_option() {
    let commands = Commands::new();
    let _taken = TcpListener::bind(("127.0.0.1", commands.ports.hold)).expect("the port");
    let text = refuse(&mut commands.up());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("--hold-port"), "{text}");
    assert!(text.contains(&commands.ports.hold.to_string()), "{text}");
}

#[test]
fn an_s3_server_that_is_not_there_is_one_line_before_anything_starts() {
    let commands = Commands::new();
    let endpoint = format!("http://127.0.0.1:{}", commands.ports.pds);
    let text = refuse(
        commands
            .up()
            .args(["--s3-endpoint", &endpoint])
            .env("AWS_ACCESS_KEY_ID", "access")
            .env("AWS_SECRET_ACCESS_KEY", "the-secret"),
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(&endpoint) && text.contains("--s3-endpoint"),
        "{text}"
    );
    assert!(!text.contains("the-secret"), "{text}");
    commands.assert_nothing_is_left();
}

#[tokio::test]
async fn a_real_s3_server_without_the_bucket_or_with_other_credentials_is_refused_before_anything_starts() {
    let commands = Commands::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (gateway, storage) = start_versitygw(folder.path()).await.expect("versitygw starts");
    let up = |bucket: &str, secret: &str| {
        let mut command = commands.up();
        command
            .args(["--s3-endpoint", &storage.endpoint, "--s3-bucket", bucket])
            .env("AWS_ACCESS_KEY_ID", &storage.access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret);
        command
    };
    let text = refuse(&mut up("missing", &storage.secret_key));
    assert!(
        text.contains("no bucket missing") && text.contains("--s3-bucket"),
        "{text}"
    );
    let text = refuse(&mut up(&storage.bucket, "another"));
    assert!(text.contains("AWS_SECRET_ACCESS_KEY"), "{text}");
    commands.assert_nothing_is_left();

    succeed(up(&storage.bucket, &storage.secret_key).arg("--detach"));
    succeed(&mut commands.command("down"));
    commands.assert_nothing_is_left();
    gateway.stop().await.expect("versitygw stops");
}

#[test]
fn a_part_that_does_not_start_says_why_in_few_lines_and_nothing_runs_on() {
    let commands = Commands::new();
    let secrets = commands.state().join("network/secrets.json");
    std::fs::create_dir_all(commands.state().join("network")).expect("a folder");
    std::fs::write(&secrets, "not JSON").expect("a file");
    let output = run(&mut commands.up());
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("error: the PLC directory and PDS ended while starting"),
        "{text}"
    );
    assert!(
        text.contains("logs/network.log") && text.contains("up --reset"),
        "{text}"
    );
    assert!(text.lines().count() <= 5, "{text}");
    commands.assert_nothing_is_left();
}

#[test]
fn ctrl_c_during_the_start_stops_what_was_started() {
    let commands = Commands::new();
    let (child, lines) = start(&mut commands.up());
    let pid = wait_for("a pid in network.json", || {
        NetworkFile::read(commands.state())
            .ok()
            .flatten()?
            .pids
            .get("network")
            .copied()
    });
    assert!(
        commands
            .processes()
            .iter()
            .any(|line| line.contains("network.mjs")),
        "process {pid} runs"
    );
    send(&child, Signal::INT);
    assert_eq!(end(child, lines), Some(130));
    commands.assert_nothing_is_left();
}

#[test]
fn ctrl_c_stops_a_network_in_the_foreground() {
    let commands = Commands::new();
    let (child, mut lines) = start(&mut commands.up());
    wait_for_line(&mut lines, "Press Ctrl-C");
    send(&child, Signal::INT);
    assert_eq!(end(child, lines), Some(0));
    commands.assert_nothing_is_left();
}

#[test]
fn a_reader_that_stops_reading_ends_the_output_and_not_the_network() {
    let commands = Commands::new();
    let (mut child, mut lines) = start(&mut commands.up());
    // As `cargo xtask up | head -1` does.
    wait_for_line(&mut lines, "PLC directory and PDS");
    drop(lines);
    let status = wait_for("a network", || {
        let status = run(&mut commands.command("status"));
        status.status.success().then(|| text(&status))
    });
    assert_eq!(status.matches(" running ").count(), 4, "{status}");
    send(&child, Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    commands.assert_nothing_is_left();
}

#[test]
fn a_detached_private_network_runs_on_loopback_only_and_serves_the_demo_until_down() {
    let commands = Commands::new();
    succeed(commands.up().args(["--detach", "--private"]));
    let status = succeed(&mut commands.command("status"));
    assert_eq!(status.matches(" running ").count(), 4, "{status}");
    let again = refuse(&mut commands.up());
    assert!(again.contains("already running"), "{again}");
    let Ports {
        plc,
        pds,
        hold,
        appview,
    } = commands.ports;
    for port in [plc, pds, hold, appview] {
        assert_eq!(
            listeners(port),
            ["0100007F"],
            "port {port} is open to this machine only"
        );
    }

    let demo = succeed(&mut commands.command("demo"));
    assert!(demo.contains(&format!("http://127.0.0.1:{appview}")), "{demo}");
    assert!(demo.contains("Every digest is equal."), "{demo}");

    succeed(&mut commands.command("down"));
    commands.assert_nothing_is_left();
    assert!(succeed(&mut commands.command("down")).contains("Nothing is running."));
}

#[test]
fn the_demo_does_not_take_a_stale_network_json_for_a_network_and_starts_its_own() {
    let commands = Commands::new();
    // This test's own process is one that got the pid of a part since.
    let stale = serde_json::json!({
        "appview": { "url": "http://127.0.0.1:1" },
        "hold": { "url": "http://localhost:1", "did": "did:web:localhost%3A1" },
        "pds": { "url": "http://localhost:1" },
        "plc": { "url": "http://localhost:1" },
        "accounts": [{ "handle": "alice.test", "did": "did:plc:gone", "password": "x", "app_password": "x" }],
        "pids": { "network": std::process::id(), "hold": std::process::id(), "appview": std::process::id() },
    });
    let path = commands.state().join("network.json");
    let write = || std::fs::write(&path, stale.to_string()).expect("network.json");

    write();
    let output = run(&mut commands.command("status"));
    assert!(!output.status.success());
    assert_eq!(text(&output).matches(" stopped").count(), 4, "{}", text(&output));
    assert!(succeed(&mut commands.command("down")).contains("Nothing is running."));

    write();
    let demo = succeed(commands.command("demo").arg("--no-build"));
    assert!(demo.contains("Every digest is equal."), "{demo}");
    assert_eq!(commands.processes(), Vec::<String>::new());
}

#[test]
fn ctrl_c_in_the_demo_stops_the_docker_engine_too() {
    let commands = Commands::new();
    let (child, lines) = start(commands.command("demo").arg("--no-build"));
    wait_for("an engine", || {
        commands
            .processes()
            .into_iter()
            .find(|line| line.contains("dockerd"))
    });
    send(&child, Signal::INT);
    assert_eq!(end(child, lines), Some(130));
    commands.assert_nothing_is_left();
}
