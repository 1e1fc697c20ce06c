//! What a client may ask for before it is told to wait.

use atcr_atproto::crypto::Curve;
use atcr_hold::config::HoldConfig;
use atcr_server::Rate;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::{Answer, Setup, TestHold};

const TWO_A_MINUTE: &str = "2/1m";
const DESCRIBE: &str = "com.atproto.server.describeServer";

async fn limited(change: impl FnOnce(&mut HoldConfig)) -> TestHold {
    TestHold::start_with(Setup::default(), |config| {
        config.limits.exempt = Vec::new();
        change(config);
    })
    .await
}

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

#[tokio::test]
async fn d10_an_address_without_a_token_is_told_to_wait_after_too_many_requests() {
    let hold = limited(|config| config.limits.anonymous = rate(TWO_A_MINUTE)).await;
    for _ in 0..2 {
        hold.query(DESCRIBE).await.ok();
    }
    let refused = hold
        .get(&format!("/xrpc/{DESCRIBE}"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "30");
    assert_eq!(refused.headers()["access-control-allow-origin"], "*");
    let id = refused.headers()["x-request-id"]
        .to_str()
        .expect("text")
        .to_owned();
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!(
        (&body["error"], &body["requestId"]),
        (&json!("RateLimitExceeded"), &json!(id))
    );
    // Load balancers ask as often as they like, and accounts have a limit of their own.
    assert_eq!(Answer::of(hold.get("/livez")).await.status, 200);
    assert_eq!(Answer::of(hold.get("/readyz")).await.status, 200);
    hold.call("io.atcr.hold.requestCrew", Some(&hold.captain), &json!({}))
        .await
        .ok();
    hold.stop().await;
}

#[tokio::test]
async fn d10_tokens_that_are_no_good_count_as_no_token() {
    let hold = limited(|config| config.limits.anonymous = rate(TWO_A_MINUTE)).await;
    let request_crew = async || {
        let request = hold.request(reqwest::Method::POST, "/xrpc/io.atcr.hold.requestCrew");
        Answer::of(request.bearer_auth("not.a.token").json(&json!({})))
            .await
            .status
            .as_u16()
    };
    assert_eq!(
        [request_crew().await, request_crew().await, request_crew().await],
        [401, 401, 429]
    );
    hold.stop().await;
}

#[tokio::test]
async fn failed_tokens_are_counted_before_they_are_checked_and_leave_known_accounts_alone() {
    let hold = limited(|config| config.limits.failed_tokens = rate(TWO_A_MINUTE)).await;
    let begin = async |account| {
        let input = json!({ "digest": "uploads/temp-1" });
        hold.call("io.atcr.hold.initiateUpload", Some(account), &input)
            .await
    };
    let (known, new) = (
        hold.crew("known", &["blob:write"]).await,
        hold.crew("new", &["blob:write"]).await,
    );
    // What succeeds does not count.
    for _ in 0..4 {
        begin(&hold.captain).await.ok();
        begin(&known).await.ok();
    }
    // The key of one account, the name of another: its document is looked up, and again since keys rotate.
    let stranger = hold.identities.account("stranger", Curve::K256);
    let forged = hold
        .identities
        .account("forger", Curve::K256)
        .in_the_name_of(&stranger);
    let before = hold.identities.lookups();
    for _ in 0..2 {
        assert_eq!(begin(&forged).await.error().0, 401);
    }
    let asked = hold.identities.lookups();
    assert!(asked > before);
    assert_eq!(begin(&forged).await.error(), (429, "RateLimitExceeded"));
    assert_eq!(hold.identities.lookups(), asked, "nothing was looked up");
    assert_eq!(begin(&new).await.error(), (429, "RateLimitExceeded"));
    begin(&known).await.ok();
    begin(&hold.captain).await.ok();
    hold.stop().await;
}

#[tokio::test]
async fn d10_a_header_that_no_method_looks_at_does_not_lift_the_limit() {
    let hold = limited(|config| config.limits.anonymous = rate(TWO_A_MINUTE)).await;
    let describe = async || {
        let request = hold.get(&format!("/xrpc/{DESCRIBE}"));
        Answer::of(request.header("authorization", "x"))
            .await
            .status
            .as_u16()
    };
    assert_eq!(
        [describe().await, describe().await, describe().await],
        [200, 200, 429]
    );
    hold.stop().await;
}

#[tokio::test]
async fn d10_an_account_is_told_to_wait_and_other_accounts_are_not() {
    let hold = limited(|config| config.limits.account = rate(TWO_A_MINUTE)).await;
    let other = hold.crew("other", &["blob:read", "blob:write"]).await;
    let begin = async |account| {
        let input = json!({ "digest": "uploads/temp-1" });
        hold.call("io.atcr.hold.initiateUpload", Some(account), &input)
            .await
    };
    begin(&hold.captain).await.ok();
    begin(&hold.captain).await.ok();
    assert_eq!(begin(&hold.captain).await.error(), (429, "RateLimitExceeded"));
    begin(&other).await.ok();
    hold.stop().await;
}

#[tokio::test]
async fn d10_exports_beyond_the_places_for_them_are_refused_until_one_ends() {
    let hold = limited(|config| config.limits.repo_exports = 1).await;
    let export = async || {
        let uri = format!("/xrpc/com.atproto.sync.getRepo?did={}", hold.did());
        let request = Request::get(uri).body(Body::empty()).expect("a request");
        hold.hold.router().oneshot(request).await.expect("an answer")
    };
    let first = export().await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = export().await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.headers()["retry-after"], "60");
    drop(first);
    assert_eq!(export().await.status(), StatusCode::OK);
    hold.stop().await;
}

