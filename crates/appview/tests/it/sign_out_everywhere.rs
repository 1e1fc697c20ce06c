//! "Sign out everywhere" also ends what app passwords gave: the session at the account server and refresh tokens.

use http::Method;

use crate::browser::Browser;
use crate::harness::{Answer, PASSWORD, TestAppView};

const APP: &str = "alice.test/app";
const CREATE_SESSION: &str = "com.atproto.server.createSession";

async fn post(appview: &TestAppView, form: &[(&str, &str)]) -> Answer {
    Answer::of(appview.request(Method::POST, "/auth/token").form(form)).await
}

/// A refresh token that `username` gets for an app password.
async fn refresh_token(appview: &TestAppView, username: &str) -> String {
    let form = [
        ("grant_type", "password"),
        ("username", username),
        ("password", PASSWORD),
        ("access_type", "offline"),
    ];
    let answer = post(appview, &form).await;
    answer.assert_status(200);
    answer.json()["refresh_token"].as_str().unwrap().to_owned()
}

async fn redeem(appview: &TestAppView, token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    post(appview, &form).await
}

async fn sign_out_everywhere(appview: &TestAppView) {
    let browser = Browser::alice(appview).await;
    let answer = browser.submit("/settings/sign-out-everywhere", &[]).await;
    answer.assert_status(200);
}

#[tokio::test]
async fn refresh_tokens_of_the_account_end_and_those_of_others_do_not() {
    let appview = TestAppView::start().await;
    let alices = refresh_token(&appview, "alice.test").await;
    let bobs = refresh_token(&appview, "bob.test").await;
    sign_out_everywhere(&appview).await;
    // A new sign-in with the app password does not bring the old refresh token back.
    appview
        .token_response("alice.test", PASSWORD, &[])
        .await
        .assert_status(200);
    redeem(&appview, &alices).await.assert_error(401, "UNAUTHORIZED");
    redeem(&appview, &bobs).await.assert_status(200);
}

#[tokio::test]
async fn the_session_of_an_app_password_ends_here_and_at_the_account_server() {
    let mut appview = TestAppView::start().await;
    let token = appview.sailor("alice.test", &[APP]).await.token;
    let push = |appview: &TestAppView, tag: &str| {
        let request = appview
            .request(Method::PUT, &format!("/v2/{APP}/manifests/{tag}"))
            .bearer_auth(&token)
            .body(appview.image("signed out").bytes().clone());
        Answer::of(request)
    };
    push(&appview, "before").await.assert_status(201);
    let refresh = refresh_token(&appview, "alice.test").await;
    sign_out_everywhere(&appview).await;
    assert_eq!(appview.pds.count("com.atproto.server.deleteSession"), 1);
    push(&appview, "after").await.assert_error(401, "UNAUTHORIZED");
    // Nothing comes back from the database either.
    appview.restart().await;
    push(&appview, "restarted")
        .await
        .assert_error(401, "UNAUTHORIZED");
    redeem(&appview, &refresh).await.assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_account_server_that_is_down_does_not_keep_the_session_here() {
    let mut appview = TestAppView::start().await;
    let token = appview.sailor("alice.test", &[APP]).await.token;
    let refresh = refresh_token(&appview, "alice.test").await;
    let browser = Browser::alice(&appview).await;
    let (name, cookie) = browser.cookie("atcr_session").unwrap();
    let csrf = browser.csrf_token().await;
    drop(browser);
    appview.pds.stop().await;
    let browser = Browser::new(&appview);
    browser.set_cookie(&name, &cookie);
    browser
        .post("/settings/sign-out-everywhere", &[("csrf_token", &csrf)])
        .await
        .assert_status(200);
    drop(browser);
    appview.pds.resume().await.unwrap();
    let push = appview
        .request(Method::PUT, &format!("/v2/{APP}/manifests/v1"))
        .bearer_auth(&token)
        .body(appview.image("down").bytes().clone());
    Answer::of(push).await.assert_error(401, "UNAUTHORIZED");
    redeem(&appview, &refresh).await.assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_app_password_from_before_is_asked_about_again() {
    let appview = TestAppView::start().await;
    appview
        .token_response("alice.test", PASSWORD, &[])
        .await
        .assert_status(200);
    sign_out_everywhere(&appview).await;
    // The owner deletes the leaked password and signs in with another: the old one was believed a moment ago.
    appview.pds.add_account("alice.test", "a new password");
    appview
        .token_response("alice.test", "a new password", &[])
        .await
        .assert_status(200);
    let asked = appview.pds.count(CREATE_SESSION);
    appview
        .token_response("alice.test", PASSWORD, &[])
        .await
        .assert_error(401, "UNAUTHORIZED");
    assert_eq!(appview.pds.count(CREATE_SESSION), asked + 1);
}
