//! Guesses.

use chrono::TimeDelta;
use serde_json::json;

use super::assert_flow_error;
use crate::browser::{Browser, device_request, poll, wait_for_approval};
use crate::harness::TestAppView;

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
