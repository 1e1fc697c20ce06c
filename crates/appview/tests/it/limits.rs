//! Limits on requests: `429` and `Retry-After`, in the words of each endpoint.

use std::time::Duration;

use atcr_appview::config::AppViewConfig;
use atcr_server::Rate;
use atcr_test_support::fakes::PdsFault;
use chrono::TimeDelta;
use http::Method;

use crate::browser::Browser;
use crate::harness::{Answer, PASSWORD, TestAppView};

/// Three at once, and then one each twenty seconds.
const THREE: Rate = Rate::new(3, Duration::from_mins(1));

async fn limited(change: impl FnOnce(&mut AppViewConfig)) -> TestAppView {
    TestAppView::start_with(change).await
}

#[track_caller]
fn assert_limited(answer: &Answer) {
    answer.assert_status(429);
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
}

async fn ping(appview: &TestAppView) -> Answer {
    Answer::of(appview.get("/v2/")).await
}

#[tokio::test]
async fn anonymous_requests_of_one_address_have_a_limit_and_signed_in_ones_do_not_share_it() {
    let appview = limited(|config| config.limits.anonymous_requests = THREE).await;
    let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
    ping(&appview).await.assert_error(401, "UNAUTHORIZED");
    // A token that is not good is no account's.
    let forged = appview.get("/v2/").bearer_auth("no.good.token");
    Answer::of(forged).await.assert_error(401, "UNAUTHORIZED");
    let anonymous = Answer::of(appview.get("/auth/token?scope=repository:alice.test/app:pull")).await;
    let token = anonymous.json()["token"].as_str().unwrap().to_owned();
    let list = "/v2/alice.test/app/tags/list";
    let read = Answer::of(appview.get(list).bearer_auth(&token)).await;
    assert_ne!(read.status, 429, "{}", read.text());
    for refused in [
        ping(&appview).await,
        Answer::of(appview.get(list).bearer_auth(&token)).await,
        Answer::of(appview.get("/v2/").bearer_auth("no.good.token")).await,
    ] {
        assert_limited(&refused);
        refused.assert_error(429, "TOOMANYREQUESTS");
    }
    for _ in 0..5 {
        alice.get("/v2/").await.assert_status(200);
    }
    appview.clock.advance(TimeDelta::seconds(20));
    ping(&appview).await.assert_error(401, "UNAUTHORIZED");
    ping(&appview).await.assert_error(429, "TOOMANYREQUESTS");
}

#[tokio::test]
async fn requests_of_one_account_have_a_limit_wherever_they_come_from() {
    let appview = limited(|config| {
        config.limits.account_requests = THREE;
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
    let bob = appview.sailor("bob.test", &["bob.test/app"]).await;
    for client in 1..=4 {
        let request = alice
            .request(Method::GET, "/v2/")
            .header("x-forwarded-for", format!("203.0.113.{client}"));
        let answer = Answer::of(request).await;
        if client <= 3 {
            answer.assert_status(200);
        } else {
            assert_limited(&answer);
            answer.assert_error(429, "TOOMANYREQUESTS");
        }
    }
    bob.get("/v2/").await.assert_status(200);
}

#[tokio::test]
async fn token_requests_of_one_address_have_a_limit() {
    let appview = limited(|config| {
        config.limits.token_requests = THREE;
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let ask = |client: &str| Answer::of(appview.get("/auth/token").header("x-forwarded-for", client));
    for _ in 0..3 {
        ask("203.0.113.9").await.assert_status(200);
    }
    let refused = ask("203.0.113.9").await;
    assert_limited(&refused);
    refused.assert_error(429, "TOOMANYREQUESTS");
    // Of IPv6 a customer has a whole network; another client has a count of its own.
    ask("198.51.100.7").await.assert_status(200);
    for host in 1..=3 {
        ask(&format!("2001:db8:1:2::{host}")).await.assert_status(200);
    }
    assert_limited(&ask("2001:db8:1:2:ffff::1").await);
    ask("2001:db8:1:3::1").await.assert_status(200);
}

#[tokio::test]
async fn sign_ins_that_fail_have_a_limit_before_any_server_is_asked_and_those_that_succeed_do_not_count() {
    let appview = limited(|config| {
        config.limits.failed_sign_ins = THREE;
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let ping = |client: &str, username: &str, password: &str| {
        let request = appview.get("/v2/").header("x-forwarded-for", client);
        Answer::of(request.basic_auth(username, Some(password.to_owned())))
    };
    // Each spelling is a sign-in of its own.
    for username in ["alice.test", &appview.alice, "Alice.test", "bob.test"] {
        ping("203.0.113.9", username, PASSWORD).await.assert_status(200);
    }
    // The account's server is down: nothing was guessed, and finding that out is what costs.
    appview.pds.set_fault(
        "com.atproto.server.createSession",
        Some(PdsFault::Status(500, "InternalServerError")),
    );
    for n in 0..3 {
        let answer = ping("203.0.113.9", "alice.test", &format!("other {n}")).await;
        assert_ne!(answer.status, 429, "{}", answer.text());
    }
    let asked = appview.pds.count("com.atproto.server.createSession");
    let refused = ping("203.0.113.9", "alice.test", "other 4").await;
    assert_limited(&refused);
    refused.assert_error(429, "TOOMANYREQUESTS");
    let token = appview
        .get("/auth/token")
        .header("x-forwarded-for", "203.0.113.9");
    let token = Answer::of(token.basic_auth("alice.test", Some("other 5"))).await;
    assert_limited(&token);
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), asked);
    // A password that was good a moment ago still is, and another client has a count of its own.
    ping("203.0.113.9", "alice.test", PASSWORD)
        .await
        .assert_status(200);
    let other = ping("198.51.100.7", "bob.test", "guess").await;
    assert_ne!(other.status, 429, "{}", other.text());
}

#[tokio::test]
async fn pages_of_one_address_have_a_limit_and_say_so_as_pages_or_json() {
    let appview = limited(|config| config.limits.page_requests = THREE).await;
    let visitor = Browser::new(&appview);
    let home = visitor.get("/").await;
    home.assert_status(200);
    visitor.get("/install").await.assert_status(200);
    visitor.get("/auth/oauth/login").await.assert_status(200);
    let page = visitor.get("/").await;
    assert_limited(&page);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text().contains("Too many requests"), "{}", page.text());
    for path in ["/sitemap.xml", "/sitemap/0.xml"] {
        assert_limited(&visitor.get(path).await);
    }
    let devices = Answer::of(appview.get("/api/devices")).await;
    assert_limited(&devices);
    assert_eq!(devices.json()["error"], "RateLimitExceeded");
    let device = appview
        .request(Method::POST, "/auth/device/code")
        .json(&serde_json::json!({ "device_name": "laptop" }));
    let device = Answer::of(device).await;
    assert_limited(&device);
    assert_eq!(device.json()["error"], "too_many_requests");
    // What a page needs, what clients pull and what operators probe is not a page.
    for path in ["/livez", "/readyz", "/.well-known/did.json", "/install.sh"] {
        Answer::of(appview.get(path)).await.assert_status(200);
    }
    ping(&appview).await.assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn exempt_networks_are_not_counted() {
    let appview = limited(|config| {
        config.limits.anonymous_requests = THREE;
        config.limits.token_requests = THREE;
        config.limits.page_requests = THREE;
        config.limits.exempt = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    let visitor = Browser::new(&appview);
    for _ in 0..5 {
        ping(&appview).await.assert_error(401, "UNAUTHORIZED");
        Answer::of(appview.get("/auth/token")).await.assert_status(200);
        visitor.get("/").await.assert_status(200);
    }
}
