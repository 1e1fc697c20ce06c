//! From a bare machine to a hold: `init`, by flags and on a terminal, and `doctor`.

mod bucket;
mod doctor;
mod init;
mod terminal;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// The captain's account: a handle that leads to a DID, the DID's document, and a profile with a name.
pub(crate) struct Captain {
    pub(crate) url: String,
    pub(crate) did: String,
}

pub(crate) const HANDLE: &str = "captain.test";

impl Captain {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (url, did) = (
            format!("http://127.0.0.1:{port}"),
            format!("did:web:127.0.0.1%3A{port}"),
        );
        let document = json!({
            "id": did, "alsoKnownAs": [format!("at://{HANDLE}")],
            "service": [{ "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": url }],
        });
        let profile = json!({
            "uri": format!("at://{did}/app.bsky.actor.profile/self"), "cid": null,
            "value": { "$type": "app.bsky.actor.profile", "displayName": "Captain Test" },
        });
        let answer = json!({ "did": did });
        let handles = async move |Query(query): Query<Value>| {
            if query["handle"] == HANDLE {
                Ok(Json(answer))
            } else {
                Err(http::StatusCode::BAD_REQUEST)
            }
        };
        let router = Router::new()
            .route("/.well-known/did.json", get(async || Json(document)))
            .route("/xrpc/com.atproto.identity.resolveHandle", get(handles))
            .route("/xrpc/com.atproto.repo.getRecord", get(async || Json(profile)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, did }
    }

    /// Flags by which the captain is found from this machine.
    pub(crate) fn network(&self) -> [&str; 3] {
        ["--local", "--handle-resolver-url", &self.url]
    }
}

/// The program without a terminal and without variables.
pub(crate) fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atcr-hold"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().expect("the program runs")
}

/// What a command that works prints.
pub(crate) fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The one line that a command that fails prints.
pub(crate) fn failure(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    let lines = said.lines().filter(|line| !line.starts_with("  "));
    assert_eq!(lines.count(), 1, "{arguments:?}: {said}");
    said
}
