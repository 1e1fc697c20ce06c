use atcr_server::request_log;
use axum::Router;
use axum::body::Body;
use axum::middleware;
use axum::routing::get;
use http::Request as HttpRequest;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use url::Url;

use super::*;

fn site() -> Arc<Site> {
    let url = Url::parse("https://registry.example").unwrap();
    Arc::new(Site {
        name: "Test".to_owned(),
        base_url: url.clone(),
        origin: url,
        terms_url: None,
        privacy_url: None,
        is_development: false,
        verify_flags: String::new(),
    })
}

async fn broken() -> &'static str {
    panic!("a secret of the handler")
}

/// Status, content type and body of the answer to `path`, whose handler panics.
async fn answer_to(path: &str, accept: &str) -> (StatusCode, String, String) {
    let router = Router::new()
        .route("/{*any}", get(broken))
        .layer(middleware::from_fn_with_state(site(), layer))
        .layer(middleware::from_fn(request_log::layer));
    let request = HttpRequest::get(path)
        .header("accept", accept)
        .header("x-request-id", "id-of-this-1")
        .body(Body::empty())
        .unwrap();
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "id-of-this-1");
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(!body.contains("secret"), "{body}");
    (status, content_type, body)
}

#[tokio::test]
async fn a_container_client_gets_an_oci_error_with_the_requests_id() {
    for path in ["/v2/alice.test/app/tags/list", "/v2/", "/auth/token"] {
        let (status, _, body) = answer_to(path, "*/*").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["errors"][0]["code"], "UNKNOWN", "{path}");
        assert_eq!(body["errors"][0]["detail"]["requestId"], "id-of-this-1", "{path}");
    }
}

#[tokio::test]
async fn a_person_gets_a_page_and_a_program_json_with_the_requests_id() {
    let (status, content_type, body) = answer_to("/settings?tab=1", "text/html,*/*").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(content_type.starts_with("text/html"), "{content_type}");
    assert!(body.contains("id-of-this-1"), "{body}");

    let (status, _, body) = answer_to("/api/devices", "application/json").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["error"], &body["requestId"]),
        (&"InternalError".into(), &"id-of-this-1".into())
    );
}
