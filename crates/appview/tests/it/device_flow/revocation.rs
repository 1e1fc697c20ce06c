//! Devices that are signed out, or whose account is.

use atcr_appview::adapters::sqlite::devices::SqliteDevices;
use atcr_appview::adapters::sqlite::open_durable;
use atcr_sessions::devices::ports::DeviceStore as _;
use atcr_test_support::fakes::PdsFault;
use chrono::TimeDelta;
use http::Method;
use serde_json::json;

use super::{APP, assert_flow_error};
use crate::browser::{Browser, device_request, poll, wait_for_approval};
use crate::harness::{Answer, Sailor, TestAppView};

#[tokio::test]
async fn a_device_that_is_revoked_is_told_what_to_do_at_its_next_push() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    let other = browser.device("build box").await;
    let host = appview.url.trim_start_matches("http://");
    let [newest, oldest] = <[String; 2]>::try_from(browser.device_ids().await).unwrap();
    let id = if secret.contains(&newest) { newest } else { oldest };
    let revoked = browser
        .submit(&format!("/settings/devices/{id}/revoke"), &[])
        .await;
    revoked.assert_status(303);
    assert_eq!(revoked.header("location"), "/settings#devices");

    let refused = appview.token_response("alice.test", &secret, &[]).await;
    refused.assert_error(401, "UNAUTHORIZED");
    let sentence = format!("this device is no longer signed in; run docker-credential-atcr login {host}");
    assert_eq!(refused.message(), sentence);
    // The same on a request that carries the secret itself.
    let direct = appview.get("/v2/").basic_auth("alice.test", Some(&secret));
    let direct = Answer::of(direct).await;
    direct.assert_error(401, "UNAUTHORIZED");
    assert_eq!(direct.message(), sentence);
    appview
        .token_response("alice.test", &other, &[])
        .await
        .assert_status(200);
}

/// A device's token, and an upload that was begun with it.
async fn device_with_upload<'a>(appview: &'a TestAppView, secret: &str) -> (Sailor<'a>, String) {
    let scope = format!("repository:{APP}:pull,push,delete");
    let answer = appview.token_response("alice.test", secret, &[&scope]).await;
    answer.assert_status(200);
    let device = Sailor {
        appview,
        token: answer.json()["token"].as_str().unwrap().to_owned(),
    };
    device.push(APP, "v1", &appview.image("before")).await;
    let begun = Answer::of(device.request(Method::POST, &format!("/v2/{APP}/blobs/uploads/"))).await;
    begun.assert_status(202);
    let upload = begun.header("location").to_owned();
    let patched = Answer::of(device.request(Method::PATCH, &upload).body("abc")).await;
    patched.assert_status(202);
    (device, upload)
}

