//! From the code to the secret.

use atcr_test_support::fakes::PdsFault;
use chrono::TimeDelta;
use http::Method;
use serde_json::json;

use super::{APP, assert_flow_error};
use crate::browser::{Browser, device_request, poll, wait_for_approval};
use crate::harness::{Answer, TestAppView};

#[tokio::test]
async fn a_device_signs_in_pushes_and_is_listed() {
    let appview = TestAppView::start().await;
    let begun = device_request(&appview, "code", json!({ "device_name": "alice-laptop" })).await;
    begun.assert_status(200);
    let body = begun.json();
    let user_code = body["user_code"].as_str().unwrap();
    let device_code = body["device_code"].as_str().unwrap();
    assert_eq!(body["verification_uri"], format!("{}/device", appview.url));
    assert_eq!(
        body["verification_uri_complete"],
        format!("{}/device?user_code={user_code}", appview.url)
    );
    assert_eq!((&body["expires_in"], &body["interval"]), (&json!(600), &json!(5)));
    assert_flow_error(&poll(&appview, device_code).await, "authorization_pending");

    // In the browser: through the sign-in and back to the page.
    let browser = Browser::new(&appview);
    let path = format!("/device?user_code={user_code}");
    let sent = browser.get(&path).await;
    sent.assert_status(303);
    let login = browser.get(sent.header("location")).await.text();
    assert!(login.contains("A device is waiting"), "{login}");
    let back = browser.sign_in("alice.test", &appview.alice, &path).await;
    assert_eq!(back.header("location"), path);
    let page = browser.get(&path).await;
    page.assert_status(200);
    for words in [
        user_code,
        "alice-laptop",
        "127.0.0.1",
        "alice.test",
        "just now",
        "same as yours",
        "Approve only if you started this yourself, just now.",
        "If someone sent you this link or code, deny it",
    ] {
        assert!(page.text().contains(words), "no {words:?} in {}", page.text());
    }
    let decided = browser
        .submit(
            "/device/approve",
            &[("user_code", user_code), ("approve", "true")],
        )
        .await;
    decided.assert_status(200);
    assert!(decided.text().contains("Return to your terminal"));

    let approved = poll(&appview, device_code).await;
    approved.assert_status(200);
    let body = approved.json();
    assert_eq!(
        (&body["handle"], &body["did"]),
        (&json!("alice.test"), &json!(appview.alice))
    );
    let secret = body["device_secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("atcr_device_"), "{secret}");
    assert_flow_error(&poll(&appview, device_code).await, "expired_token");

    let scope = format!("repository:{APP}:pull,push");
    let token = appview.token_response("alice.test", &secret, &[&scope]).await;
    token.assert_status(200);
    let put = appview
        .request(Method::PUT, &format!("/v2/{APP}/manifests/v1"))
        .bearer_auth(token.json()["token"].as_str().unwrap())
        .body(appview.image("device").bytes().clone());
    Answer::of(put).await.assert_status(201);
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 0);
    assert_eq!(
        appview.pds.rkeys(&appview.alice, "io.atcr.sailor.profile"),
        ["self"]
    );

    let listed = browser.get("/api/devices").await.json();
    let device = &listed["devices"][0];
    assert_eq!(device["name"], "alice-laptop");
    assert_eq!(device["last_address"], "127.0.0.1");
    assert!(device["last_used_at"].is_string(), "{listed}");
    assert!(!listed.to_string().contains(&secret));
    // On disk there is no more of it than its public part.
    let hidden = secret.rsplit('_').next().unwrap().as_bytes();
    let database = std::fs::read(appview.data().join("data/ui.db-wal")).unwrap();
    assert!(!database.windows(hidden.len()).any(|window| window == hidden));
}

#[tokio::test]
async fn a_profile_that_could_not_be_written_is_tried_again_at_the_next_sign_in() {
    let appview = TestAppView::start().await;
    let secret = Browser::alice(&appview).await.device("laptop").await;
    let profile = "io.atcr.sailor.profile";
    appview.pds.delete_record(&appview.alice, profile, "self");
    let fault = PdsFault::Status(500, "Down");
    appview.pds.set_fault("com.atproto.repo.applyWrites", Some(fault));
    let token = async || appview.token_response("alice.test", &secret, &[]).await;
    token().await.assert_status(200);
    assert!(appview.pds.rkeys(&appview.alice, profile).is_empty());
    appview.pds.set_fault("com.atproto.repo.applyWrites", None);
    token().await.assert_status(200);
    assert_eq!(appview.pds.rkeys(&appview.alice, profile), ["self"]);
    // From now on it is left alone for a while.
    appview.pds.forget_calls();
    token().await.assert_status(200);
    assert_eq!(appview.pds.count("com.atproto.repo.getRecord"), 0);
}

