//! `atcr-hold doctor` at a hold on files, from inside and outside.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Captain, program, run, succeed};
use crate::commands::{kill, listening};

/// A hold that `init` set up.
struct Machine {
    dir: TempDir,
    url: String,
    _captain: Captain,
}

impl Machine {
    async fn new() -> Self {
        let captain = Captain::start().await;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let (dir, address) = (
            tempfile::tempdir().expect("a folder"),
            format!("127.0.0.1:{port}"),
        );
        let url = format!("http://{address}");
        let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (data, backup) = (text(&data), text(&backup));
        let mut arguments = vec![
            "init",
            "--yes",
            "--url",
            &url,
            "--listen",
            &address,
            "--captain",
            &captain.did,
            "--data-dir",
            &data,
            "--backup",
            &backup,
            "--proxy",
            "none",
        ];
        arguments.extend(captain.network());
        succeed(dir.path(), &arguments);
        // A running hold copies by and by; here the copy is there from the beginning.
        succeed(dir.path(), &["repo", "init", "--config", "hold.yaml"]);
        succeed(dir.path(), &["repo", "backup", "--config", "hold.yaml"]);
        Self {
            dir,
            url,
            _captain: captain,
        }
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("data/signing.key")
    }

    fn serve(&self) -> Child {
        listening(program(self.dir.path(), &["serve", "--config", "hold.yaml"]))
    }

    /// The exit code, and what was found by check.
    fn doctor(&self, more: &[&str]) -> (i32, Vec<Value>) {
        let arguments = [&["doctor", "--config", "hold.yaml", "--json"], more].concat();
        let output = run(self.dir.path(), &arguments);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let findings = found["findings"].as_array().expect("findings").clone();
        (output.status.code().expect("an exit"), findings)
    }
}

fn of<'f>(findings: &'f [Value], grade: &str) -> Vec<&'f str> {
    findings
        .iter()
        .filter(|finding| finding["grade"] == grade)
        .map(|finding| finding["check"].as_str().expect("a check"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_runs_well_has_no_problem_inside_and_outside() {
    let machine = Machine::new().await;
    let serving = machine.serve();
    let url = machine.url.clone();
    let (code, findings) = machine.doctor(&["--url", &url]);
    kill(serving);
    assert_eq!(of(&findings, "problem"), Vec::<&str>::new(), "{findings:#?}");
    // No handle of an address, no relay for a hold on loopback.
    assert_eq!(
        of(&findings, "warning"),
        ["appview", "relay", "handle"],
        "{findings:#?}"
    );
    assert_eq!(code, 1, "warnings only");
    for check in [
        "configuration",
        "folder",
        "key files",
        "disk",
        "identity",
        "process",
        "store",
        "backup",
        "captain",
        "clock",
        "DNS",
        "health",
        "did.json",
        "DID",
        "WebSocket",
    ] {
        assert!(of(&findings, "ok").contains(&check), "{check} in {findings:#?}");
    }

    // For people, each finding is a line, and a remedy stands below it.
    let output = run(machine.dir.path(), &["doctor", "--config", "hold.yaml"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains(
            "warning  process        the hold does not run\n         → atcr-hold serve --config hold.yaml"
        ),
        "{text}"
    );
    assert!(text.contains("problems: 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_inside_is_a_problem_with_its_remedy() {
    let machine = Machine::new().await;
    let set = |mode| {
        std::fs::set_permissions(machine.key(), std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    set(0o644);
    let (code, findings) = machine.doctor(&[]);
    assert_eq!(
        (code, of(&findings, "problem")),
        (2, vec!["key files", "identity"]),
        "{findings:#?}"
    );
    let finding = findings
        .iter()
        .find(|finding| finding["check"] == "key files")
        .expect("it");
    let remedy = finding["remedy"].as_str().expect("a remedy");
    assert!(
        remedy.starts_with(&format!("chmod 600 {}", machine.key().display())),
        "{remedy}"
    );
    set(0o600);

    std::fs::remove_dir_all(machine.dir.path().join("backup")).expect("removed");
    let (code, findings) = machine.doctor(&[]);
    assert_eq!(
        (code, of(&findings, "problem")),
        (2, vec!["backup"]),
        "{findings:#?}"
    );

    std::fs::remove_file(machine.key()).expect("removed");
    let (_, findings) = machine.doctor(&[]);
    assert!(of(&findings, "problem").contains(&"identity"), "{findings:#?}");

    std::fs::write(machine.dir.path().join("hold.yaml"), "server:\n  publik: yes\n").expect("written");
    let (code, findings) = machine.doctor(&[]);
    assert_eq!((code, of(&findings, "ok")), (2, vec![]), "{findings:#?}");
    assert!(
        findings[0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("server.public")),
        "{findings:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_leads_elsewhere_and_passes_no_websockets_is_found_out() {
    let machine = Machine::new().await;
    let serving = machine.serve();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let proxy = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new()
        .route("/xrpc/_health", get(async || Json(json!({ "version": "0.1" }))))
        .route(
            "/.well-known/did.json",
            get(async || Json(json!({ "id": "did:web:other.test" }))),
        )
        .route("/.well-known/atproto-did", get(async || "did:web:other.test"))
        .route(
            "/xrpc/com.atproto.sync.subscribeRepos",
            get(async || "no upgrade"),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    let (code, findings) = machine.doctor(&["--url", &proxy]);
    kill(serving);
    assert_eq!(code, 2, "{findings:#?}");
    assert_eq!(
        of(&findings, "problem"),
        ["URL", "did.json", "handle", "WebSocket"],
        "{findings:#?}"
    );

    let (_, findings) = machine.doctor(&["--url", &machine.url.clone()]);
    assert_eq!(
        of(&findings, "problem"),
        ["health"],
        "nobody listens: {findings:#?}"
    );
}
