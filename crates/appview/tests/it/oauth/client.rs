//! Who this server is as an OAuth client.

use super::{alice_signed_in, did, sign_in};
use crate::harness::{Answer, TestAppView};

#[tokio::test]
async fn sessions_for_other_scopes_are_dropped_at_the_start() {
    let mut appview = alice_signed_in().await;
    appview.configure(|config| config.oauth.permission_set = "io.atcr.authFullApp".to_owned());
    appview.restart().await;
    assert!(
        !appview.sign_in().is_live(&did(&appview.alice)).await.unwrap(),
        "the client_id of a loopback client names its scopes"
    );
}

/// A confidential client; servers and browsers here do not mind that it is not at its address.
async fn confidential() -> TestAppView {
    let appview = TestAppView::start_with(|config| {
        "https://registry.example".clone_into(&mut config.server.base_url);
    })
    .await;
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview
}

#[tokio::test]
async fn a_confidential_clients_sessions_for_other_scopes_are_dropped_at_the_start() {
    let mut appview = confidential().await;
    appview.restart().await;
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    appview.configure(|config| config.oauth.permission_set = "io.atcr.authFullApp".to_owned());
    appview.restart().await;
    assert!(
        appview.sign_in().is_live(&did(&appview.alice)).await.unwrap(),
        "it is among the steps still"
    );
    // A session of the step that is asked for no more.
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview.configure(|config| config.oauth.permission_set = String::new());
    appview.restart().await;
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn sessions_of_another_client_key_are_dropped_at_the_start() {
    let mut appview = confidential().await;
    appview.restart().await;
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    appview.stop().await;
    std::fs::remove_file(appview.data().join("data/oauth/client.key")).unwrap();
    appview.restart().await;
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn a_public_client_has_documents_without_a_key() {
    let appview = TestAppView::start().await;
    let answer = Answer::of(appview.get("/oauth-client-metadata.json")).await;
    answer.assert_status(200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.json()["token_endpoint_auth_method"], "none");
    let keys = Answer::of(appview.get("/oauth-jwks.json")).await;
    assert_eq!(keys.json(), serde_json::json!({ "keys": [] }));
}

#[tokio::test]
async fn a_confidential_client_publishes_its_key_and_keeps_it() {
    let mut appview = TestAppView::start_with(|config| {
        config.server.base_url = "https://registry.example".to_owned();
    })
    .await;
    let answer = Answer::of(appview.get("/oauth-client-metadata.json")).await;
    let document = answer.json();
    assert_eq!(
        document["client_id"],
        "https://registry.example/oauth-client-metadata.json"
    );
    assert_eq!(
        document["redirect_uris"][0],
        "https://registry.example/auth/oauth/callback"
    );
    assert_eq!(document["token_endpoint_auth_method"], "private_key_jwt");
    assert_eq!(document["token_endpoint_auth_signing_alg"], "ES256");
    assert_eq!(document["dpop_bound_access_tokens"], true);
    assert_eq!(document["application_type"], "web");
    let key = &document["jwks"]["keys"][0];
    assert!(key["kid"].as_str().unwrap().starts_with("did:key:zDn"), "{key}");
    assert!(key.get("d").is_none(), "the private part stays here");
    assert_eq!(
        Answer::of(appview.get("/client-metadata.json")).await.json(),
        document
    );
    assert_eq!(
        Answer::of(appview.get("/oauth-jwks.json")).await.json(),
        document["jwks"]
    );
    let file = std::fs::metadata(appview.data().join("data/oauth/client.key")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
    assert_eq!(mode & 0o777, 0o600);
    appview.restart().await;
    assert_eq!(
        Answer::of(appview.get("/oauth-client-metadata.json"))
            .await
            .json(),
        document
    );
}