#[tokio::test]
async fn a_denial_is_final() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let waiting = wait_for_approval(&appview, "not mine").await;
    let form = [("user_code", waiting.user_code.as_str()), ("approve", "false")];
    let denied = browser.submit("/device/approve", &form).await;
    denied.assert_status(200);
    assert!(denied.text().contains("Device denied"));
    browser.approve(&waiting).await.assert_status(422);
    assert_flow_error(&poll(&appview, &waiting.device_code).await, "access_denied");
    assert!(browser.device_ids().await.is_empty());
}

#[tokio::test]
async fn one_of_two_decisions_counts() {
    let appview = TestAppView::start().await;
    let (alice, bob) = (
        Browser::alice(&appview).await,
        Browser::signed_in(&appview, "bob.test", &appview.bob).await,
    );
    let waiting = wait_for_approval(&appview, "laptop").await;
    alice.approve(&waiting).await.assert_status(200);
    bob.approve(&waiting).await.assert_status(422);
    assert_eq!(
        poll(&appview, &waiting.device_code).await.json()["did"],
        appview.alice
    );
    assert!(bob.device_ids().await.is_empty());
}

#[tokio::test]
async fn two_polls_at_once_get_one_secret() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let waiting = wait_for_approval(&appview, "laptop").await;
    browser.approve(&waiting).await.assert_status(200);
    let polls = (0..8).map(|_| poll(&appview, &waiting.device_code));
    let answers = futures_util::future::join_all(polls).await;
    let secrets = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(secrets, 1);
    assert_eq!(browser.device_ids().await.len(), 1);
}

#[tokio::test]
async fn a_code_ends_after_ten_minutes() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let (waiting, approved) = (
        wait_for_approval(&appview, "laptop").await,
        wait_for_approval(&appview, "too late to fetch").await,
    );
    browser.approve(&approved).await.assert_status(200);
    appview.clock.advance(TimeDelta::minutes(10));
    let page = browser
        .get(&format!("/device?user_code={}", waiting.user_code))
        .await;
    page.assert_status(422);
    assert!(page.text().contains("No device is waiting with this code"));
    browser.approve(&waiting).await.assert_status(422);
    for waiting in [waiting, approved] {
        assert_flow_error(&poll(&appview, &waiting.device_code).await, "expired_token");
    }
    assert!(browser.device_ids().await.is_empty());
}

#[tokio::test]
async fn a_device_that_polls_too_fast_is_told_to_slow_down() {
    let appview = TestAppView::start().await;
    let waiting = wait_for_approval(&appview, "laptop").await;
    for (wait, error) in [
        (0, "authorization_pending"),
        (5, "authorization_pending"),
        (1, "slow_down"),
        (6, "slow_down"),
        (15, "authorization_pending"),
    ] {
        appview.clock.advance(TimeDelta::seconds(wait));
        assert_flow_error(&poll(&appview, &waiting.device_code).await, error);
    }
}

#[tokio::test]
async fn codes_are_read_as_people_type_them() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let waiting = wait_for_approval(&appview, "laptop").await;
    let typed = waiting.user_code.to_lowercase().replace('-', "%20");
    browser
        .get(&format!("/device?user_code={typed}"))
        .await
        .assert_status(200);
    let ask = browser.get("/device").await;
    ask.assert_status(200);
    assert!(ask.text().contains("name=\"user_code\""));
    browser.get("/device?user_code=nonsense").await.assert_status(422);
}

#[tokio::test]
async fn bodies_that_are_none_are_refused() {
    let appview = TestAppView::start().await;
    for endpoint in ["code", "token", "revoke"] {
        for body in [
            "",
            "7",
            "{\"device_code\": 7, \"device_secret\": 7, \"device_name\": 7}",
            "\u{0}",
        ] {
            let path = format!("/auth/device/{endpoint}");
            let answer = Answer::of(appview.request(Method::POST, &path).body(body)).await;
            assert_flow_error(&answer, "invalid_request");
        }
    }
    let long = "x".repeat(100_000);
    let answer = device_request(&appview, "code", json!({ "device_name": long })).await;
    assert_flow_error(&answer, "invalid_request");
}
