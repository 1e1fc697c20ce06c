//! The program's commands, as an operator runs them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::object_store::servers::{
    ACCESS_KEY, BUCKET, SECRET_KEY, Serving, Versitygw, s3s_router, versitygw_binary,
};

/// A hold's configuration, as variables.
struct Machine {
    dir: tempfile::TempDir,
    port: u16,
    variables: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut machine = Self {
            dir: tempfile::tempdir().expect("a folder"),
            port,
            variables: Vec::new(),
        };
        machine.set("HOLD_SERVER_ADDR", &format!("127.0.0.1:{port}"));
        machine.set("HOLD_SERVER_PUBLIC_URL", &format!("http://127.0.0.1:{port}"));
        machine.set("HOLD_SERVER_TEST_MODE", "True");
        machine.set("HOLD_REGISTRATION_OWNER_DID", "did:web:captain.test");
        machine.set("HOLD_DATABASE_PATH", &machine.data().display().to_string());
        machine
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atcr-hold"));
        command.args(arguments).env_clear().stdin(Stdio::null());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// The JSON that a command that works prints.
    fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let output = self.run(&arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("one line of JSON")
    }

    /// The one line that a command that fails prints.
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        said
    }

    /// A hold that is listening.
    fn serve(&self) -> Child {
        let mut serving = self
            .command(&["serve"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut said = Vec::new();
        let mut lines = BufReader::new(serving.stderr.take().expect("piped")).lines();
        loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it ended: {said:?}"))
                .expect("text");
            let listens = line.contains("listening");
            said.push(line);
            if listens {
                break;
            }
        }
        // The rest is read, so that the process does not wait for it.
        std::thread::spawn(move || lines.for_each(drop));
        serving
    }

    async fn captain(&self) -> Value {
        let url = format!(
            "http://127.0.0.1:{}/xrpc/com.atproto.repo.getRecord?repo=did:web:127.0.0.1%253A{}&collection=io.atcr.hold.captain&rkey=self",
            self.port, self.port
        );
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.get(url).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer.json().await.expect("JSON")
    }
}

fn kill(mut process: Child) {
    process.kill().expect("it runs");
    process.wait().expect("it ends");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn a_stopped_hold_is_exported_imported_verified_rebuilt_and_compacted() {
    let machine = Machine::new();
    assert!(
        machine
            .failure(&["repo", "verify"])
            .contains("there is no repository in")
    );
    let serving = machine.serve();
    assert!(
        machine
            .failure(&["repo", "verify"])
            .contains("the hold is running")
    );
    kill(serving);

    assert_eq!(machine.json(&["repo", "verify"])["whole"], true);
    let car = machine.dir.path().join("hold.car");
    let exported = machine.json(&["repo", "export", "--out", text(&car)]);
    let bytes = std::fs::read(&car).expect("written");
    assert_eq!(exported["bytes"], bytes.len());
    let output = machine.run(&["repo", "export"]);
    assert!(output.stdout == bytes, "standard output has the same CAR");

    let imported = machine.json(&["repo", "import", text(&car)]);
    assert_eq!(
        (&imported["found"], &imported["changed"]),
        (&Value::from(2), &Value::from(0))
    );
    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&car, damaged).expect("written");
    let said = machine.failure(&["repo", "import", text(&car)]);
    assert!(said.contains("does not match its name"), "{said}");
    assert!(
        machine
            .failure(&["repo", "import", "missing.car"])
            .contains("missing.car")
    );

    let index = machine.data().join("repo/index.sqlite");
    std::fs::write(&index, "no database").expect("written");
    assert_eq!(
        machine.json(&["repo", "rebuild"])["indexed"],
        1,
        "one member of the crew"
    );
    machine.json(&["repo", "compact"]);
    assert_eq!(machine.json(&["repo", "verify"])["whole"], true);
    assert!(machine.failure(&["repo", "backup"]).contains("backup.path"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_whose_machine_is_lost_comes_back_from_bucket_and_keys() {
    let bucket = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(bucket.path().join(BUCKET)).expect("a bucket");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let s3 = Serving::start(&listener, s3s_router(bucket.path()));
    lose_and_restore(addr).await;
    s3.stop().await;

    match versitygw_binary() {
        Some(binary) => {
            let bucket = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(bucket.path().join(BUCKET)).expect("a bucket");
            let versitygw = Versitygw::start(&binary, bucket.path()).await;
            lose_and_restore(versitygw.addr).await;
        }
        None => {
            eprintln!("SKIPPED: ATCR_VERSITYGW names no binary, the restore is not tried against versitygw");
        }
    }
}

async fn lose_and_restore(addr: std::net::SocketAddr) {
    let mut machine = Machine::new();
    machine.set("S3_BUCKET", BUCKET);
    machine.set("S3_ENDPOINT", &format!("http://{addr}"));
    machine.set("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    machine.set("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    machine.set("HOLD_BACKUP_INTERVAL", "50ms");

    let serving = machine.serve();
    let before = machine.captain().await;
    let passphrase = machine.dir.path().join("passphrase");
    std::fs::File::create(&passphrase)
        .and_then(|mut file| file.write_all(b"correct horse battery\n"))
        .expect("written");
    let keys = machine.dir.path().join("keys.json");
    let sealed = ["--passphrase-file", text(&passphrase)];
    machine.json(&["keys", "export", "--out", text(&keys), sealed[0], sealed[1]]);
    let signing_key = std::fs::read(machine.data().join("signing.key")).expect("a key");
    let exported = std::fs::read(&keys).expect("written");
    let is_inside = |needle: &[u8]| exported.windows(needle.len()).any(|window| window == needle);
    assert!(!is_inside(signing_key.trim_ascii()), "the key is sealed");

    // Everything that is acknowledged is there within the interval.
    let status = loop {
        let output = machine.run(&["repo", "backup", "--status", "--json"]);
        if output.status.success() {
            break serde_json::from_slice::<Value>(&output.stdout).expect("JSON");
        }
        tokio::task::yield_now().await;
    };
    kill(serving);
    let elsewhere = machine.dir.path().join("lost");
    std::fs::rename(machine.data(), &elsewhere).expect("moved");

    let said = machine.failure(&["serve"]);
    assert!(said.contains("repo restore"), "{said}");
    std::fs::write(&passphrase, "another passphrase\n").expect("written");
    let said = machine.failure(&["keys", "import", text(&keys), sealed[0], sealed[1]]);
    assert!(said.contains("another passphrase"), "{said}");
    std::fs::write(&passphrase, "correct horse battery\n").expect("written");
    let said = machine.failure(&["repo", "restore"]);
    assert!(said.contains("keys import"), "{said}");
    machine.json(&["keys", "import", text(&keys), sealed[0], sealed[1]]);
    let said = machine.failure(&["keys", "import", text(&keys), sealed[0], sealed[1]]);
    assert!(said.contains("exists"), "{said}");
    let restored = machine.json(&["repo", "restore"]);
    assert_eq!(restored["fromSeq"], status["seq"]);
    assert!(restored["seq"].as_u64() > status["seq"].as_u64());
    assert!(machine.failure(&["repo", "restore"]).contains("already"));
    assert_eq!(machine.json(&["repo", "verify"])["whole"], true);

    let serving = machine.serve();
    assert_eq!(machine.captain().await, before);
    kill(serving);
}