/// Nothing is written any more with the token of a device that is gone; what it may read it may read for the token's time.
async fn assert_writes_nothing(device: &Sailor<'_>, upload: &str) {
    let writes = [
        (Method::PUT, format!("/v2/{APP}/manifests/v2")),
        (Method::DELETE, format!("/v2/{APP}/manifests/v1")),
        (Method::POST, format!("/v2/{APP}/blobs/uploads/")),
        (Method::PATCH, upload.to_owned()),
        (
            Method::PUT,
            format!(
                "{upload}?digest=sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            ),
        ),
        (Method::DELETE, upload.to_owned()),
    ];
    for (method, path) in writes {
        let answer = Answer::of(device.request(method.clone(), &path).body("abc")).await;
        assert_eq!(
            answer.code(),
            "UNAUTHORIZED",
            "{method} {path}: {}",
            answer.text()
        );
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(
            answer
                .message()
                .starts_with("this device is no longer signed in; run docker-credential-atcr login"),
            "{}",
            answer.message()
        );
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
}

#[tokio::test]
async fn a_device_that_is_revoked_writes_nothing_with_the_token_that_it_has() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    let (device, upload) = device_with_upload(&appview, &secret).await;
    let id = browser.device_ids().await.remove(0);
    browser
        .submit(&format!("/settings/devices/{id}/revoke"), &[])
        .await
        .assert_status(303);
    assert_writes_nothing(&device, &upload).await;
    device
        .get(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_status(200);
    // Nor later: an upload lasts a day, and its token as long.
    appview.clock.advance(TimeDelta::hours(1));
    let patched = Answer::of(device.request(Method::PATCH, &upload).body("def")).await;
    patched.assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_device_that_another_process_revokes_writes_nothing_either() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    let (device, upload) = device_with_upload(&appview, &secret).await;
    let id = browser.device_ids().await.remove(0);
    let database = open_durable(&appview.data().join("data/ui.db")).await.unwrap();
    let elsewhere = SqliteDevices::new(database);
    let alice = appview.alice.parse().unwrap();
    assert!(elsewhere.delete(&alice, &id).await.unwrap());
    assert_writes_nothing(&device, &upload).await;
}

#[tokio::test]
async fn a_script_gets_the_list_of_devices_alone() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    browser.device("laptop").await;
    let id = browser.device_ids().await.remove(0);
    let token = browser.csrf_token().await;
    let request = appview
        .request(Method::POST, &format!("/settings/devices/{id}/revoke"))
        .header("origin", &appview.url)
        .header("hx-request", "true")
        .form(&[("csrf_token", &token)]);
    let part = browser.send(request).await;
    part.assert_status(200);
    assert!(
        part.text().trim_start().starts_with("<div id=\"device-list\">"),
        "{}",
        part.text()
    );
    assert!(part.text().contains("No device is signed in"));
    // The button that had the focus is gone: it goes to what happened, which is read out.
    let news = "role=\"status\" tabindex=\"-1\" autofocus>The device is signed out.";
    assert!(part.text().contains(news), "{}", part.text());
    assert!(!browser.get("/settings").await.text().contains("autofocus"));
}

#[tokio::test]
async fn a_program_in_the_browser_revokes_with_the_token_in_a_header() {
    let appview = TestAppView::start().await;
    let (alice, bob) = (
        Browser::alice(&appview).await,
        Browser::signed_in(&appview, "bob.test", &appview.bob).await,
    );
    alice.device("laptop").await;
    let id = alice.device_ids().await.remove(0);
    let delete = |token: &str| {
        appview
            .request(Method::DELETE, &format!("/api/devices/{id}"))
            .header("origin", &appview.url)
            .header("x-csrf-token", token)
    };
    let (alices, bobs) = (alice.csrf_token().await, bob.csrf_token().await);
    assert_eq!(Answer::of(delete(&alices)).await.status, 401);
    assert_eq!(alice.send(delete("")).await.status, 403);
    assert_eq!(alice.send(delete(&bobs)).await.status, 403);
    assert_eq!(bob.send(delete(&bobs)).await.status, 404, "somebody else's");
    assert_eq!(alice.device_ids().await.len(), 1);
    assert_eq!(alice.send(delete(&alices)).await.status, 204);
    assert_eq!(alice.send(delete(&alices)).await.status, 404);
    assert_eq!(Answer::of(appview.get("/api/devices")).await.status, 401);
}

#[tokio::test]
async fn a_helper_that_logs_out_revokes_its_own_secret() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    browser.submit("/auth/logout", &[]).await.assert_status(200);
    for secret in [secret.as_str(), &secret, "atcr_device_x_y", "something else"] {
        let answer = device_request(&appview, "revoke", json!({ "device_secret": secret })).await;
        answer.assert_status(204);
    }
    let refused = appview.token_response("alice.test", &secret, &[]).await;
    refused.assert_error(401, "UNAUTHORIZED");
    assert_eq!(
        appview.pds.oauth_sessions(),
        0,
        "the last to leave ends the session"
    );
}

#[tokio::test]
async fn a_device_whose_account_has_to_sign_in_again_is_told_where() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    appview.pds.end_oauth_sessions();
    appview.clock.advance(TimeDelta::days(1));
    for request in [
        appview.get("/auth/token").basic_auth("alice.test", Some(&secret)),
        appview.get("/v2/").basic_auth("alice.test", Some(&secret)),
    ] {
        let refused = Answer::of(request).await;
        refused.assert_error(401, "UNAUTHORIZED");
        let address = format!("sign in again at {}/auth/oauth/login", appview.url);
        assert!(refused.message().contains(&address), "{}", refused.message());
    }
    // Approving another one leads to the sign-in first; a secret would be of no use.
    let waiting = wait_for_approval(&appview, "second").await;
    let page = browser
        .get(&format!("/device?user_code={}", waiting.user_code))
        .await;
    page.assert_status(303);
    assert!(page.header("location").starts_with("/auth/oauth/login?"));
    browser.approve(&waiting).await.assert_status(303);
    assert_flow_error(
        &poll(&appview, &waiting.device_code).await,
        "authorization_pending",
    );

    browser
        .sign_in("alice.test", &appview.alice, "/")
        .await
        .assert_status(303);
    appview
        .token_response("alice.test", &secret, &[])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_secret_gives_no_refresh_token_that_would_outlive_it() {
    let appview = TestAppView::start().await;
    let secret = Browser::alice(&appview).await.device("laptop").await;
    let form = [
        ("grant_type", "password"),
        ("username", "alice.test"),
        ("password", secret.as_str()),
        ("access_type", "offline"),
    ];
    let answer = Answer::of(appview.request(Method::POST, "/auth/token").form(&form)).await;
    answer.assert_status(200);
    assert!(answer.json().get("refresh_token").is_none());
}

#[tokio::test]
async fn a_pds_that_is_down_is_not_a_device_that_is_signed_out() {
    let appview = TestAppView::start().await;
    let secret = Browser::alice(&appview).await.device("laptop").await;
    appview.clock.advance(TimeDelta::days(1));
    appview
        .pds
        .set_fault("oauth/refresh", Some(PdsFault::Status(500, "Down")));
    let answer = appview.token_response("alice.test", &secret, &[]).await;
    assert!(answer.status.is_server_error(), "{}", answer.text());
}
