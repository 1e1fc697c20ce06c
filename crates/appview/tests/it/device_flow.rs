//! Devices: signed in from a browser, listed, revoked.

use atcr_appview::adapters::sqlite::Database;
use atcr_appview::adapters::sqlite::devices::SqliteDevices;
use atcr_sessions::devices::ports::DeviceStore as _;
use atcr_test_support::fakes::PdsFault;
use chrono::TimeDelta;
use http::Method;
use serde_json::json;

use crate::browser::{Browser, Waiting, device_request, poll, wait_for_approval};
use crate::harness::{Answer, Sailor, TestAppView};

const APP: &str = "alice.test/app";

#[track_caller]
fn assert_flow_error(answer: &Answer, error: &str) {
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]),
        (400, &json!(error))
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

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
    let database = Database::open(&appview.data().join("data/ui.db")).await.unwrap();
    let elsewhere = SqliteDevices::new(database);
    let alice = appview.alice.parse().unwrap();
    assert!(elsewhere.delete(&alice, &id).await.unwrap());
    assert_writes_nothing(&device, &upload).await;
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
async fn a_device_at_another_address_is_shown_with_a_warning() {
    let appview = TestAppView::start_with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let browser = Browser::alice(&appview).await;
    let request = appview
        .request(Method::POST, "/auth/device/code")
        .header("x-forwarded-for", "203.0.113.9")
        .json(&json!({ "device_name": "laptop" }));
    let code = Answer::of(request).await.json();
    let path = format!("/device?user_code={}", code["user_code"].as_str().unwrap());
    let page = browser.get(&path).await.text();
    assert!(page.contains("203.0.113.9"), "{page}");
    assert!(
        page.contains("The device has a different address from this browser"),
        "{page}"
    );
    assert!(!page.contains("same as yours"), "{page}");
}

#[tokio::test]
async fn behind_a_proxy_that_is_not_named_no_device_is_said_to_be_where_the_browser_is() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    // Everybody comes from the proxy's address. Each of the two may also come without it.
    for (device, visitor) in [(true, true), (true, false), (false, true)] {
        let mut request = appview
            .request(Method::POST, "/auth/device/code")
            .json(&json!({ "device_name": "attacker" }));
        if device {
            request = request.header("x-forwarded-for", "203.0.113.9");
        }
        let code = Answer::of(request).await.json();
        let path = format!("/device?user_code={}", code["user_code"].as_str().unwrap());
        let mut request = appview.get(&path).header("accept", "text/html");
        if visitor {
            request = request.header("x-forwarded-for", "198.51.100.7");
        }
        let page = browser.send(request).await;
        page.assert_status(200);
        let page = page.text();
        assert!(!page.contains("same as yours"), "{device} {visitor}: {page}");
        assert!(
            !page.contains("a different address"),
            "{device} {visitor}: {page}"
        );
        assert!(
            page.contains(
                "This registry cannot tell whether the device and this browser have the same address"
            ),
            "{page}"
        );
        assert!(
            !page.contains("203.0.113.9") && !page.contains("198.51.100.7"),
            "{page}"
        );
        assert_eq!(page.contains("not known"), device, "{page}");
    }
}

#[tokio::test]
async fn a_device_behind_a_proxy_that_is_not_named_is_listed_without_an_address() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let request = appview
        .request(Method::POST, "/auth/device/code")
        .header("forwarded", "for=203.0.113.9")
        .json(&json!({ "device_name": "laptop" }));
    let code = Answer::of(request).await.json();
    let text = |name: &str| code[name].as_str().unwrap().to_owned();
    let waiting = Waiting {
        device_code: text("device_code"),
        user_code: text("user_code"),
    };
    browser.approve(&waiting).await.assert_status(200);
    let secret = poll(&appview, &waiting.device_code).await.json()["device_secret"].clone();
    let token = appview
        .get("/auth/token")
        .header("x-forwarded-for", "203.0.113.9")
        .basic_auth("alice.test", secret.as_str());
    Answer::of(token).await.assert_status(200);
    let listed = browser.get("/api/devices").await.json();
    let device = &listed["devices"][0];
    assert_eq!(
        (&device["address"], &device["last_address"]),
        (&json!(null), &json!(null))
    );
    assert!(device["last_used_at"].is_string());
    let settings = browser.get("/settings").await.text();
    assert!(
        settings.contains("Last used") && !settings.contains("class=\"address\""),
        "{settings}"
    );
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
async fn guessing_codes_is_stopped() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let waiting = wait_for_approval(&appview, "laptop").await;
    for guess in 0..10 {
        let code = format!("BBBB-000{guess}");
        if guess % 2 == 0 {
            browser
                .get(&format!("/device?user_code={code}"))
                .await
                .assert_status(422);
        } else {
            let form = [("user_code", code.as_str()), ("approve", "true")];
            browser.submit("/device/approve", &form).await.assert_status(422);
        }
    }
    // Not even the right one, or a guess would be as good as before.
    let refused = browser
        .get(&format!("/device?user_code={}", waiting.user_code))
        .await;
    refused.assert_status(429);
    assert!(refused.has_header("retry-after"));
    browser.approve(&waiting).await.assert_status(429);
    // Another account at the same address is not let through either.
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    bob.approve(&waiting).await.assert_status(429);
    appview.clock.advance(TimeDelta::minutes(11));
    let waiting = wait_for_approval(&appview, "laptop").await;
    browser.approve(&waiting).await.assert_status(200);
}

#[tokio::test]
async fn codes_and_wrong_polls_have_limits() {
    let appview = TestAppView::start().await;
    for _ in 0..30 {
        wait_for_approval(&appview, "laptop").await;
    }
    let refused = device_request(&appview, "code", json!({})).await;
    refused.assert_status(429);
    assert!(refused.has_header("retry-after"));
    for _ in 0..100 {
        assert_flow_error(&poll(&appview, "guess").await, "expired_token");
    }
    assert_eq!(poll(&appview, "guess").await.status, 429);
    appview.clock.advance(TimeDelta::minutes(10));
    device_request(&appview, "code", json!({}))
        .await
        .assert_status(200);
    assert_flow_error(&poll(&appview, "guess").await, "expired_token");
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
