//! The program's commands, as an operator runs them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::crypto::Curve;
use atcr_atproto::syntax::Tid;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::directory::Directory;
use crate::harness::identities::Account;
use crate::object_store::servers::{
    ACCESS_KEY, BUCKET, SECRET_KEY, Serving, Versitygw, s3s_router, versitygw_binary,
};
use crate::relays::Relay;

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
        listening(self.command(&["serve"]))
    }

    async fn captain(&self) -> Value {
        let did = match std::fs::read_to_string(self.data().join("did.txt")) {
            Ok(did) => did.trim().to_owned(),
            Err(_) => format!("did:web:127.0.0.1%253A{}", self.port),
        };
        let url = format!(
            "http://127.0.0.1:{}/xrpc/com.atproto.repo.getRecord?repo={did}&collection=io.atcr.hold.captain&rkey=self",
            self.port
        );
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.get(url).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer.json().await.expect("JSON")
    }
}

/// Runs a hold, and waits until it listens.
pub(crate) fn listening(mut command: Command) -> Child {
    let mut serving = command
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

pub(crate) fn kill(mut process: Child) {
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
        (&Value::from(3), &Value::from(0))
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

/// A machine with a backup, and the arguments that seal its keys.
fn machine_with_backup(place: &Path) -> (Machine, PathBuf) {
    let mut machine = Machine::new();
    machine.set("HOLD_BACKUP_PATH", text(place));
    machine.set("HOLD_SERVER_RELAY_ENDPOINT", "");
    let passphrase = machine.dir.path().join("passphrase");
    std::fs::write(&passphrase, "correct horse battery\n").expect("written");
    (machine, passphrase)
}

/// Exports the keys, changes the signing key, and loses everything but the export and the backup. Returns the captain record and the
/// key that signed the backup.
async fn rotate_and_lose(machine: &Machine, passphrase: &Path) -> (Value, String) {
    kill(machine.serve());
    let keys = machine.dir.path().join("keys.json");
    let sealed = ["--passphrase-file", text(passphrase)];
    machine.json(&["keys", "export", "--out", text(&keys), sealed[0], sealed[1]]);
    let rotated = machine.run(&["keys", "rotate"]);
    let said = String::from_utf8_lossy(&rotated.stdout).into_owned();
    assert!(said.contains("keys export"), "a reminder: {rotated:?}");
    let serving = machine.serve();
    let before = machine.captain().await;
    let shown = machine.json(&["identity", "show"]);
    kill(serving);
    machine.json(&["repo", "backup"]);
    std::fs::rename(machine.data(), machine.dir.path().join("lost")).expect("moved");
    machine.json(&["keys", "import", text(&keys), sealed[0], sealed[1]]);
    let key = shown["signingKey"].as_str().expect("a key").to_owned();
    (before, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_key_is_lost_is_restored_by_those_who_name_the_key() {
    for has_older_key in [true, false] {
        let place = tempfile::tempdir().expect("a folder");
        let (mut machine, passphrase) = machine_with_backup(place.path());
        let (before, key) = rotate_and_lose(&machine, &passphrase).await;
        let relay = Relay::default();
        machine.set("HOLD_SERVER_RELAY_ENDPOINT", &relay.serve().await);
        let has = |seq: u64| relay.has.lock().expect("a lock").0 = i64::try_from(seq).expect("fits");
        let mut restore = vec!["repo", "restore"];
        if !has_older_key {
            std::fs::remove_file(machine.data().join("signing.key")).expect("removed");
            assert!(machine.failure(&restore).contains("--new-key"));
            restore.push("--new-key");
        }
        let said = machine.failure(&restore);
        assert!(said.contains("--signed-by") && said.contains(&key), "{said}");
        restore.extend(["--signed-by", &key]);
        let now = machine.json(&["repo", "backup", "--status"])["seq"]
            .as_u64()
            .expect("a number");
        let hours = |hours: u64| now + hours * 3_600_000_000;
        has(hours(24 * 60));
        assert!(machine.failure(&restore).contains("--ignore-relays"));
        let in_an_hour = Tid::from_parts(SystemClock.now_micros() + 3_600_000_000, 3);
        *relay.has.lock().expect("a lock") = (0, Some(in_an_hour));
        let said = machine.failure(&restore);
        assert!(
            said.contains("revision") && said.contains("--ignore-relays"),
            "{said}"
        );
        relay.has.lock().expect("a lock").1 = None;
        has(hours(5));
        let restored = machine.json(&restore);
        assert!(restored["seq"].as_u64() > Some(hours(6)), "{restored}");
        assert_eq!(
            restored["mustRecover"], false,
            "the hold serves its document itself"
        );
        assert_eq!(machine.json(&["repo", "verify"])["whole"], true);
        let serving = machine.serve();
        assert_eq!(machine.captain().await, before);
        kill(serving);
    }
}

#[test]
fn a_key_that_was_replaced_is_not_believed_and_a_restore_that_fails_leaves_nothing() {
    let place = tempfile::tempdir().expect("a folder");
    let (machine, _) = machine_with_backup(place.path());
    kill(machine.serve());
    machine.json(&["repo", "backup"]);
    let rotated = machine.run(&["keys", "rotate"]);
    assert!(rotated.status.success(), "{rotated:?}");
    std::fs::rename(machine.data().join("repo"), machine.dir.path().join("lost")).expect("moved");
    let said = machine.failure(&["repo", "restore"]);
    assert!(said.contains("--signed-by"), "{said}");
    let key = said
        .split_whitespace()
        .find_map(|word| Some(word.trim_end_matches(';')).filter(|word| word.starts_with("did:key:")))
        .expect("the key that the backup claims");

    let nothing_is_left = || {
        assert!(!machine.data().join("repo.downloaded").exists());
        let left = std::fs::read_dir(machine.data().join("repo"))
            .into_iter()
            .flatten();
        let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(left.iter().all(|name| name == "lock"), "{left:?}");
    };
    nothing_is_left();
    let objects = |folder: &Path| -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found
    };
    let part = objects(place.path())
        .into_iter()
        .find(|path| path.parent().is_some_and(|folder| folder.ends_with("log")))
        .expect("a part of the log");
    let aside = machine.dir.path().join("part");
    std::fs::rename(&part, &aside).expect("moved");
    let said = machine.failure(&["repo", "restore", "--signed-by", key]);
    assert!(said.contains("is missing"), "{said}");
    nothing_is_left();
    std::fs::rename(&aside, &part).expect("moved");
    machine.json(&["repo", "restore", "--signed-by", key]);
    assert_eq!(machine.json(&["repo", "verify"])["whole"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_signed_by_the_key_that_the_directory_names_is_restored_and_the_did_recovered() {
    let directory = Directory::start().await;
    let place = tempfile::tempdir().expect("a folder");
    let (mut machine, passphrase) = machine_with_backup(place.path());
    machine.set("HOLD_DATABASE_DID_METHOD", "plc");
    machine.set("HOLD_DATABASE_PLC_DIRECTORY_URL", directory.url.as_str());
    let (before, _) = rotate_and_lose(&machine, &passphrase).await;
    let rotation = machine.data().join("rotation.key");
    let aside = machine.dir.path().join("rotation.aside");
    std::fs::rename(&rotation, &aside).expect("moved");
    let said = machine.failure(&["repo", "restore"]);
    assert!(said.contains("rotation key"), "it could not be started: {said}");
    std::fs::rename(&aside, &rotation).expect("moved");
    let restored = machine.json(&["repo", "restore"]);
    assert_eq!(restored["mustRecover"], true);
    let said = machine.failure(&["serve"]);
    assert!(said.contains("identity recover"), "{said}");
    let recovered = machine.run(&["identity", "recover"]);
    assert!(recovered.status.success(), "{recovered:?}");
    let serving = machine.serve();
    assert_eq!(machine.captain().await, before);
    let shown = machine.json(&["identity", "show"]);
    assert_eq!(shown["differences"], Value::Array(Vec::new()), "{shown}");
    kill(serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_did_web_hold_becomes_a_did_plc_one_and_back_by_export_and_import() {
    let directory = Directory::start().await;
    let mut machine = Machine::new();
    machine.set("HOLD_SERVER_RELAY_ENDPOINT", "");
    machine.set("HOLD_DATABASE_PLC_DIRECTORY_URL", directory.url.as_str());
    let serving = machine.serve();
    let record = machine.captain().await["value"].clone();
    kill(serving);
    let car = machine.dir.path().join("hold.car");
    for method in ["plc", "web"] {
        let shown = machine.json(&["identity", "show"]);
        let (did, key) = (
            shown["did"].as_str().expect("a DID"),
            shown["signingKey"].as_str().expect("a key"),
        );
        let exported = machine.json(&["repo", "export", "--out", text(&car)]);
        let aside = machine.dir.path().join(format!("before {method}"));
        std::fs::rename(machine.data(), aside).expect("moved");
        machine.set("HOLD_DATABASE_DID_METHOD", method);
        let made = machine.run(&["repo", "init", "--replaces", did]);
        assert!(made.status.success(), "{made:?}");
        let mut import = vec!["repo", "import", text(&car)];
        let said = machine.failure(&import);
        assert!(said.contains("--from"), "{said}");
        import.extend(["--from", did]);
        let said = machine.failure(&import);
        assert!(said.contains("--signed-by"), "{said}");
        import.extend(["--signed-by", key]);
        assert_eq!(machine.json(&import)["found"], 3, "captain, crew and profile");
        assert_eq!(machine.json(&["repo", "verify"])["whole"], true);

        let serving = machine.serve();
        let found = machine.captain().await;
        assert_eq!(found["value"], record, "the captain record came along");
        let now = machine.json(&["identity", "show"]);
        assert!(
            now["did"].as_str().is_some_and(|now| now.contains(method)),
            "{now}"
        );
        assert_eq!(now["differences"], Value::Array(Vec::new()), "{now}");
        kill(serving);
        let again = machine.json(&["repo", "export", "--out", text(&car)]);
        assert!(again["rev"].as_str() > exported["rev"].as_str());
    }
}

/// Events of nearly a megabyte.
const LARGE_EVENTS: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_cuts_off_a_request_at_its_end_still_sends_followers_every_event_and_a_goodbye() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let captain = Account::elsewhere(&format!("did:web:127.0.0.1%3A{port}"), Curve::K256);
    let document = Json(captain.document());
    let router = Router::new().route("/.well-known/did.json", get(async || document));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut machine = Machine::new();
    machine.set("HOLD_REGISTRATION_OWNER_DID", captain.did.as_str());
    machine.set("HOLD_SERVER_SHUTDOWN_GRACE", "300ms");
    let mut serving = machine.serve();
    let address = format!("127.0.0.1:{}", machine.port);
    let hold = format!("did:web:127.0.0.1%3A{}", machine.port);
    let nsid = "com.atproto.repo.createRecord";
    let token = captain.token(&hold.parse().expect("a DID"), Some(nsid), SystemClock.now());
    let large = json!({
        "repo": hold, "collection": "com.example.large",
        "record": { "$type": "com.example.large", "text": "x".repeat(900_000) },
    });
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    // More than the sockets between them take: the follower is not sent everything before the end.
    for _ in 0..LARGE_EVENTS {
        let request = http
            .post(format!("http://{address}/xrpc/{nsid}"))
            .bearer_auth(&token);
        let written = request.json(&large).send().await.expect("an answer");
        assert!(written.status().is_success(), "{written:?}");
    }
    let url = format!("ws://{address}/xrpc/com.atproto.sync.subscribeRepos?cursor=0");
    let (mut follower, _) = connect_async(url).await.expect("a subscription");
    follower.next().await.expect("an event").expect("an event");
    // An upload that never ends keeps the hold from finishing in time.
    let nsid = "com.atproto.repo.uploadBlob";
    let token = captain.token(&hold.parse().expect("a DID"), Some(nsid), SystemClock.now());
    let mut upload = std::net::TcpStream::connect(&address).expect("connected");
    let head = format!(
        "POST /xrpc/{nsid} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: 9\r\n\r\nbegun"
    );
    upload.write_all(head.as_bytes()).expect("sent");
    let spool = machine.data().join("blob-uploads");
    while std::fs::read_dir(&spool).expect("a folder").next().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    kill_process(Pid::from_child(&serving), Signal::TERM).expect("it runs");
    let mut events = 1;
    let goodbye = loop {
        match follower.next().await.expect("not just gone").expect("a message") {
            Message::Binary(_) => {
                events += 1;
                // A follower that takes its time, so that the hold still has something to send when its patience is over.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Message::Close(frame) => break frame.expect("a reason").code,
            _ => {}
        }
    };
    assert_eq!(goodbye, CloseCode::Away);
    assert!(events > LARGE_EVENTS, "{events}");
    drop(follower);
    assert!(serving.wait().expect("it ends").success());
}

#[test]
fn scans_are_listed_beside_a_hold_that_runs_and_none_is_made_up() {
    let machine = Machine::new();
    let said = machine.failure(&["scans", "list"]);
    assert!(said.contains("there is no hold in"), "{said}");
    assert!(!machine.data().join("hold.sqlite").exists(), "nothing is made");
    let serving = machine.serve();
    let listed = machine.json(&["scans", "list"]);
    assert_eq!((&listed["ready"], &listed["jobs"]), (&json!(0), &json!([])));
    assert_eq!(machine.json(&["scans", "again", "--failed"])["queued"], 0);
    let digest = format!("sha256:{}", "a".repeat(64));
    let said = machine.failure(&["scans", "again", &digest]);
    assert!(said.contains("has no scan of"), "{said}");
    kill(serving);
}
