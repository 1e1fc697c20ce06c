//! Alive and ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use atcr_server::Shutdown;
use atcr_server::disk_space::{DataFolder, DiskSpace};
use atcr_server::health::{Figures, Part, Readiness, Reason, operator_routes, ready};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

#[derive(Debug, Default)]
struct Counted {
    asked: AtomicU32,
    fails: AtomicBool,
}

#[derive(Debug)]
struct CountedPart(Arc<Counted>);

#[async_trait]
impl Part for CountedPart {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.0.fails.load(Ordering::SeqCst) {
            return Err("secret-host:9000 refused the connection".into());
        }
        Ok(Figures::from([("lag_seconds", 3)]))
    }
}

fn readiness(part: &Arc<Counted>, shutdown: &Shutdown, fresh_for: Duration) -> Readiness {
    Readiness::new(
        vec![Box::new(CountedPart(Arc::clone(part)))],
        shutdown.clone(),
        fresh_for,
    )
}

async fn ask(router: &Router) -> (StatusCode, String) {
    let request = Request::get("/readyz").body(Body::empty()).expect("a request");
    let answer = router.clone().oneshot(request).await.expect("an answer");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn public(readiness: Readiness) -> Router {
    Router::new().route("/readyz", get(ready)).with_state(readiness)
}

#[tokio::test]
async fn d11_a_hundred_probes_ask_the_store_once() {
    let part = Arc::new(Counted::default());
    let router = public(readiness(&part, &Shutdown::new(), Duration::from_hours(1)));
    let probes = (0..100).map(|_| ask(&router));
    for (status, body) in futures_util::future::join_all(probes).await {
        assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"status":"ok"}"#));
    }
    assert_eq!(part.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_longer_fresh_is_asked_for_again() {
    let part = Arc::new(Counted::default());
    let router = public(readiness(&part, &Shutdown::new(), Duration::ZERO));
    assert_eq!(ask(&router).await.0, StatusCode::OK);
    part.fails.store(true, Ordering::SeqCst);
    assert_eq!(ask(&router).await.0, StatusCode::SERVICE_UNAVAILABLE);
    part.fails.store(false, Ordering::SeqCst);
    assert_eq!(ask(&router).await.0, StatusCode::OK);
}

#[tokio::test]
async fn which_part_fails_and_why_is_told_to_the_operator_only() {
    let part = Arc::new(Counted::default());
    let works = readiness(&part, &Shutdown::new(), Duration::from_hours(1));
    let (_, body) = ask(&operator_routes(works)).await;
    assert_eq!(
        body,
        r#"{"status":"ok","parts":{"store":{"status":"ok","lag_seconds":3}}}"#
    );
    part.fails.store(true, Ordering::SeqCst);
    let readiness = readiness(&part, &Shutdown::new(), Duration::from_hours(1));
    let (_, body) = ask(&public(readiness.clone())).await;
    assert_eq!(body, r#"{"status":"unready"}"#);
    let (status, body) = ask(&operator_routes(readiness)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let reason = "secret-host:9000 refused the connection";
    assert_eq!(
        body,
        format!(r#"{{"status":"unready","parts":{{"store":{{"status":"failed","reason":"{reason}"}}}}}}"#)
    );
}

#[tokio::test]
async fn a_disk_with_too_little_room_is_not_ready_before_a_write_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let ask_for = |floor_bytes, path| {
        let folders = vec![DataFolder { name: "data", path }];
        let part = DiskSpace::new(folders, floor_bytes);
        operator_routes(Readiness::new(
            vec![Box::new(part)],
            Shutdown::new(),
            Duration::ZERO,
        ))
    };
    // The folder is made later.
    let path = folder.path().join("a/b");
    let (status, body) = ask(&ask_for(1, path.clone())).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert!(answer["parts"]["disk"]["data"].as_u64() > Some(0), "{body}");

    let (status, body) = ask(&ask_for(u64::MAX, path.clone())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    for part in [
        path.to_str().expect("UTF-8"),
        "server.free_disk_bytes",
        "bytes left",
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready() {
    let part = Arc::new(Counted::default());
    let shutdown = Shutdown::new();
    let router = public(readiness(&part, &shutdown, Duration::from_hours(1)));
    assert_eq!(ask(&router).await.0, StatusCode::OK);
    shutdown.begin();
    let stopping = (
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"status":"stopping"}"#.to_owned(),
    );
    assert_eq!(ask(&router).await, stopping);
}
