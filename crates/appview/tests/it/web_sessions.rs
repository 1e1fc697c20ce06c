//! Browsers: signing in, staying signed in, signing out.

use atcr_appview::adapters::sqlite::open_durable;
use chrono::TimeDelta;
use http::Method;

use crate::browser::{Browser, poll, wait_for_approval};
use crate::harness::{Answer, TestAppView};

#[tokio::test]
async fn a_sign_in_leads_back_to_where_it_began() {
    let appview = TestAppView::start().await;
    let browser = Browser::new(&appview);
    let refused = browser.get("/settings").await;
    refused.assert_status(303);
    assert_eq!(
        refused.header("location"),
        "/auth/oauth/login?return_to=%2Fsettings"
    );
    let form = browser.get(refused.header("location")).await.text();
    assert!(form.contains("name=\"return_to\" value=\"/settings\""), "{form}");

    let finished = browser.sign_in("@Alice.test", &appview.alice, "/settings").await;
    finished.assert_status(303);
    assert_eq!(finished.header("location"), "/settings");
    let settings = browser.get("/settings").await;
    settings.assert_status(200);
    assert!(settings.text().contains("alice.test"));
    assert!(settings.text().contains(&appview.alice));
    assert_eq!(settings.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_cookies_are_for_the_browser_alone() {
    let appview = TestAppView::start().await;
    let browser = Browser::new(&appview);
    let form = [("handle", "alice.test")];
    let started = browser.post("/auth/oauth/authorize", &form).await;
    let finished = browser.sign_in("alice.test", &appview.alice, "/").await;
    for answer in [started, finished] {
        let cookie = answer.header("set-cookie");
        assert!(cookie.contains("; Path=/; "), "{cookie}");
        assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    }
    let (_, token) = browser.cookie("atcr_session").unwrap();
    // 256 random bits, and no more than their hash on disk.
    assert_eq!(token.len(), 43);
    for file in ["ui.db", "ui.db-wal"] {
        let bytes = std::fs::read(appview.data().join("data").join(file)).unwrap_or_default();
        let is_there = bytes
            .windows(token.len())
            .any(|window| window == token.as_bytes());
        assert!(!is_there, "{file} has the token of a session");
    }
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_and_outlives_a_restart() {
    let mut appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let (name, token) = browser.cookie("atcr_session").unwrap();
    drop(browser);
    appview.restart().await;
    let browser = Browser::new(&appview);
    browser.set_cookie(&name, &token);
    browser.get("/settings").await.assert_status(200);
    appview.clock.advance(TimeDelta::days(30) - TimeDelta::minutes(1));
    browser.get("/settings").await.assert_status(200);
    appview.clock.advance(TimeDelta::minutes(2));
    browser.get("/settings").await.assert_status(303);
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_when_it_was_the_last_one_there() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let other = Browser::alice(&appview).await;
    let (name, token) = browser.cookie("atcr_session").unwrap();
    let left = browser.submit("/auth/logout", &[]).await;
    left.assert_status(200);
    assert!(left.text().contains("stay signed in"));
    assert!(browser.cookie("atcr_session").is_none());
    browser.set_cookie(&name, &token);
    browser.get("/settings").await.assert_status(303);
    assert_eq!(appview.pds.oauth_sessions(), 1);

    other.submit("/auth/logout", &[]).await.assert_status(200);
    assert_eq!(appview.pds.oauth_sessions(), 0);
}

#[tokio::test]
async fn signing_in_as_somebody_else_signs_the_one_before_out() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let elsewhere = Browser::alice(&appview).await;
    browser
        .sign_in("bob.test", &appview.bob, "/")
        .await
        .assert_status(303);
    elsewhere.get("/settings").await.assert_status(200);
    assert_eq!(appview.pds.oauth_sessions(), 2, "alice has another browser");
    // Her last one goes the same way.
    elsewhere
        .sign_in("bob.test", &appview.bob, "/")
        .await
        .assert_status(303);
    assert!(
        !appview
            .sign_in()
            .is_live(&appview.alice.parse().unwrap())
            .await
            .unwrap()
    );
    assert!(
        appview
            .sign_in()
            .is_live(&appview.bob.parse().unwrap())
            .await
            .unwrap()
    );
    // Each of Bob's sign-ins replaces the one before.
    let mut appview = appview;
    appview.stop().await;
    assert_eq!(appview.pds.oauth_sessions(), 1);
}

#[tokio::test]
async fn sessions_that_nobody_uses_any_more_are_swept_up() {
    let appview = TestAppView::start().await;
    let ended = async || appview.sign_in().end_unused().await.unwrap();
    // A browser, a device, and an approval keep an account's session.
    let browser = Browser::alice(&appview).await;
    let bobs = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    bobs.device("laptop").await;
    bobs.submit("/auth/logout", &[]).await.assert_status(200);
    appview.clock.advance(TimeDelta::minutes(11));
    assert_eq!(ended().await, 0);
    let waiting = wait_for_approval(&appview, "never comes back").await;
    browser.approve(&waiting).await.assert_status(200);
    browser.submit("/auth/logout", &[]).await.assert_status(200);
    appview.clock.advance(TimeDelta::minutes(9));
    assert_eq!((ended().await, appview.pds.oauth_sessions()), (0, 2));
    // The approval ends, and alice's session with it; bob still has a device.
    appview.clock.advance(TimeDelta::minutes(1));
    assert_eq!((ended().await, appview.pds.oauth_sessions()), (1, 1));
    assert!(
        !appview
            .sign_in()
            .is_live(&appview.alice.parse().unwrap())
            .await
            .unwrap()
    );

    // A browser's time ends without a word.
    let _browser = Browser::alice(&appview).await;
    appview.clock.advance(TimeDelta::days(30) - TimeDelta::minutes(1));
    assert_eq!(ended().await, 0);
    appview.clock.advance(TimeDelta::minutes(1));
    assert_eq!((ended().await, appview.pds.oauth_sessions()), (1, 1));
}

#[tokio::test]
async fn a_session_whose_browser_is_on_its_way_is_not_swept_up() {
    let appview = TestAppView::start().await;
    let _browser = Browser::alice(&appview).await;
    let database = open_durable(&appview.data().join("data/ui.db")).await.unwrap();
    let lose = sqlx::query("DELETE FROM web_session");
    lose.execute(database.writer()).await.unwrap();
    assert_eq!(appview.sign_in().end_unused().await.unwrap(), 0);
    appview.clock.advance(TimeDelta::minutes(11));
    assert_eq!(appview.sign_in().end_unused().await.unwrap(), 1);
}

#[tokio::test]
async fn a_device_keeps_the_account_signed_in_when_the_browser_leaves() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    browser.submit("/auth/logout", &[]).await.assert_status(200);
    let token = appview.token_response("alice.test", &secret, &[]).await;
    token.assert_status(200);
    assert_eq!(appview.pds.oauth_sessions(), 1);
}

#[tokio::test]
async fn a_device_that_was_approved_just_before_is_not_lost() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let waiting = wait_for_approval(&appview, "laptop").await;
    browser.approve(&waiting).await.assert_status(200);
    browser.submit("/auth/logout", &[]).await.assert_status(200);
    assert_eq!(appview.pds.oauth_sessions(), 1);
    poll(&appview, &waiting.device_code).await.assert_status(200);

    // Leaving everywhere is another matter.
    let browser = Browser::alice(&appview).await;
    let waiting = wait_for_approval(&appview, "laptop").await;
    browser.approve(&waiting).await.assert_status(200);
    browser
        .submit("/settings/sign-out-everywhere", &[])
        .await
        .assert_status(200);
    poll(&appview, &waiting.device_code).await.assert_status(400);
    assert_eq!(appview.pds.oauth_sessions(), 0);
}

