//! The id of a request and its line in the log.

use std::io;
use std::time::Duration;

use atcr_server::port_call::{Outcome, PortCall};
use atcr_server::request_log::{self, RequestId, RoutePattern};
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::{any, get};
use axum::{Router, middleware};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::captured_log::CapturedLog;

const SESSION: &str = "3f0c8a51-secret-session";

fn router() -> Router {
    let own_pattern = async || {
        let mut response = Response::new(Body::empty());
        response
            .extensions_mut()
            .insert(RoutePattern("/v2/{name}/blobs/uploads/{session}"));
        response
    };
    Router::new()
        .route(
            "/id",
            get(async || RequestId::current().map(|id| id.to_string()).unwrap_or_default()),
        )
        .route("/uploads/{session}", get(async || "x"))
        .route("/v2/{*rest}", any(own_pattern))
        .layer(middleware::from_fn(request_log::layer))
}

async fn send(request: Request<Body>) -> (Option<String>, String) {
    let answer = router().oneshot(request).await.expect("an answer");
    let id = answer.headers().get(request_log::X_REQUEST_ID);
    let id = id.map(|id| id.to_str().expect("text").to_owned());
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (id, String::from_utf8_lossy(&body).into_owned())
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn the_id_in_an_answers_body_is_the_one_in_its_header_and_in_the_log() {
    let log = CapturedLog::start();
    let (header, body) = send(get_request("/id")).await;
    assert_eq!(header.as_deref(), Some(body.as_str()));
    assert_eq!(log.lines_with(&body).len(), 1, "{}", log.text());
    assert!(RequestId::current().is_none());
}

#[tokio::test]
async fn a_clients_id_is_taken_over_if_it_is_harmless() {
    let with_id = |id: &str| {
        let request = Request::get("/id").header(request_log::X_REQUEST_ID, id);
        request.body(Body::empty()).expect("a request")
    };
    assert_eq!(send(with_id("abc-1_2.3")).await.1, "abc-1_2.3");
    for harmful in ["", "a b", "a\"b", &"x".repeat(65)] {
        let (_, id) = send(with_id(harmful)).await;
        assert_ne!(id, harmful);
        assert!(!id.is_empty());
    }
}

#[tokio::test]
async fn d14_no_line_has_the_path_of_an_upload_session() {
    let log = CapturedLog::start();
    for path in [
        format!("/uploads/{SESSION}"),
        format!("/v2/alice.test/app/blobs/uploads/{SESSION}?state={SESSION}"),
        format!("/elsewhere/{SESSION}"),
    ] {
        send(get_request(&path)).await;
    }
    assert!(!log.text().contains(SESSION), "{}", log.text());
    for route in [
        "/uploads/{session}",
        "/v2/{name}/blobs/uploads/{session}",
        "unmatched",
    ] {
        assert_eq!(
            log.lines_with(&format!("route=\"{route}\"")).len(),
            1,
            "{}",
            log.text()
        );
    }
}

#[tokio::test]
async fn a_call_that_failed_is_one_line_that_says_everything() {
    let log = CapturedLog::start();
    let failed = PortCall::new("pds", "put_record")
        .peer("pds.example")
        .run(async { Err::<(), _>(io::Error::other("it is down")) })
        .await;
    assert!(failed.is_err());
    let lines = log.lines_with("call failed");
    assert_eq!(lines.len(), 1, "{}", log.text());
    for part in [
        "WARN",
        "port=\"pds\"",
        "operation=\"put_record\"",
        "peer.host=\"pds.example\"",
        "duration_ms=",
        "outcome=\"failed\"",
        "it is down",
    ] {
        assert!(lines[0].contains(part), "{part} is not in {}", lines[0]);
    }
}

#[tokio::test]
async fn a_call_that_was_slow_is_a_line_and_one_that_went_well_is_not() {
    let log = CapturedLog::start();
    let call = PortCall::database("get_upload");
    let done: Result<_, io::Error> = call.clone().run(async { Ok(1) }).await;
    assert!(
        done.is_ok() && log.lines_with("WARN").is_empty(),
        "{}",
        log.text()
    );
    let done: Result<_, io::Error> = call.slow_after(Duration::ZERO).run(async { Ok(1) }).await;
    assert!(done.is_ok());
    assert_eq!(log.lines_with("call was slow").len(), 1, "{}", log.text());
}

#[tokio::test]
async fn a_refusal_that_was_expected_and_a_caller_that_left_are_no_warnings() {
    let log = CapturedLog::start();
    let refused = PortCall::new("pds", "get_record")
        .run_with(async { Err::<(), _>(io::Error::other("no such record")) }, |_| {
            Outcome::Refused
        })
        .await;
    assert!(refused.is_err());
    let left = PortCall::new("pds", "get_record").run(std::future::pending::<io::Result<()>>());
    assert!(futures_util::FutureExt::now_or_never(left).is_none());
    assert!(log.lines_with("WARN").is_empty(), "{}", log.text());
    assert_eq!(log.lines_with("outcome=\"refused\"").len(), 1);
    assert_eq!(log.lines_with("outcome=\"dropped\"").len(), 1);
}
