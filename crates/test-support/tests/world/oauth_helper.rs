//! The developer's tool with a real browser at the reference PDS.

use std::process::Stdio;

use atcr_test_support::tools::Workspace;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::browser::Browser;
use crate::{World, client};

/// Runs the tool with `arguments` while alice signs in and says yes in `browser`; what it printed.
async fn sign_in(world: &World, browser: &Browser, arguments: &[&str], names_account: bool) -> Value {
    let workspace = Workspace::locate().expect("the workspace");
    let file = world.network.file();
    let mut child = Command::new(
        workspace
            .binary("oauth-helper")
            .expect("built by `cargo xtask test`"),
    )
    .args(["--local", "--json", "--plc-directory-url", &file.plc.url])
    .args(["--handle-resolver-url", &file.pds.url])
    .args(arguments)
    .stdin(Stdio::null())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .kill_on_drop(true)
    .spawn()
    .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("its words")).lines();
    let mut said = String::new();
    let page = loop {
        let line = lines.next_line().await.expect("text");
        let line = line.unwrap_or_else(|| panic!("no page is shown: {said}"));
        if line.trim().starts_with("http") {
            break line.trim().to_owned();
        }
        said.push_str(&line);
    };
    let account = world.account("alice.test");
    browser.open(&page).await;
    if !names_account {
        browser.press("Sign in").await;
        browser.fill("username", &account.handle).await;
    }
    browser.authorize_at_pds(account).await;
    browser.wait_for_text("Go back to the terminal").await;
    let mut printed = String::new();
    let mut stdout = child.stdout.take().expect("its output");
    stdout.read_to_string(&mut printed).await.expect("text");
    let status = child.wait().await.expect("an end");
    while let Ok(Some(line)) = lines.next_line().await {
        said.push_str(&line);
    }
    assert!(status.success(), "{said}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// One request with a printed proof.
async fn call(url: &str, headers: &Value) -> (u16, Value) {
    let mut request = client().get(url);
    for (name, value) in headers.as_object().expect("headers") {
        request = request.header(name, value.as_str().expect("text"));
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_signs_in_by_account_or_by_server_and_calls_pds_and_hold_by_hand() {
    let world = World::start().await;
    let file = world.network.file();
    let did = world.account("alice.test").did.clone();
    let (pds, hold) = (file.pds.url.clone(), file.hold.clone());
    let browser = Browser::start(&world.folder("browser"), &[]).await;

    let session = sign_in(&world, &browser, &["--handle", "alice.test"], true).await;
    assert_eq!(session["did"], did);
    let url = session["request"]["url"].as_str().expect("a URL").to_owned();
    let (status, answer) = call(&url, &session["request"]["headers"]).await;
    assert_eq!((status, &answer["did"]), (200, &session["did"]), "{answer}");

    // A fresh browser has no session at the server.
    let stranger = Browser::start(&world.folder("stranger"), &[]).await;
    let session = sign_in(&world, &stranger, &["--pds", &pds], false).await;
    assert_eq!(session["did"], did);

    let third = Browser::start(&world.folder("third"), &[]).await;
    let arguments = ["--handle", "alice.test", "--service-token", &hold.did];
    let printed = sign_in(&world, &third, &arguments, true).await;
    let token = printed["service_token"].as_str().expect("a token");
    let answer = client()
        .post(format!("{}/xrpc/io.atcr.hold.requestCrew", hold.url))
        .bearer_auth(token)
        .json(&serde_json::json!({}))
        .send()
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap_or_default();
    assert_ne!(status, 401, "the hold takes the token: {text}");
}
