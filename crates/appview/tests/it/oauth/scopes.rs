//! Which rights are asked for, and what servers make of that.

use std::collections::HashMap;

use atcr_sessions::oauth::OAuthFlowError;

use super::{did, sign_in, start};
use crate::harness::TestAppView;

#[tokio::test]
async fn the_request_is_announced_with_pkce_a_hint_and_the_least_scopes() {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(
        query.len(),
        2,
        "nothing but client_id and request_uri is in the browser's hands"
    );
    assert!(query["client_id"].starts_with("http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A"));
    let announced = appview.pds.announced(url.as_str()).unwrap();
    assert_eq!(announced["code_challenge_method"], "S256");
    assert_eq!(announced["login_hint"], "alice.test");
    assert_eq!(
        announced["redirect_uri"],
        format!("{}/auth/oauth/callback", appview.url)
    );
    let scope = &announced["scope"];
    assert!(
        scope.starts_with("atproto repo:io.atcr.manifest ") && !scope.contains("transition"),
        "{scope}"
    );
    assert!(
        scope.contains(" rpc:com.atproto.repo.getRecord?aud=* blob:application/vnd.oci."),
        "{scope}"
    );
}

#[tokio::test]
async fn a_server_without_granular_scopes_is_asked_for_the_coarse_one() {
    let appview = TestAppView::start().await;
    appview.pds.misbehave(|server| {
        server.known_scopes = Some(vec!["atproto".to_owned(), "transition:generic".to_owned()]);
    });
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let announced = appview.pds.announced(url.as_str()).unwrap();
    assert_eq!(announced["scope"], "atproto transition:generic");
    // It is remembered: the next sign-in is one request.
    appview.pds.forget_calls();
    appview.sign_in().start("alice.test", start()).await.unwrap();
    assert_eq!(appview.pds.count("oauth/par"), 1);
}

#[tokio::test]
async fn a_server_that_drops_scopes_is_asked_for_the_coarse_one_the_next_time() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .misbehave(|server| server.granted_scope = Some("atproto".to_owned()));
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(matches!(error, OAuthFlowError::Denied { .. }), "{error}");
    assert_eq!(appview.pds.oauth_sessions(), 0, "what is of no use is given back");
    appview.pds.misbehave(|server| server.granted_scope = None);
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let announced = appview.pds.announced(url.as_str()).unwrap();
    assert_eq!(announced["scope"], "atproto transition:generic");
}

/// An AppView that asks for a permission set, at a server that grants `granted`.
async fn with_permission_set(granted: &str) -> TestAppView {
    let appview = TestAppView::start_with(|config| {
        "io.atcr.authFullApp".clone_into(&mut config.oauth.permission_set);
    })
    .await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let asked = appview.pds.announced(url.as_str()).unwrap()["scope"].clone();
    assert!(asked.contains("include:io.atcr.authFullApp"), "{asked}");
    let granted = asked.replace("include:io.atcr.authFullApp", granted);
    let granted = granted.split(' ').filter(|scope| !scope.is_empty());
    let granted = granted.collect::<Vec<_>>().join(" ");
    appview
        .pds
        .misbehave(|server| server.granted_scope = Some(granted));
    appview
}

#[tokio::test]
async fn a_permission_set_may_come_back_as_what_it_stands_for() {
    let appview = with_permission_set("repo:io.atcr.manifest repo:io.atcr.tag").await;
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn a_server_that_drops_the_permission_set_is_asked_for_its_parts_the_next_time() {
    let appview = with_permission_set("").await;
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, OAuthFlowError::Denied { reason, .. } if reason.contains("include:io.atcr.authFullApp")),
        "{error}"
    );
    assert_eq!(appview.pds.oauth_sessions(), 0);
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let asked = appview.pds.announced(url.as_str()).unwrap()["scope"].clone();
    assert!(
        asked.contains(" repo:io.atcr.manifest ") && !asked.contains("include:"),
        "{asked}"
    );
}
