//! Service tokens for holds: reused for a while, and no longer than what they come from.

use atcr_test_support::fakes::PdsFault;

use crate::browser::Browser;
use crate::harness::{Sailor, TestAppView, open_captain, sha256};

const APP: &str = "alice.test/app";

/// How often the PDS was asked for a token.
fn minted(appview: &TestAppView) -> usize {
    appview.pds.count("com.atproto.server.getServiceAuth")
}

/// A user with a token for `secret`, an app password or a device secret.
async fn with_secret<'a>(appview: &'a TestAppView, secret: &str) -> Sailor<'a> {
    let scope = format!("repository:{APP}:pull,push,delete");
    let answer = appview.token_response("alice.test", secret, &[&scope]).await;
    answer.assert_status(200);
    Sailor {
        appview,
        token: answer.json()["token"].as_str().unwrap().to_owned(),
    }
}

/// Pushes an image, and waits until the hold was told of it.
async fn push(sailor: &Sailor<'_>, seed: &str) {
    let image = sailor.appview.image(seed);
    sailor.push(APP, "v1", &image).await;
    let digest = sha256(&image).to_string();
    sailor.appview.hold.office().notice("push", &digest).await;
}

#[tokio::test]
async fn a_hold_that_does_not_take_a_token_is_asked_for_crew_with_another() {
    let appview = TestAppView::start().await;
    appview.hold.office().set_captain(open_captain());
    appview.hold.office().refuse_tokens(1);
    let alice = appview.sailor("alice.test", &[APP]).await;
    push(&alice, "one").await;
    assert_eq!(appview.hold.office().crew().len(), 1);
    assert_eq!(minted(&appview), 2, "the first was dropped");
}

#[tokio::test]
async fn a_hold_that_takes_no_token_is_not_asked_for_crew_again_and_again() {
    let appview = TestAppView::start().await;
    appview.hold.office().set_captain(open_captain());
    appview.hold.office().refuse_tokens(2);
    let alice = appview.sailor("alice.test", &[APP]).await;
    for seed in ["one", "two"] {
        push(&alice, seed).await;
    }
    assert!(appview.hold.office().crew().is_empty());
}

#[tokio::test]
async fn a_notice_that_a_hold_refuses_for_its_token_is_sent_with_another() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    push(&alice, "one").await;
    appview.hold.office().refuse_tokens(1);
    push(&alice, "two").await;
    assert_eq!(minted(&appview), 2);
}

#[tokio::test]
async fn tokens_are_forgotten_when_the_account_signs_out() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    let alice = with_secret(&appview, &secret).await;
    for seed in ["one", "two"] {
        push(&alice, seed).await;
    }
    assert_eq!(minted(&appview), 1, "the second push needed no other");
    browser
        .submit("/settings/sign-out-everywhere", &[])
        .await
        .assert_status(200);
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    push(&with_secret(&appview, &secret).await, "three").await;
    assert_eq!(minted(&appview), 2);
}

#[tokio::test]
async fn tokens_are_forgotten_when_the_server_ends_the_session() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let secret = browser.device("laptop").await;
    let alice = with_secret(&appview, &secret).await;
    push(&alice, "one").await;
    appview.pds.end_oauth_sessions();
    let refused = alice.try_push(APP, "v1", &appview.image("two")).await;
    refused.assert_error(401, "UNAUTHORIZED");
    browser
        .sign_in("alice.test", &appview.alice, "/")
        .await
        .assert_status(303);
    push(&alice, "two").await;
    assert_eq!(minted(&appview), 2);
}

#[tokio::test]
async fn tokens_are_forgotten_when_an_app_password_is_revoked() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    push(&alice, "one").await;
    assert_eq!(minted(&appview), 1);
    appview.pds.expire_access_tokens();
    appview.pds.end_sessions();
    appview.pds.set_fault(
        "com.atproto.repo.applyWrites",
        Some(PdsFault::Status(400, "ExpiredToken")),
    );
    let refused = alice.try_push(APP, "v1", &appview.image("two")).await;
    refused.assert_error(401, "UNAUTHORIZED");
    appview.pds.set_fault("com.atproto.repo.applyWrites", None);
    let alice = appview.sailor("alice.test", &[APP]).await;
    push(&alice, "two").await;
    assert_eq!(minted(&appview), 2);
}

#[tokio::test]
async fn whoever_signs_in_through_his_server_or_with_a_device_is_seen_to_like_everybody() {
    for by_device in [false, true] {
        let appview = TestAppView::start().await;
        appview.hold.office().set_captain(open_captain());
        let browser = Browser::alice(&appview).await;
        let profile = "io.atcr.sailor.profile";
        assert_eq!(appview.pds.rkeys(&appview.alice, profile), ["self"]);
        let sailor = if by_device {
            appview.pds.delete_record(&appview.alice, profile, "self");
            let secret = browser.device("laptop").await;
            with_secret(&appview, &secret).await
        } else {
            appview.oauth_sailor(&appview.alice, &[APP])
        };
        assert_eq!(appview.pds.rkeys(&appview.alice, profile), ["self"]);
        push(&sailor, "one").await;
        let service = format!("Bearer service:{}:{}", appview.alice, appview.hold.did());
        assert!(appview.hold.office().crew().contains(&service));
        // A pull is counted as well.
        let image = appview.image("one");
        let pulled = sailor.get(&format!("/v2/{APP}/manifests/v1")).await;
        pulled.assert_status(200);
        let digest = sha256(&image).to_string();
        let notice = appview.hold.office().notice("pull", &digest).await;
        assert_eq!(notice["userDid"], appview.alice);
    }
}
