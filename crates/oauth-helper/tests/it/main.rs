//! The real binary against an authorization server that is strict about proofs and fails on request.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]

use std::collections::HashMap;
use std::process::{Output, Stdio};

use atcr_test_support::fakes::{FakePds, PdsFault};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const HOLD: &str = "did:web:hold.example";

/// A run that has shown its page and waits for the browser.
struct Waiting {
    child: Child,
    stderr: BufReader<tokio::process::ChildStderr>,
    page: String,
    /// Where the browser is to come back to.
    redirect: String,
}

/// What a run left behind.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stderr))
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn command(pds: &FakePds, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oauth-helper"));
    command
        .arg("--local")
        .args([
            "--plc-directory-url",
            &pds.url(),
            "--handle-resolver-url",
            &pds.url(),
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Waiting {
    async fn begin(pds: &FakePds, arguments: &[&str]) -> Self {
        let mut child = command(pds, arguments).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let page = loop {
            let mut line = String::new();
            assert_ne!(
                stderr.read_line(&mut line).await.unwrap(),
                0,
                "no page is shown: {said}"
            );
            said.push_str(&line);
            if line.trim().starts_with("http") {
                break line.trim().to_owned();
            }
        };
        let redirect = pds.announced(&page).unwrap().remove("redirect_uri").unwrap();
        Self {
            child,
            stderr,
            page,
            redirect,
        }
    }

    /// The browser comes back with `query`; the page it gets.
    async fn come_back(&self, query: &HashMap<String, String>) -> (u16, String) {
        let url = reqwest::Url::parse_with_params(&self.redirect, query).unwrap();
        let answer = client().get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn finish(mut self) -> Ran {
        let mut stderr = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut self.stderr, &mut stderr)
            .await
            .unwrap();
        ran(self.child.wait_with_output().await.unwrap(), stderr)
    }

    async fn approved(self, pds: &FakePds, did: &str) -> Ran {
        let query = pds.approve(&self.page, did).unwrap();
        let (status, page) = self.come_back(&query).await;
        assert_eq!(status, 200, "{page}");
        self.finish().await
    }
}

fn ran(output: Output, stderr: String) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr,
    }
}

/// A run that is not to get as far as a page.
async fn run(pds: &FakePds, arguments: &[&str]) -> Ran {
    let output = command(pds, arguments).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ran(output, stderr)
}

async fn alice() -> (FakePds, String) {
    let pds = FakePds::start().await.unwrap();
    let did = pds.add_account("alice.test", "password");
    (pds, did)
}

#[tokio::test]
async fn a_session_is_printed_with_the_headers_of_one_request() {
    let (pds, did) = alice().await;
    let waiting = Waiting::begin(&pds, &["--handle", "@alice.test", "--json"]).await;
    let announced = pds.announced(&waiting.page).unwrap();
    assert_eq!(announced["login_hint"], "alice.test");
    let ran = waiting.approved(&pds, &did).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let printed = ran.json();
    assert_eq!(printed["did"], did);
    assert_eq!(printed["issuer"], pds.url());
    assert_eq!(
        printed["request"]["url"],
        format!("{}/xrpc/com.atproto.server.getSession", pds.url())
    );
    assert_eq!(pds.oauth_sessions(), 1, "it is the developer's now");

    // The server takes the printed headers for that request.
    let headers = &printed["request"]["headers"];
    let text = |name: &str| headers[name].as_str().unwrap().to_owned();
    let answer = client()
        .get(format!(
            "{}/xrpc/com.atproto.server.getServiceAuth?aud={HOLD}&lxm=com.atproto.repo.getRecord",
            pds.url()
        ))
        .header("authorization", text("Authorization"))
        .header("dpop", text("DPoP"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401, "and for no other");
}

#[tokio::test]
async fn the_printed_headers_are_good_for_the_request_they_are_for() {
    let (pds, did) = alice().await;
    let url = format!("{}/xrpc/com.atproto.repo.applyWrites", pds.url());
    let waiting = Waiting::begin(
        &pds,
        &[
            "--handle",
            &did,
            "--url",
            &url,
            "--method",
            "post",
            "--scopes",
            "atproto repo:app.test.note",
        ],
    )
    .await;
    assert_eq!(
        pds.announced(&waiting.page).unwrap()["scope"],
        "atproto repo:app.test.note"
    );
    let ran = waiting.approved(&pds, &did).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let header = |name: &str| {
        let quoted = ran.stdout.split(&format!("-H '{name}: ")).nth(1).unwrap();
        quoted.split('\'').next().unwrap().to_owned()
    };
    let body = serde_json::json!({
        "repo": did,
        "writes": [{
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": "app.test.note",
            "rkey": "one",
            "value": { "text": "by hand" },
        }],
    });
    let answer = client()
        .post(&url)
        .header("authorization", header("Authorization"))
        .header("dpop", header("DPoP"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn a_sign_in_at_a_server_is_of_the_account_that_signs_in_there() {
    let (pds, did) = alice().await;
    let waiting = Waiting::begin(&pds, &["--pds", &pds.url(), "--json"]).await;
    assert!(!pds.announced(&waiting.page).unwrap().contains_key("login_hint"));
    let ran = waiting.approved(&pds, &did).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.json()["did"], did);

    let bob = pds.add_account("bob.test", "password");
    let waiting = Waiting::begin(&pds, &["--pds", &pds.url(), "--json"]).await;
    assert_eq!(waiting.approved(&pds, &bob).await.json()["did"], bob);
}

#[tokio::test]
async fn a_server_cannot_sign_in_an_account_that_lives_elsewhere() {
    let (pds, did) = alice().await;
    let elsewhere = FakePds::start().await.unwrap();
    pds.move_account(&did, &elsewhere.url());
    let ran = Waiting::begin(&pds, &["--pds", &pds.url()])
        .await
        .approved(&pds, &did)
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot be trusted"), "{}", ran.stderr);
    assert_eq!(pds.oauth_sessions(), 0, "what it gave is given back");

    pds.misbehave(|server| server.sub = Some("nobody".to_owned()));
    let ran = Waiting::begin(&pds, &["--pds", &pds.url()])
        .await
        .approved(&pds, &did)
        .await;
    assert!(
        ran.stderr.contains("does not say whom it signed in"),
        "{}",
        ran.stderr
    );
    assert_eq!(pds.oauth_sessions(), 0);
}

#[tokio::test]
async fn a_named_account_and_a_server_must_belong_together() {
    let (pds, did) = alice().await;
    let bob = pds.add_account("bob.test", "password");
    let arguments = ["--handle", "alice.test", "--pds", &pds.url(), "--json"];
    let ran = Waiting::begin(&pds, &arguments).await.approved(&pds, &did).await;
    assert_eq!(ran.json()["did"], did);
    let ran = Waiting::begin(&pds, &arguments).await.approved(&pds, &bob).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("it signed in another account"),
        "{}",
        ran.stderr
    );
    assert_eq!(pds.oauth_sessions(), 1, "alice's");
}

#[tokio::test]
async fn a_service_token_is_all_that_is_left_of_its_session() {
    let (pds, did) = alice().await;
    let arguments = ["--handle", "alice.test", "--service-token", HOLD, "--json"];
    let ran = Waiting::begin(&pds, &arguments).await.approved(&pds, &did).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let printed = ran.json();
    assert_eq!(printed["service_token"], format!("service:{did}:{HOLD}"));
    assert_eq!(printed["lxm"], "com.atproto.repo.getRecord");
    assert!(!ran.stdout.contains("oauth-access"), "{}", ran.stdout);
    assert_eq!(pds.oauth_sessions(), 0);
}

#[tokio::test]
async fn a_session_is_given_back_when_nothing_comes_of_it() {
    let (pds, did) = alice().await;
    let refused = [
        "--handle",
        "alice.test",
        "--aud",
        HOLD,
        "--lxm",
        "io.atcr.hold.initiateUpload",
    ];
    let elsewhere = ["--handle", "alice.test", "--url", "https://hold.example/xrpc/x"];
    for arguments in [refused.as_slice(), &elsewhere] {
        let ran = Waiting::begin(&pds, arguments).await.approved(&pds, &did).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
        assert_eq!(pds.oauth_sessions(), 0, "{}", ran.stderr);
    }
    pds.set_fault(
        "com.atproto.server.getServiceAuth",
        Some(PdsFault::Status(500, "InternalServerError")),
    );
    let arguments = ["--handle", "alice.test", "--service-token", HOLD];
    let ran = Waiting::begin(&pds, &arguments).await.approved(&pds, &did).await;
    assert!(ran.stderr.contains("error: no service token"), "{}", ran.stderr);
    assert_eq!(pds.oauth_sessions(), 0);
}

#[tokio::test]
async fn a_callback_of_another_sign_in_is_turned_away_and_the_right_one_still_taken() {
    let (pds, did) = alice().await;
    let waiting = Waiting::begin(&pds, &["--handle", "alice.test", "--json"]).await;
    let forged = HashMap::from([
        ("code".to_owned(), "stolen".to_owned()),
        ("state".to_owned(), "guessed".to_owned()),
        ("iss".to_owned(), pds.url()),
    ]);
    assert_eq!(waiting.come_back(&forged).await.0, 400);
    assert_eq!(waiting.approved(&pds, &did).await.code, 0);
}

#[tokio::test]
async fn a_no_is_told_in_the_servers_words() {
    let (pds, _) = alice().await;
    let waiting = Waiting::begin(&pds, &["--handle", "alice.test"]).await;
    let query = pds.deny(&waiting.page).unwrap();
    waiting.come_back(&query).await;
    let ran = waiting.finish().await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("the user said no"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_account_or_a_server_has_to_be_named() {
    let (pds, _) = alice().await;
    let ran = run(&pds, &[]).await;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--handle"), "{}", ran.stderr);
    let ran = run(&pds, &["--handle", "nobody.test"]).await;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let ran = run(&pds, &["--handle", "no handle"]).await;
    assert!(
        ran.stderr.contains("--handle takes a handle or a DID"),
        "{}",
        ran.stderr
    );
}
