//! PDSes and holds that do not do what they should.

use std::time::Duration;

use atcr_server::HumanDuration;
use atcr_test_support::fakes::PdsFault;
use http::Method;

use crate::harness::{Answer, PASSWORD, TestAppView, sha256};

const APP: &str = "alice.test/app";

#[tokio::test]
async fn a_pds_that_is_down_is_named_and_a_retry_succeeds() {
    let mut appview = TestAppView::start().await;
    let image = appview.image("down");
    let token = appview.sailor("alice.test", &[APP]).await.token;
    let (get, put) = (
        format!("/v2/{APP}/manifests/v1"),
        format!("/v2/{APP}/manifests/v2"),
    );
    let push = Answer::of(
        appview
            .request(Method::PUT, &get)
            .bearer_auth(&token)
            .body(image.bytes().clone()),
    );
    push.await.assert_status(201);

    let host = appview.pds.url().replace("http://", "");
    appview.pds.stop().await;
    let tags = Answer::of(appview.get(&format!("/v2/{APP}/tags/list")).bearer_auth(&token)).await;
    tags.assert_error(502, "UNAVAILABLE");
    assert!(tags.message().contains(&host), "{}", tags.message());
    let push = Answer::of(
        appview
            .request(Method::PUT, &put)
            .bearer_auth(&token)
            .body(image.bytes().clone()),
    );
    push.await.assert_error(502, "UNAVAILABLE");
    // A login that was never verified cannot be now.
    appview
        .token_response("bob.test", PASSWORD, &[])
        .await
        .assert_error(502, "UNAVAILABLE");

    appview.pds.resume().await.unwrap();
    Answer::of(appview.get(&format!("/v2/{APP}/tags/list")).bearer_auth(&token))
        .await
        .assert_status(200);
    let push = Answer::of(
        appview
            .request(Method::PUT, &put)
            .bearer_auth(&token)
            .body(image.bytes().clone()),
    );
    push.await.assert_status(201);
    appview
        .token_response("bob.test", PASSWORD, &[])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_pds_that_is_silent_is_waited_for_no_longer_than_configured() {
    let appview = TestAppView::start_with(|config| {
        config.upstream.pds_timeout = HumanDuration(Duration::from_millis(200));
    })
    .await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    appview
        .pds
        .set_fault("com.atproto.sync.getLatestCommit", Some(PdsFault::Silence));
    let answer = alice.get(&format!("/v2/{APP}/tags/list")).await;
    answer.assert_error(504, "UNAVAILABLE");
    assert!(answer.message().contains("in time"), "{}", answer.message());
}

#[tokio::test]
async fn a_pds_that_limits_us_limits_the_client() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("limited");
    for method in [
        "com.atproto.repo.applyWrites",
        "com.atproto.repo.uploadBlob",
        "com.atproto.repo.getRecord",
    ] {
        appview.pds.set_fault(method, Some(PdsFault::RateLimited(17)));
        let answer = alice.try_push(APP, "v1", &image).await;
        answer.assert_error(429, "TOOMANYREQUESTS");
        assert_eq!(answer.header("retry-after"), "17", "{method}");
        appview.pds.set_fault(method, None);
    }
    appview.pds.set_fault(
        "com.atproto.server.createSession",
        Some(PdsFault::RateLimited(17)),
    );
    let answer = appview.token_response("bob.test", PASSWORD, &[]).await;
    answer.assert_error(429, "TOOMANYREQUESTS");
    assert_eq!(answer.header("retry-after"), "17");
    appview.pds.set_fault("com.atproto.server.createSession", None);
    appview
        .token_response("bob.test", PASSWORD, &[])
        .await
        .assert_status(200);
    alice.push(APP, "v1", &image).await;
}

#[tokio::test]
async fn a_directory_that_is_down_is_no_reason_to_call_a_name_unknown() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .set_fault("plc", Some(PdsFault::Status(503, "Unavailable")));
    let scope = [("scope", "repository:bob.test/app:pull")];
    let token = Answer::of(appview.get("/auth/token").query(&scope)).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = || Answer::of(appview.get("/v2/bob.test/app/tags/list").bearer_auth(&token));
    ask().await.assert_error(502, "UNAVAILABLE");
    appview.pds.set_fault("plc", None);
    ask().await.assert_error(404, "NAME_UNKNOWN");
    let unknown = [("scope", "repository:nobody.test/app:pull")];
    let token = Answer::of(appview.get("/auth/token").query(&unknown))
        .await
        .json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let answer = Answer::of(appview.get("/v2/nobody.test/app/tags/list").bearer_auth(&token)).await;
    answer.assert_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn a_hold_that_is_down_is_named_and_manifests_can_still_be_read() {
    let mut appview = TestAppView::start().await;
    let image = appview.image("hold");
    let token = appview.sailor("alice.test", &[APP]).await.token;
    let path = format!("/v2/{APP}/manifests/v1");
    let push = || {
        let request = appview.request(Method::PUT, &path).bearer_auth(&token);
        Answer::of(request.body(image.bytes().clone()))
    };
    push().await.assert_status(201);
    appview
        .hold
        .office()
        .notice("push", sha256(&image).as_str())
        .await;
    let did = appview.hold.did();
    appview.hold.stop().await;
    let other = appview.image("other");
    let request = appview
        .request(Method::PUT, &path)
        .bearer_auth(&token)
        .body(other.bytes().clone());
    let answer = Answer::of(request).await;
    answer.assert_error(502, "UNAVAILABLE");
    assert!(answer.message().contains(&did), "{}", answer.message());
    Answer::of(appview.get(&path).bearer_auth(&token))
        .await
        .assert_status(200);
    appview.hold.resume().await.unwrap();
    let request = appview
        .request(Method::PUT, &path)
        .bearer_auth(&token)
        .body(other.bytes().clone());
    Answer::of(request).await.assert_status(201);
}