#[tokio::test]
async fn signing_out_everywhere_ends_browsers_devices_and_the_session_behind_them() {
    let appview = TestAppView::start().await;
    let (browser, other) = (Browser::alice(&appview).await, Browser::alice(&appview).await);
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    let secret = browser.device("laptop").await;
    browser
        .submit("/settings/sign-out-everywhere", &[])
        .await
        .assert_status(200);
    other.get("/settings").await.assert_status(303);
    appview
        .token_response("alice.test", &secret, &[])
        .await
        .assert_error(401, "UNAUTHORIZED");
    bob.get("/settings").await.assert_status(200);
    assert_eq!(appview.pds.oauth_sessions(), 1);
}

#[tokio::test]
async fn a_wrong_handle_is_said_on_the_form() {
    let appview = TestAppView::start().await;
    let browser = Browser::new(&appview);
    for (handle, words) in [
        ("nobody.test", "nobody.test"),
        ("not a handle", "handle"),
        ("", "Enter the handle"),
    ] {
        let form = [("handle", handle), ("return_to", "/settings")];
        let answer = browser.post("/auth/oauth/login", &form).await;
        answer.assert_status(422);
        let page = answer.text();
        assert!(page.contains("role=\"alert\""), "{page}");
        assert!(page.contains(words), "{page}");
        assert!(page.contains("name=\"return_to\" value=\"/settings\""), "{page}");
    }
}

#[tokio::test]
async fn who_says_no_at_his_server_is_told_that_nothing_happened() {
    let appview = TestAppView::start().await;
    let browser = Browser::new(&appview);
    let started = browser
        .post("/auth/oauth/authorize", &[("handle", "alice.test")])
        .await;
    let answer = appview.pds.deny(started.header("location")).unwrap();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(answer.iter());
    let denied = browser
        .get(&format!("/auth/oauth/callback?{}", query.finish()))
        .await;
    denied.assert_status(403);
    assert!(denied.text().contains("/auth/oauth/login"));
    assert!(browser.cookie("atcr_session").is_none());
}

#[tokio::test]
async fn sign_ins_have_a_limit() {
    let appview = TestAppView::start().await;
    let browser = Browser::new(&appview);
    let form = [("handle", "nobody.test")];
    for _ in 0..60 {
        browser.post("/auth/oauth/login", &form).await.assert_status(422);
    }
    let refused = browser.post("/auth/oauth/login", &form).await;
    refused.assert_status(429);
    assert!(refused.has_header("retry-after"));
    appview.clock.advance(TimeDelta::minutes(11));
    browser.post("/auth/oauth/login", &form).await.assert_status(422);
}

#[tokio::test]
async fn browsers_at_localhost_are_sent_to_where_sign_ins_come_back() {
    let appview = TestAppView::start().await;
    let port = appview.url.rsplit(':').next().unwrap();
    let ask = |host: String| {
        let request = appview.request(Method::GET, "/auth/oauth/login?return_to=%2Fsettings");
        Answer::of(request.header("host", host))
    };
    let sent = ask(format!("localhost:{port}")).await;
    sent.assert_status(307);
    let place = format!("{}/auth/oauth/login?return_to=%2Fsettings", appview.url);
    assert_eq!(sent.header("location"), place);
    ask(format!("127.0.0.1:{port}")).await.assert_status(200);
    ask("registry.example".to_owned()).await.assert_status(200);
}
