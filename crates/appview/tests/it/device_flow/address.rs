//! Where a device is, as far as that is known.

use http::Method;
use serde_json::json;

use crate::browser::{Browser, Waiting, poll};
use crate::harness::{Answer, TestAppView};

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
    // Every request comes from the proxy's address. The device's or the visitor's may also come without it.
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
