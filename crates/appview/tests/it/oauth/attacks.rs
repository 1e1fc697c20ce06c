//! Callbacks and servers that must not be believed.

use atcr_sessions::oauth::{BrowserBinding, CallbackQuery, OAuthFlowError};
use atcr_test_support::fakes::FakePds;
use chrono::TimeDelta;

use super::{APP, alice_signed_in, browser, callback, did, sign_in, start};
use crate::harness::TestAppView;

/// The answer to a callback that an attacker has changed.
async fn refused(change: impl FnOnce(&mut CallbackQuery, &mut BrowserBinding)) -> (OAuthFlowError, usize) {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let mut query = callback(appview.pds.approve(url.as_str(), &appview.alice).unwrap());
    let mut browser = browser();
    change(&mut query, &mut browser);
    let error = appview.sign_in().finish(query, &browser).await.unwrap_err();
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    (error, appview.pds.count("oauth/code"))
}

#[tokio::test]
async fn a_callback_with_a_wrong_state_issuer_or_browser_is_refused_before_its_code_is_sent_anywhere() {
    let (error, codes) = refused(|query, _| query.state = Some("another".to_owned())).await;
    assert!(matches!(error, OAuthFlowError::NoSuchRequest) && codes == 0);
    let (error, codes) = refused(|query, _| query.state = None).await;
    assert!(matches!(error, OAuthFlowError::NoSuchRequest) && codes == 0);
    let (error, codes) = refused(|query, _| query.iss = Some("https://evil.example".to_owned())).await;
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }) && codes == 0);
    let (error, codes) = refused(|query, _| query.iss = None).await;
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }) && codes == 0);
    let (error, codes) = refused(|_, browser| browser.0 = "another browser".to_owned()).await;
    assert!(matches!(error, OAuthFlowError::OtherBrowser) && codes == 0);
}

#[tokio::test]
async fn a_replayed_callback_is_refused_here_and_leaves_the_session_alone() {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let query = callback(appview.pds.approve(url.as_str(), &appview.alice).unwrap());
    appview.sign_in().finish(query.clone(), &browser()).await.unwrap();
    let error = appview.sign_in().finish(query, &browser()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::NoSuchRequest));
    assert_eq!(appview.pds.count("oauth/code"), 1);
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn a_code_of_another_sign_in_is_worthless() {
    let appview = TestAppView::start().await;
    let flow = appview.sign_in();
    let (mine, stolen) = (
        flow.start("alice.test", start()).await.unwrap(),
        flow.start("bob.test", start()).await.unwrap(),
    );
    let mut query = callback(appview.pds.approve(mine.as_str(), &appview.alice).unwrap());
    query.code = callback(appview.pds.approve(stolen.as_str(), &appview.bob).unwrap()).code;
    let error = flow.finish(query, &browser()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::ServerRefused { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_signs_in_somebody_else_is_not_believed() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .misbehave(|server| server.sub = Some("did:plc:bobtestaaaaaaaaaaaaaaaaa".to_owned()));
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }), "{error}");
    for account in [&appview.alice, &appview.bob] {
        assert!(!appview.sign_in().is_live(&did(account)).await.unwrap());
    }
    assert_eq!(appview.pds.oauth_sessions(), 0, "the tokens are given back");
}

#[tokio::test]
async fn a_server_in_charge_of_no_such_account_is_not_believed() {
    let appview = TestAppView::start().await;
    let other = FakePds::start().await.unwrap();
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let query = callback(appview.pds.approve(url.as_str(), &appview.alice).unwrap());
    appview.pds.move_account(&appview.alice, &other.url());
    let error = appview.sign_in().finish(query, &browser()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }), "{error}");
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn a_server_that_calls_itself_otherwise_or_gives_bearer_tokens_is_not_used() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .misbehave(|server| server.issuer = Some("https://other.example".to_owned()));
    let error = appview.sign_in().start("alice.test", start()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::ServerRefused { .. }), "{error}");
    appview.pds.misbehave(|server| {
        server.issuer = None;
        server.bearer = true;
    });
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(matches!(error, OAuthFlowError::ServerRefused { .. }), "{error}");
    assert_eq!(appview.pds.oauth_sessions(), 0, "the tokens are given back");
}

#[tokio::test]
async fn a_refresh_that_brings_bearer_tokens_ends_the_session_and_gives_them_back() {
    let appview = alice_signed_in().await;
    appview.pds.misbehave(|server| server.bearer = true);
    appview.clock.advance(TimeDelta::hours(2));
    let sailor = appview.oauth_sailor(&appview.alice, &[APP]);
    let answer = sailor.try_push(APP, "v1", &appview.image("bearer")).await;
    answer.assert_error(401, "UNAUTHORIZED");
    assert!(
        answer.message().contains("not bound to a key"),
        "{}",
        answer.message()
    );
    assert_eq!(appview.pds.oauth_sessions(), 0);
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}
