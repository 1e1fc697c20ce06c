//! What every caller meets: identity documents, health, CORS, request ids, refusals in XRPC's form.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::{Answer, Setup, TestHold};

#[tokio::test]
async fn the_hold_says_who_it_is() {
    let hold = TestHold::start(Setup::default()).await;
    let did = hold.did().clone();
    let document = Answer::of(hold.get("/.well-known/did.json")).await.ok();
    assert_eq!(document["id"], did.as_str());
    assert_eq!(document["service"][1]["type"], "AtcrHoldService");
    let text = Answer::of(hold.get("/.well-known/atproto-did")).await.ok();
    assert_eq!(text, Value::String(did.to_string()));
    let landing = Answer::of(hold.get("/")).await.ok();
    let landing = landing.as_str().expect("text");
    assert!(landing.contains(did.as_str()));
    assert!(
        landing.contains("manifests") && landing.contains("public"),
        "what a private hold shows: {landing}"
    );
    assert_eq!(Answer::of(hold.get("/robots.txt")).await.status, 200);
    hold.stop().await;
}

#[tokio::test]
async fn it_is_ready_while_every_part_works_and_live_regardless() {
    let hold = TestHold::start(Setup::default()).await;
    assert_eq!(Answer::of(hold.get("/livez")).await.status, 200);
    let ready = Answer::of(hold.get("/readyz")).await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.body, json!({ "status": "ok" }));
    assert!(hold.query("_health").await.ok()["version"].is_string());

    // An answer is good for some seconds; a hold that has just started has none.
    let hold = hold.restart(|_| ()).await;
    std::fs::rename(hold.data_dir().join("objects"), hold.data_dir().join("elsewhere")).expect("renamed");
    let ready = Answer::of(hold.get("/readyz")).await;
    assert_eq!(
        (ready.status.as_u16(), &ready.body["status"]),
        (503, &json!("unready"))
    );
    assert_eq!(Answer::of(hold.get("/livez")).await.status, 200);
    // The operator, on the metrics listener, is told which.
    let request = Request::get("/readyz").body(Body::empty()).expect("a request");
    let told = hold
        .hold
        .operator_routes()
        .oneshot(request)
        .await
        .expect("an answer");
    let told = told.into_body().collect().await.expect("a body").to_bytes();
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    let status = |part: &str| told["parts"][part]["status"].clone();
    assert_eq!(
        ["database", "repository", "store", "disk"].map(status),
        ["ok", "ok", "failed", "ok"]
    );
    assert_eq!(told["parts"]["repository"]["index_lag_batches"], 0);
    assert_eq!(told["parts"]["backup"]["is_configured"], 0);
    assert!(told["parts"]["store"]["reason"].is_string(), "{told}");
    for folder in ["data", "objects"] {
        assert!(told["parts"]["disk"][folder].as_u64() > Some(0), "{told}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn refusals_have_the_form_of_xrpc() {
    let hold = TestHold::start(Setup::default()).await;
    let unknown = hold.query("io.atcr.hold.noSuchMethod").await;
    assert_eq!(unknown.error(), (501, "MethodNotImplemented"));
    assert!(unknown.body["requestId"].is_string(), "{unknown:?}");
    let upload_part = Answer::of(hold.request(Method::PUT, "/xrpc/io.atcr.hold.uploadPart")).await;
    assert_eq!(upload_part.error(), (501, "MethodNotImplemented"));
    let verb = hold.query("io.atcr.hold.initiateUpload").await;
    assert_eq!(verb.error(), (405, "InvalidRequest"));
    let post = |body: Vec<u8>| {
        hold.request(Method::POST, "/xrpc/io.atcr.hold.initiateUpload")
            .bearer_auth(hold.token(&hold.captain))
            .body(body)
    };
    let rubbish = Answer::of(post(b"{not json".to_vec())).await;
    assert_eq!(rubbish.error(), (400, "InvalidRequest"));
    let deep = Answer::of(post(format!("{{\"digest\":{}", "[".repeat(500_000)).into_bytes())).await;
    assert_eq!(deep.error(), (400, "InvalidRequest"));
    let huge = Answer::of(post(vec![b' '; 2 * 1024 * 1024])).await;
    assert_eq!(huge.error(), (413, "PayloadTooLarge"));
    // Nothing is read of a stranger's body.
    let request = hold
        .request(Method::POST, "/xrpc/io.atcr.hold.initiateUpload")
        .body("{not json");
    assert_eq!(Answer::of(request).await.error(), (401, "AuthRequired"));
    hold.stop().await;
}

#[tokio::test]
async fn a_page_of_any_origin_may_call() {
    let hold = TestHold::start(Setup::default()).await;
    for path in ["/xrpc/io.atcr.hold.requestCrew", "/.well-known/did.json"] {
        let preflight = hold
            .request(Method::OPTIONS, path)
            .header("origin", "https://example.com")
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,dpop,x-upload-id,x-part-number",
            )
            .send()
            .await
            .expect("an answer");
        assert_eq!(preflight.status(), StatusCode::OK);
        assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
        let allowed = preflight.headers()["access-control-allow-headers"]
            .to_str()
            .expect("text")
            .to_owned();
        for header in ["authorization", "dpop", "x-upload-id", "x-part-number"] {
            assert!(allowed.contains(header), "{header} in {allowed}");
        }
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_page_of_another_origin_reads_nothing_but_xrpc_and_who_the_hold_is() {
    let hold = TestHold::start(Setup::default()).await;
    let digest = hold.put_blob(&hold.captain, b"bytes").await;
    let blob = format!("com.atproto.sync.getBlob?cid={digest}&method=GET");
    let request = hold.get(&format!("/xrpc/{blob}"));
    let url = Answer::of(request.bearer_auth(hold.token(&hold.captain)))
        .await
        .ok();
    let url: reqwest::Url = url["url"].as_str().expect("a URL").parse().expect("a URL");
    let stored = &url[url::Position::BeforePath..];
    for path in ["/", "/livez", "/readyz", "/robots.txt", "/nowhere", stored] {
        let answer = hold
            .get(path)
            .header("origin", "https://example.com")
            .send()
            .await
            .expect("an answer");
        assert!(
            !answer.headers().contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
    hold.stop().await;
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_takes_over_a_harmless_one() {
    let hold = TestHold::start(Setup::default()).await;
    let id_of = async |sent: Option<&str>| {
        let mut request = hold.get("/livez");
        if let Some(id) = sent {
            request = request.header("x-request-id", id);
        }
        let response = request.send().await.expect("an answer");
        response.headers()["x-request-id"]
            .to_str()
            .expect("text")
            .to_owned()
    };
    assert_eq!(id_of(Some("appview-42")).await, "appview-42");
    let own = id_of(None).await;
    assert_eq!(own.len(), 32);
    assert_ne!(id_of(Some("no spaces, please")).await, "no spaces, please");
    assert_eq!(id_of(Some(&"x".repeat(65))).await.len(), 32);
    hold.stop().await;
}

#[tokio::test]
async fn a_failure_of_the_hold_tells_its_request_id_and_no_more() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    hold.hold.repo().close().await;
    let response = hold
        .request(Method::POST, "/xrpc/io.atcr.hold.notifyManifest")
        .bearer_auth(hold.token(&hold.captain))
        .header("x-request-id", "trace-me")
        .json(&json!({
            "repository": "app", "userDid": hold.captain.did, "manifest": {},
            "manifestDigest": format!("sha256:{:064}", 0),
        }))
        .send()
        .await
        .expect("an answer");
    assert!(response.status().is_server_error());
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["requestId"], "trace-me");
    let message = body["message"].as_str().expect("a message");
    assert!(message.contains("trace-me"), "{message}");
    assert!(!message.contains("repo") && !message.contains('/'), "{message}");
    hold.stop().await;
}
