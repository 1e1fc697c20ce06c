//! Snapshots of what clients and operators see: the routes, the bodies of refusals, configuration errors.
//!
//! What differs from run to run is replaced by a name in angle brackets. Accept a change with `cargo insta review`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use atcr_atproto::crypto::Curve;
use atcr_hold::config::HoldConfig;
use atcr_hold::routes::doors;
use atcr_server::{LoadOptions, load};
use insta::assert_snapshot;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Setup, TestHold};

/// Status, the headers that belong to a refusal, and the body.
async fn refusal(hold: &TestHold, what: &str, request: RequestBuilder) -> String {
    let answer = request
        .header("x-request-id", "id-of-this-1")
        .send()
        .await
        .expect("an answer");
    let mut shown = format!("{what}\n  {}\n", answer.status());
    for name in ["www-authenticate", "retry-after", "allow"] {
        if let Some(value) = answer.headers().get(name) {
            let _ = writeln!(shown, "  {name}: {}", value.to_str().expect("text"));
        }
    }
    let body = answer.text().await.expect("a body");
    let host = hold.settings.public_url.authority().to_owned();
    let body = body
        .replace(&host, "<host>")
        .replace(&host.replace(':', "%3A"), "<host>");
    let _ = writeln!(shown, "  {body}");
    shown
}

#[tokio::test]
async fn refusals() {
    let hold = TestHold::start(Setup::default()).await;
    let stranger = hold.identities.account("stranger", Curve::K256);
    let reader = hold.crew("reader", &["blob:read"]).await;
    let did = hold.did().to_string();
    let post = |nsid: &str, body: Value| hold.request(Method::POST, &format!("/xrpc/{nsid}")).json(&body);
    let get = |rest: &str| hold.get(&format!("/xrpc/{rest}"));
    let begin = "io.atcr.hold.initiateUpload";
    let digest = format!("sha256:{}", "0".repeat(64));
    let blob = format!("com.atproto.sync.getBlob?did={did}&cid={digest}");
    let upload = json!({ "digest": "temp-1" });
    let record = format!("com.atproto.repo.getRecord?repo={did}&collection=io.atcr.hold.crew&rkey=none");
    let requests = vec![
        ("an unknown method", get("io.atcr.hold.noSuchMethod")),
        ("a wrong verb", get(begin)),
        (
            "a body that is not JSON, without a token",
            post(begin, json!(null)).body("{"),
        ),
        ("a missing parameter", get("com.atproto.repo.getRecord")),
        ("a record that is not there", get(&record)),
        (
            "another account's repository",
            get("com.atproto.sync.getRepo?did=did:web:other.test"),
        ),
        ("a blob of a private hold, without a token", get(&blob)),
        ("an upload without a token", post(begin, upload.clone())),
        (
            "an upload with a token that is none",
            post(begin, upload.clone()).bearer_auth("no.good.token"),
        ),
        (
            "an upload of an account that is not crew",
            post(begin, upload.clone()).bearer_auth(hold.token_for(&stranger, begin)),
        ),
        (
            "an upload of crew that may only read",
            post(begin, upload).bearer_auth(hold.token_for(&reader, begin)),
        ),
    ];
    let mut shown = String::new();
    for (what, request) in requests {
        shown += &refusal(&hold, what, request).await;
    }
    assert_snapshot!("refusals", shown);
    hold.stop().await;
}

/// Every route, each with the verbs that it answers as a client learns them, and for whom a method is.
#[tokio::test]
async fn routes() {
    let hold = TestHold::start(Setup::default()).await;
    let methods = doors().map(|(nsid, door)| (format!("/xrpc/{nsid}"), door.to_string()));
    let mut table: BTreeMap<String, String> = methods.collect();
    let source = include_str!("../../src/routes.rs");
    for rest in source.split(".route(\"").skip(1) {
        let path = rest.split('"').next().unwrap_or_default();
        let answer = hold.request(Method::TRACE, path).send().await.expect("an answer");
        let prefix = if answer.status() == 404 {
            "/.well-known"
        } else {
            ""
        };
        table.insert(format!("{prefix}{path}"), String::new());
    }
    for rest in include_str!("../../src/edge/pages/mod.rs")
        .split(".route(")
        .skip(1)
    {
        let path = rest.split('"').nth(1).unwrap_or_default();
        let door = match path {
            path if path.starts_with("/admin/auth/") => "browsers",
            path if path.starts_with("/admin") => "the captain's browser",
            _ => "",
        };
        table.insert(path.to_owned(), door.to_owned());
    }
    for path in ["/store/parts/{upload}/{part}", "/store/blobs/{*key}"] {
        table.insert(path.to_owned(), "holders of a signed URL".to_owned());
    }
    let mut shown = String::new();
    for (path, door) in table {
        let concrete = path.replace(['{', '}', '*'], "");
        let answer = hold
            .request(Method::TRACE, &concrete)
            .send()
            .await
            .expect("an answer");
        let allowed = answer
            .headers()
            .get("allow")
            .map(|verbs| verbs.to_str().expect("text").to_owned());
        let verbs = allowed.unwrap_or_else(|| answer.status().to_string());
        let _ = writeln!(shown, "{}", format!("{path:<52} {verbs:<10} {door}").trim_end());
    }
    assert_snapshot!("routes", shown);
    hold.stop().await;
}

#[test]
fn configuration_errors() {
    let environment: BTreeMap<String, String> = [
        ("HOLD_SERVER_ADDR", "nowhere"),
        ("HOLD_SERVER_PUBLIC_URL", "http://hold.example.com/path"),
        ("HOLD_SERVER_APPVIEW_DID", "appview"),
        ("HOLD_SERVER_METRICS_ADDR", "here"),
        ("HOLD_SERVER_TRUSTED_PROXIES", "10.0.0.0/40"),
        ("HOLD_SERVER_TEST_MODE", "maybe"),
        ("HOLD_SERVER_READ_TIMEOUT", "0s"),
        ("HOLD_SERVER_SHUTDOWN_GRACE", "soon"),
        ("HOLD_SERVER_FREE_DISK_BYTES", "much"),
        ("HOLD_LIMITS_ANONYMOUS", "many"),
        ("HOLD_LIMITS_REPO_EXPORTS", "0"),
        ("HOLD_REGISTRATION_OWNER_DID", "alice.test"),
        ("HOLD_STORAGE_DRIVER", "s3"),
        ("HOLD_STORAGE_ENDPOINT", "s3.example.com"),
        ("HOLD_DATABASE_PATH", ""),
        ("HOLD_LOG_LEVEL", "verbose"),
        ("HOLD_LOG_FORMAT", "xml"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let options = LoadOptions {
        environment,
        ..LoadOptions::default()
    };
    let error = load::<HoldConfig>(&options).expect_err("all wrong");
    assert_snapshot!("configuration_errors", error.to_string());
}
