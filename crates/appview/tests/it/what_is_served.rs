//! Snapshots of what clients and people see: pages, error bodies of every dialect, the routes, configuration errors.
//!
//! What differs from run to run is replaced by a name in angle brackets. Accept a change with `cargo insta review`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use atcr_appview::config::AppViewConfig;
use atcr_server::{LoadOptions, load};
use chrono::TimeDelta;
use http::Method;
use insta::assert_snapshot;
use serde_json::json;

use crate::browser::{Browser, device_request, wait_for_approval};
use crate::harness::{Answer, PASSWORD, TestAppView};

/// `text` without what differs from run to run: the port, hashes in the addresses of assets, tokens, and request ids.
fn redacted(appview: &TestAppView, text: &str) -> String {
    let host = appview.url.trim_start_matches("http://");
    let port = host.rsplit(':').next().unwrap_or_default();
    let mut text = text
        .replace(host, "<host>")
        .replace(&format!("127.0.0.1%3A{port}"), "<host>");
    for (before, until, name) in [
        ("/static/", "/", "<hash>"),
        ("name=\"csrf_token\" value=\"", "\"", "<csrf>"),
        ("\"request_id\":\"", "\"", "<request>"),
        ("\"requestId\":\"", "\"", "<request>"),
        ("Request <code>", "</code>", "<request>"),
    ] {
        text = replaced(&text, before, until, name);
    }
    text
}

/// `text` with everything between `before` and the next `until` replaced by `name`.
fn replaced(text: &str, before: &str, until: &str, name: &str) -> String {
    let mut parts = text.split(before);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.find(until).map_or("", |end| &part[end..]);
        whole.push_str(before);
        whole.push_str(name);
        whole.push_str(rest);
    }
    whole
}

/// A page without the layout around it, which is in the snapshot of the home page.
fn main_of(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("<main ").unwrap_or_default();
    let (main, _) = rest.split_once("</main>").unwrap_or_default();
    format!("{}\n<main {main}</main>\n", page.status)
}

#[tokio::test]
async fn public_pages() {
    let appview = TestAppView::start().await;
    let visitor = Browser::new(&appview);
    let home = visitor.get("/").await;
    assert_snapshot!("page_home_whole", redacted(&appview, &home.text()));
    for (name, path) in [
        ("install", "/install"),
        ("sign_in", "/auth/oauth/login"),
        ("sign_in_for_a_device", "/auth/oauth/login?return_to=%2Fdevice"),
        ("not_found", "/nothing/here"),
        ("callback_of_no_sign_in", "/auth/oauth/callback?state=x&code=y"),
    ] {
        let page = visitor.get(path).await;
        assert_snapshot!(format!("page_{name}"), redacted(&appview, &main_of(&page)));
    }
    let form = [("handle", "nobody.test"), ("return_to", "/")];
    let refused = visitor.post("/auth/oauth/login", &form).await;
    assert_snapshot!(
        "page_sign_in_unknown_handle",
        redacted(&appview, &main_of(&refused))
    );
}

#[tokio::test]
async fn pages_of_an_account() {
    let appview = TestAppView::start().await;
    let alice = Browser::alice(&appview).await;
    let shown = |page: &Answer| redacted(&appview, &main_of(page));
    assert_snapshot!(
        "page_settings_without_devices",
        shown(&alice.get("/settings").await)
    );
    assert_snapshot!("page_device_code", shown(&alice.get("/device").await));
    assert_snapshot!(
        "page_device_code_malformed",
        shown(&alice.get("/device?user_code=12").await)
    );
    assert_snapshot!(
        "page_device_code_unknown",
        shown(&alice.get("/device?user_code=BCDF-1234").await)
    );
    let waiting = wait_for_approval(&appview, "laptop <of> alice").await;
    let path = format!("/device?user_code={}", waiting.user_code);
    let asks = timeless(&shown(&alice.get(&path).await)).replace(&waiting.user_code, "<code>");
    assert_snapshot!("page_device_approval", asks);
    assert_snapshot!("page_device_approved", shown(&alice.approve(&waiting).await));
    let _ = device_request(&appview, "token", json!({ "device_code": waiting.device_code })).await;
    let ids = alice.device_ids().await;
    let settings = timeless(&shown(&alice.get("/settings").await)).replace(&ids[0], "<device>");
    assert_snapshot!("page_settings_with_a_device", settings);
    let denied = wait_for_approval(&appview, "laptop").await;
    let form = [("user_code", denied.user_code.as_str()), ("approve", "false")];
    assert_snapshot!(
        "page_device_denied",
        shown(&alice.submit("/device/approve", &form).await)
    );
    let other_site = alice.post("/settings/sign-out-everywhere", &[]).await;
    assert_snapshot!("page_form_from_elsewhere", shown(&other_site));
    let everywhere = alice.submit("/settings/sign-out-everywhere", &[]).await;
    assert_snapshot!("page_signed_out_everywhere", shown(&everywhere));
    let alice = Browser::alice(&appview).await;
    assert_snapshot!("page_signed_out", shown(&alice.submit("/auth/logout", &[]).await));
}

