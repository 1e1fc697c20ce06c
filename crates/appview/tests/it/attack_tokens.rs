//! Tokens that must not open anything.

use atcr_atproto::clock::Clock as _;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_auth::registry_token::{AccessEntry, RegistryKey, RegistryTokenIssuer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::harness::{Answer, Sailor, TestAppView};

fn access(name: &str) -> AccessEntry {
    AccessEntry {
        resource_type: "repository".to_owned(),
        name: name.to_owned(),
        actions: ["pull", "push", "delete"].map(str::to_owned).to_vec(),
    }
}

/// A token of `did` for `name`, made with `key` in the name of `service`.
fn forge(appview: &TestAppView, key: RegistryKey, service: &str, did: &str, name: &str) -> String {
    let principal = Principal::Sailor {
        did: did.parse().unwrap(),
        auth_method: AuthMethod::AppPassword,
    };
    let issued = RegistryTokenIssuer::new(key, service)
        .issue(&principal, [access(name)], appview.clock.now())
        .unwrap();
    issued.token.expose_secret().to_owned()
}

fn own_key(appview: &TestAppView) -> RegistryKey {
    RegistryKey::load_or_create(&appview.data().join("data/auth/private-key.pem")).unwrap()
}

async fn ping(appview: &TestAppView, token: &str) -> Answer {
    Answer::of(appview.get("/v2/").bearer_auth(token)).await
}

#[tokio::test]
async fn only_tokens_of_this_key_and_this_service_are_taken() {
    let appview = TestAppView::start().await;
    let (alice, name) = (appview.alice.clone(), "alice.test/app");
    let good = forge(&appview, own_key(&appview), "127.0.0.1", &alice, name);
    ping(&appview, &good).await.assert_status(200);
    for token in [
        forge(&appview, own_key(&appview), "registry.example.com", &alice, name),
        forge(
            &appview,
            RegistryKey::generate().unwrap(),
            "127.0.0.1",
            &alice,
            name,
        ),
        good[..good.len() - 2].to_owned(),
        format!("{good}x"),
        "not.a.token".to_owned(),
    ] {
        let answer = ping(&appview, &token).await;
        answer.assert_error(401, "UNAUTHORIZED");
        assert!(
            answer
                .header("www-authenticate")
                .contains("error=\"invalid_token\"")
        );
    }
}

#[tokio::test]
async fn the_tokens_own_header_chooses_nothing() {
    let appview = TestAppView::start().await;
    let good = forge(
        &appview,
        own_key(&appview),
        "127.0.0.1",
        &appview.alice,
        "alice.test/app",
    );
    let parts: Vec<&str> = good.split('.').collect();
    let header = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    for token in [
        format!("{}.{}.", header(json!({ "alg": "none", "typ": "JWT" })), parts[1]),
        format!("{}.{}.{}", header(json!({ "alg": "none" })), parts[1], parts[2]),
        format!(
            "{}.{}.{}",
            header(json!({ "alg": "HS256", "typ": "JWT" })),
            parts[1],
            parts[2]
        ),
        format!(
            "{}.{}.{}",
            header(json!({ "alg": "ES256", "jwk": { "kty": "EC" } })),
            parts[1],
            parts[2]
        ),
    ] {
        ping(&appview, &token).await.assert_error(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn claims_cannot_be_exchanged_under_a_signature() {
    let appview = TestAppView::start().await;
    let alice = forge(
        &appview,
        own_key(&appview),
        "127.0.0.1",
        &appview.alice,
        "alice.test/app",
    );
    let bob = forge(
        &appview,
        own_key(&appview),
        "127.0.0.1",
        &appview.bob,
        "alice.test/app",
    );
    let (alice, bob): (Vec<&str>, Vec<&str>) = (alice.split('.').collect(), bob.split('.').collect());
    ping(&appview, &format!("{}.{}.{}", bob[0], alice[1], bob[2]))
        .await
        .assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_expired_token_opens_nothing_but_an_upload_that_is_under_way() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
    let begun = Answer::of(alice.request(Method::POST, "/v2/alice.test/app/blobs/uploads/")).await;
    begun.assert_status(202);
    let session = begun.header("location").to_owned();

    appview.clock.advance(TimeDelta::minutes(6));
    for (method, path) in [
        (Method::GET, "/v2/"),
        (Method::GET, "/v2/alice.test/app/tags/list"),
        (Method::PUT, "/v2/alice.test/app/manifests/latest"),
        (Method::POST, "/v2/alice.test/app/blobs/uploads/"),
    ] {
        Answer::of(alice.request(method, path))
            .await
            .assert_error(401, "UNAUTHORIZED");
    }
    assert_eq!(Answer::of(alice.request(Method::GET, &session)).await.status, 204);
    let patched = Answer::of(alice.request(Method::PATCH, &session).body("abc")).await;
    patched.assert_status(202);
    // That it was good for the upload is remembered; it is good for nothing else.
    for path in ["/v2/", "/v2/alice.test/app/tags/list"] {
        alice.get(path).await.assert_error(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_token_for_one_repository_does_not_open_another() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
    let image = appview.image("other");
    let refused = alice.try_push("alice.test/other", "latest", &image).await;
    refused.assert_error(401, "UNAUTHORIZED");
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(
        challenge.contains("repository:alice.test/other:pull,push"),
        "{challenge}"
    );
    alice
        .get("/v2/alice.test/other/tags/list")
        .await
        .assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_token_that_names_somebody_elses_repository_does_not_open_it() {
    let appview = TestAppView::start().await;
    // As if the handle had belonged to alice when the token was made.
    let token = forge(
        &appview,
        own_key(&appview),
        "127.0.0.1",
        &appview.alice,
        "bob.test/app",
    );
    let alice = Sailor {
        appview: &appview,
        token,
    };
    alice
        .try_push("bob.test/app", "latest", &appview.image("x"))
        .await
        .assert_error(403, "DENIED");
    alice
        .delete("/v2/bob.test/app/manifests/latest")
        .await
        .assert_error(403, "DENIED");
    Answer::of(alice.request(Method::POST, "/v2/bob.test/app/blobs/uploads/"))
        .await
        .assert_error(403, "DENIED");
    assert!(appview.pds.rkeys(&appview.bob, "io.atcr.manifest").is_empty());
}

#[tokio::test]
async fn an_anonymous_token_reads_and_nothing_else() {
    let appview = TestAppView::start().await;
    let owner = appview.sailor("alice.test", &["alice.test/app"]).await;
    let image = appview.image("public");
    owner.push("alice.test/app", "latest", &image).await;

    let scope = [("scope", "repository:alice.test/app:pull,push,delete")];
    let answer = Answer::of(appview.get("/auth/token").query(&scope)).await;
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let nobody = Sailor {
        appview: &appview,
        token,
    };
    nobody
        .get("/v2/alice.test/app/manifests/latest")
        .await
        .assert_status(200);
    nobody
        .try_push("alice.test/app", "latest", &image)
        .await
        .assert_error(401, "UNAUTHORIZED");
    nobody
        .delete("/v2/alice.test/app/manifests/latest")
        .await
        .assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn two_authorization_headers_are_one_too_many() {
    let appview = TestAppView::start().await;
    let token = appview.token("alice.test", &[]).await;
    let request = appview
        .get("/v2/")
        .bearer_auth(&token)
        .header("authorization", "Basic Og==");
    Answer::of(request).await.assert_error(401, "UNAUTHORIZED");
}