#[tokio::test]
async fn exports_of_one_customer_leave_places_for_others() {
    let hold = limited(|config| config.limits.repo_exports_per_address = 1).await;
    let export = async |peer: &str| {
        let peer: std::net::SocketAddr = peer.parse().expect("an address");
        let uri = format!("/xrpc/com.atproto.sync.getRepo?did={}", hold.did());
        let mut request = Request::get(uri).body(Body::empty()).expect("a request");
        request.extensions_mut().insert(ConnectInfo(peer));
        hold.hold.router().oneshot(request).await.expect("an answer")
    };
    let first = export("[2001:db8:1:1::1]:1").await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = export("[2001:db8:1:2::1]:1").await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.headers()["retry-after"], "60");
    assert_eq!(export("192.0.2.1:1").await.status(), StatusCode::OK);
    drop(first);
    assert_eq!(export("[2001:db8:1:2::1]:1").await.status(), StatusCode::OK);
    hold.stop().await;
}

#[tokio::test]
async fn answers_with_blocks_have_places_until_they_are_taken() {
    let hold = limited(|_| ()).await;
    let cid = hold.hold.repo().latest_commit().cid;
    let ask = async |peer: &str| {
        let peer: std::net::SocketAddr = peer.parse().expect("an address");
        let uri = format!("/xrpc/com.atproto.sync.getBlocks?did={}&cids={cid}", hold.did());
        let mut request = Request::get(uri).body(Body::empty()).expect("a request");
        request.extensions_mut().insert(ConnectInfo(peer));
        hold.hold.router().oneshot(request).await.expect("an answer")
    };
    let mut answers = Vec::new();
    for _ in 0..4 {
        let answer = ask("192.0.2.1:1").await;
        assert_eq!(answer.status(), StatusCode::OK);
        answers.push(answer);
    }
    let refused = ask("192.0.2.1:1").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "60");
    assert_eq!(ask("198.51.100.1:1").await.status(), StatusCode::OK);
    let answer = answers.pop().expect("an answer");
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .expect("a body");
    assert!(!body.is_empty());
    assert_eq!(ask("192.0.2.1:1").await.status(), StatusCode::OK);
    hold.stop().await;
}

#[tokio::test]
async fn b6_an_address_has_so_many_connections_and_no_more() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let hold = limited(|config| config.limits.connections_per_address = 1).await;
    let connect = async || {
        let mut stream = tokio::net::TcpStream::connect(hold.settings.listen)
            .await
            .expect("a connection");
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("a request");
        stream
    };
    let mut answer = [0; 15];
    let mut first = connect().await;
    first.read_exact(&mut answer).await.expect("an answer");
    assert!(connect().await.read_exact(&mut answer).await.is_err());
    drop(first);
    hold.stop().await;
}