/// Times as pages show them differ from run to run.
fn timeless(text: &str) -> String {
    let text = replaced(text, "datetime=\"", "\"", "<time>");
    let text = replaced(&text, " title=\"", "\"", "<time>");
    replaced(&text, "<span class=\"muted\">(", ")", "<time>")
}

/// Status, the headers that belong to an error, and the body.
fn error_of(appview: &TestAppView, what: &str, answer: &Answer) -> String {
    let mut shown = format!("{what}\n{}\n", answer.status);
    for name in [
        "www-authenticate",
        "allow",
        "retry-after",
        "cache-control",
        "content-type",
    ] {
        if answer.has_header(name) {
            let _ = writeln!(shown, "{name}: {}", answer.header(name));
        }
    }
    let _ = writeln!(shown, "\n{}\n", answer.text());
    redacted(appview, &shown)
}

#[tokio::test]
async fn error_bodies_of_the_registry() {
    let appview = TestAppView::start().await;
    let app = "alice.test/app";
    let alice = appview.sailor("alice.test", &[app]).await;
    let bob = appview.sailor("bob.test", &["bob.test/app"]).await;
    let absent = format!("sha256:{}", "0".repeat(64));
    let mut shown = String::new();
    let mut show = |what: &str, answer: &Answer| shown.push_str(&error_of(&appview, what, answer));
    for (method, path) in [
        (Method::GET, "/v2/".to_owned()),
        (Method::GET, format!("/v2/{app}/tags/list")),
        (Method::PUT, format!("/v2/{app}/manifests/v1")),
        (Method::GET, format!("/v2/{app}/nothing")),
        (Method::POST, format!("/v2/{app}/manifests/v1")),
        (Method::GET, "/v2/alice.test/APP/tags/list".to_owned()),
        (Method::GET, "/v2/app/tags/list".to_owned()),
    ] {
        let answer = Answer::of(appview.request(method.clone(), &path)).await;
        show(&format!("{method} {path}, anonymous"), &answer);
    }
    for path in [
        format!("/v2/{app}/manifests/v1"),
        format!("/v2/{app}/manifests/{absent}"),
        format!("/v2/{app}/blobs/{absent}"),
        format!("/v2/{app}/tags/list?n=x"),
        "/v2/nobody.test/app/tags/list".to_owned(),
    ] {
        show(&format!("GET {path}"), &alice.get(&path).await);
    }
    let denied = bob
        .request(Method::PUT, &format!("/v2/{app}/manifests/v1"))
        .body("{}");
    show("PUT to another account", &Answer::of(denied).await);
    let invalid = alice
        .request(Method::PUT, &format!("/v2/{app}/manifests/v1"))
        .body("{}");
    show("PUT of no manifest", &Answer::of(invalid).await);
    let scope = format!("repository:{app}:push");
    show(
        "GET /auth/token for another account",
        &appview.token_response("bob.test", PASSWORD, &[&scope]).await,
    );
    show(
        "GET /auth/token with a wrong password",
        &appview.token_response("alice.test", "wrong", &[]).await,
    );
    show(
        "GET /auth/token with a malformed scope",
        &appview.token_response("alice.test", PASSWORD, &["x"]).await,
    );
    let grant = appview
        .request(Method::POST, "/auth/token")
        .form(&[("grant_type", "client_credentials")]);
    show("POST /auth/token of an unknown grant", &Answer::of(grant).await);
    assert_snapshot!("errors_registry", shown);
}

#[tokio::test]
async fn error_bodies_of_the_device_flow_and_of_json_endpoints() {
    let appview = TestAppView::start().await;
    let mut shown = String::new();
    let mut show = |what: &str, answer: &Answer| shown.push_str(&error_of(&appview, what, answer));
    let waiting = wait_for_approval(&appview, "laptop").await;
    let poll = |code: &str| json!({ "device_code": code });
    show(
        "a device that waits",
        &device_request(&appview, "token", poll(&waiting.device_code)).await,
    );
    show(
        "a device that polls too fast",
        &device_request(&appview, "token", poll(&waiting.device_code)).await,
    );
    show(
        "an unknown device code",
        &device_request(&appview, "token", poll("unknown")).await,
    );
    show(
        "a malformed body",
        &device_request(&appview, "token", json!([])).await,
    );
    show("an unknown address", &Answer::of(appview.get("/nothing")).await);
    show(
        "devices of no one",
        &Answer::of(appview.get("/api/devices")).await,
    );
    show(
        "no release of the helper",
        &Answer::of(appview.get("/api/credential-helper/version")).await,
    );
    appview.clock.advance(TimeDelta::minutes(11));
    show(
        "an expired device code",
        &device_request(&appview, "token", poll(&waiting.device_code)).await,
    );
    assert_snapshot!("errors_json", shown);
}

/// The routes of the source, each with the methods that it answers, as a client learns them.
#[tokio::test]
async fn routes() {
    let appview = TestAppView::start().await;
    let source = include_str!("../../src/routes.rs");
    let mut table = BTreeMap::new();
    for rest in source.split(".route(").skip(1) {
        let path = rest.split('"').nth(1).unwrap_or_default();
        let concrete = path
            .replace("{*rest}", "alice.test/app/tags/list")
            .replace(['{', '}'], "");
        let answer = Answer::of(appview.request(Method::TRACE, &concrete)).await;
        let methods = if answer.has_header("allow") {
            answer.header("allow").to_owned()
        } else {
            format!("any ({} to TRACE)", answer.status.as_u16())
        };
        table.insert(path.to_owned(), methods);
    }
    let mut shown = String::new();
    for (path, methods) in table {
        let _ = writeln!(shown, "{path:<40} {methods}");
    }
    assert_snapshot!("routes", shown);
}

#[test]
fn configuration_errors() {
    let environment: BTreeMap<String, String> = [
        ("ATCR_SERVER_ADDR", "nowhere"),
        ("ATCR_SERVER_BASE_URL", "https://atcr.example/registry"),
        ("ATCR_SERVER_DEFAULT_HOLD_DID", "hold.example.com"),
        ("ATCR_SERVER_PLC_DIRECTORY_URL", "plc"),
        ("ATCR_SERVER_METRICS_ADDR", "here"),
        ("ATCR_SERVER_TRUSTED_PROXIES", "10.0.0.0/40"),
        ("ATCR_SERVER_DATA_DIR", ""),
        ("ATCR_SERVER_TEST_MODE", "maybe"),
        ("ATCR_OAUTH_LOGO_URL", "ftp://example.com/logo.png"),
        ("ATCR_OAUTH_PERMISSION_SET", "full"),
        ("ATCR_UPSTREAM_PDS_TIMEOUT", "0s"),
        ("ATCR_UPSTREAM_HOLD_TIMEOUT", "soon"),
        ("ATCR_REGISTRY_LISTED_RECORDS", "0"),
        ("ATCR_REGISTRY_LISTED_BYTES", "many"),
        ("ATCR_CREDENTIAL_HELPER_SIGNING_KEY", "did:key:z0"),
        ("ATCR_LOG_FORMAT", "xml"),
        ("ATCR_LOG_LEVEL", "verbose"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let options = LoadOptions {
        environment,
        ..LoadOptions::default()
    };
    let error = load::<AppViewConfig>(&options).unwrap_err();
    assert_snapshot!("configuration_errors", error.to_string());
}
