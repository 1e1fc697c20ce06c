//! The token endpoint: who gets which token.

use atcr_atproto::syntax::Did;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, TestAppView};

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn claims_of(answer: &Answer) -> Value {
    answer.assert_status(200);
    claims(answer.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn ping_without_credentials_is_challenged() {
    let appview = TestAppView::start().await;
    for path in ["/v2/", "/v2"] {
        let answer = Answer::of(appview.get(path)).await;
        answer.assert_error(401, "UNAUTHORIZED");
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(
            answer.header("www-authenticate"),
            format!(
                "Bearer realm=\"{}/auth/token\",service=\"127.0.0.1\"",
                appview.url
            )
        );
    }
    let token = appview.token("alice.test", &[]).await;
    Answer::of(appview.get("/v2/").bearer_auth(token))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn each_request_is_challenged_for_what_it_needs() {
    let appview = TestAppView::start().await;
    let digest = format!("sha256:{}", "a".repeat(64));
    for (method, path, scope) in [
        (
            Method::GET,
            "/v2/alice.test/app/manifests/latest".to_owned(),
            "repository:alice.test/app:pull",
        ),
        (
            Method::HEAD,
            format!("/v2/alice.test/app/blobs/{digest}"),
            "repository:alice.test/app:pull",
        ),
        (
            Method::GET,
            "/v2/alice.test/app/tags/list".to_owned(),
            "repository:alice.test/app:pull",
        ),
        (
            Method::PUT,
            "/v2/alice.test/app/manifests/latest".to_owned(),
            "repository:alice.test/app:pull,push",
        ),
        (
            Method::POST,
            "/v2/alice.test/app/blobs/uploads/".to_owned(),
            "repository:alice.test/app:pull,push",
        ),
        (
            Method::DELETE,
            "/v2/alice.test/app/manifests/latest".to_owned(),
            "repository:alice.test/app:delete",
        ),
        (Method::GET, "/v2/_catalog".to_owned(), "registry:catalog:*"),
    ] {
        let answer = Answer::of(appview.request(method, &path)).await;
        assert_eq!(answer.status, 401, "{path}");
        let challenge = answer.header("www-authenticate");
        assert!(
            challenge.contains(&format!("scope=\"{scope}\"")),
            "{path}: {challenge}"
        );
    }
}

#[tokio::test]
async fn a_sailor_gets_what_is_his_under_each_of_his_names() {
    let appview = TestAppView::start().await;
    let did: Did = appview.alice.parse().unwrap();
    let hyphenated = did.to_image_segment().unwrap();
    for username in [
        "alice.test",
        "@alice.test",
        "ALICE.test",
        did.as_str(),
        hyphenated.as_str(),
    ] {
        for identity in ["alice.test", hyphenated.as_str()] {
            let scope = format!("repository:{identity}/app:pull,push");
            let answer = appview.token_response(username, PASSWORD, &[&scope]).await;
            let claims = claims_of(&answer);
            assert_eq!(claims["sub"], did.as_str());
            assert_eq!(claims["auth_method"], "app_password");
            let name = format!("{identity}/app");
            assert_eq!(
                claims["access"],
                json!([{ "type": "repository", "name": name, "actions": ["pull", "push"] }])
            );
        }
    }
    assert_eq!(
        appview.pds.count("com.atproto.server.createSession"),
        1,
        "one password is one login"
    );
}

#[tokio::test]
async fn the_answer_has_every_field_clients_look_for() {
    let appview = TestAppView::start().await;
    let answer = appview.token_response("alice.test", PASSWORD, &[]).await;
    let (body, claims) = (answer.json(), claims_of(&answer));
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!(body["expires_in"], 300);
    assert!(body["issued_at"].as_str().unwrap().ends_with('Z'));
    assert!(body.get("refresh_token").is_none());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(claims["access"], json!([]));
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("127.0.0.1"), &json!("127.0.0.1"))
    );
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        300
    );
}

#[tokio::test]
async fn several_scopes_come_in_one_token() {
    let appview = TestAppView::start().await;
    let scopes = [
        "repository:alice.test/app:pull,push repository:bob.test/base:pull",
        "registry:catalog:*",
    ];
    let claims = claims_of(&appview.token_response("alice.test", PASSWORD, &scopes).await);
    assert_eq!(
        claims["access"],
        json!([
            { "type": "repository", "name": "alice.test/app", "actions": ["pull", "push"] },
            { "type": "repository", "name": "bob.test/base", "actions": ["pull"] },
            { "type": "registry", "name": "catalog", "actions": ["*"] },
        ])
    );
}

#[tokio::test]
async fn nobody_gets_a_token_to_read_with() {
    let appview = TestAppView::start().await;
    let scope = "repository:alice.test/app:pull,push,delete";
    let claims = claims_of(&Answer::of(appview.get("/auth/token").query(&[("scope", scope)])).await);
    assert!(claims.get("sub").is_none());
    assert_eq!(
        claims["access"],
        json!([{ "type": "repository", "name": "alice.test/app", "actions": ["pull"] }])
    );
}

#[tokio::test]
async fn asking_for_somebody_elses_name_is_denied() {
    let appview = TestAppView::start().await;
    for actions in ["push", "pull,push", "delete", "*"] {
        for name in [
            "bob.test/app",
            "nobody.test/app",
            "did-plc-aaaaaaaaaaaaaaaaaaaaaaaa/app",
        ] {
            let scope = format!("repository:{name}:{actions}");
            let answer = appview.token_response("alice.test", PASSWORD, &[&scope]).await;
            answer.assert_error(403, "DENIED");
            assert!(answer.message().contains(name), "{}", answer.message());
        }
    }
    appview
        .token_response("alice.test", PASSWORD, &["repository:bob.test/app:pull"])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_tried_again_at_once() {
    let appview = TestAppView::start().await;
    for _ in 0..3 {
        let answer = appview.token_response("alice.test", "wrong", &[]).await;
        answer.assert_error(401, "UNAUTHORIZED");
        assert!(answer.header("www-authenticate").starts_with("Basic "));
    }
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 1);
    for username in ["nobody.test", "not a handle", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"] {
        appview
            .token_response(username, PASSWORD, &[])
            .await
            .assert_error(401, "UNAUTHORIZED");
    }
    appview
        .token_response("alice.test", PASSWORD, &[])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let appview = TestAppView::start().await;
    for guess in 0..10 {
        appview
            .token_response("alice.test", &format!("guess {guess}"), &[])
            .await
            .assert_error(401, "UNAUTHORIZED");
    }
    let answer = appview.token_response("alice.test", "guess 11", &[]).await;
    answer.assert_error(429, "TOOMANYREQUESTS");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 10);
    // Another account is another matter.
    appview
        .token_response("bob.test", PASSWORD, &[])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn guesses_that_come_at_once_do_not_pass_the_limit_together() {
    let appview = TestAppView::start().await;
    let guesses = (0..40).map(|guess| {
        let appview = &appview;
        async move {
            let password = format!("guess {guess}");
            let answer = appview.token_response("alice.test", &password, &[]).await;
            answer.status.as_u16()
        }
    });
    let statuses = futures_util::future::join_all(guesses).await;
    let count = |status: u16| statuses.iter().filter(|got| **got == status).count();
    assert_eq!((count(401), count(429)), (10, 30));
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 10);
}

async fn post(appview: &TestAppView, form: &[(&str, &str)]) -> Answer {
    Answer::of(appview.request(Method::POST, "/auth/token").form(form)).await
}

#[tokio::test]
async fn the_form_takes_a_password_and_gives_a_refresh_token_when_asked() {
    let appview = TestAppView::start().await;
    let scope = "repository:alice.test/app:pull,push";
    let form = [
        ("grant_type", "password"),
        ("username", "alice.test"),
        ("password", PASSWORD),
        ("service", "127.0.0.1"),
        ("client_id", "test"),
        ("scope", scope),
    ];
    let answer = post(&appview, &form).await;
    assert_eq!(claims_of(&answer)["sub"], appview.alice.as_str());
    assert_eq!(answer.json()["scope"], scope);
    assert!(answer.json().get("refresh_token").is_none());

    let offline: Vec<(&str, &str)> = form.into_iter().chain([("access_type", "offline")]).collect();
    let refresh = post(&appview, &offline).await.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let redeem = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
        ("scope", scope),
    ];
    for _ in 0..2 {
        let claims = claims_of(&post(&appview, &redeem).await);
        assert_eq!(claims["sub"], appview.alice.as_str());
        assert_eq!(claims["auth_method"], "app_password");
    }
    let foreign = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
        ("scope", "repository:bob.test/app:push"),
    ];
    post(&appview, &foreign).await.assert_error(403, "DENIED");
}

#[tokio::test]
async fn a_refresh_token_outlives_a_restart_but_not_the_session_behind_it() {
    let mut appview = TestAppView::start().await;
    let form = [
        ("grant_type", "password"),
        ("username", "alice.test"),
        ("password", PASSWORD),
        ("access_type", "offline"),
    ];
    let refresh = post(&appview, &form).await.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    appview.restart().await;
    let redeem = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    post(&appview, &redeem).await.assert_status(200);

    appview.pds.end_sessions();
    // The end of the session shows when it is to be renewed.
    appview.clock.advance(chrono::TimeDelta::hours(3));
    post(&appview, &redeem).await.assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_form_without_a_usable_grant_is_refused() {
    let appview = TestAppView::start().await;
    for form in [
        vec![],
        vec![("grant_type", "client_credentials")],
        vec![("grant_type", "password"), ("username", "alice.test")],
        vec![("grant_type", "refresh_token")],
    ] {
        assert_eq!(post(&appview, &form).await.status, 400);
    }
    let unknown = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "atcr_refresh_guess"),
    ];
    post(&appview, &unknown).await.assert_error(401, "UNAUTHORIZED");
    // A password in a query would end up in logs; it is not looked at.
    let query = [
        ("grant_type", "password"),
        ("username", "alice.test"),
        ("password", PASSWORD),
    ];
    let answer = Answer::of(appview.get("/auth/token").query(&query)).await;
    assert!(claims_of(&answer).get("sub").is_none());
}

#[tokio::test]
async fn a_malformed_scope_is_refused() {
    let appview = TestAppView::start().await;
    for scope in [
        "repository",
        "repository:alice.test/app",
        "::",
        "repository:a\"b:pull",
    ] {
        assert_eq!(
            appview
                .token_response("alice.test", PASSWORD, &[scope])
                .await
                .status,
            400,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn basic_on_the_registry_itself_is_the_same_authorisation() {
    let appview = TestAppView::start().await;
    let ask = |path: &str, password: &str| {
        Answer::of(
            appview
                .get(path)
                .basic_auth("alice.test", Some(password.to_owned())),
        )
    };
    ask("/v2/", PASSWORD).await.assert_status(200);
    ask("/v2/", "wrong").await.assert_error(401, "UNAUTHORIZED");
    let image = appview.image("basic");
    let put = |name: &str| {
        let path = format!("/v2/{name}/manifests/latest");
        let request = appview
            .request(Method::PUT, &path)
            .basic_auth("alice.test", Some(PASSWORD));
        Answer::of(request.body(image.bytes().clone()))
    };
    put("alice.test/app").await.assert_status(201);
    ask("/v2/alice.test/app/manifests/latest", PASSWORD)
        .await
        .assert_status(200);
    put("bob.test/app").await.assert_error(403, "DENIED");
    assert_eq!(
        appview.pds.count("com.atproto.server.createSession"),
        2,
        "one right, one wrong"
    );
}

#[tokio::test]
async fn the_first_sign_in_makes_a_profile_and_a_failure_to_does_not_matter() {
    let appview = TestAppView::start().await;
    let profile = || {
        appview
            .pds
            .record(&appview.alice, "io.atcr.sailor.profile", "self")
    };
    appview.pds.set_fault(
        "com.atproto.repo.applyWrites",
        Some(atcr_test_support::fakes::PdsFault::Status(
            500,
            "InternalServerError",
        )),
    );
    appview.token("alice.test", &[]).await;
    assert_eq!(profile(), None);
    appview.pds.set_fault("com.atproto.repo.applyWrites", None);
    // The next login that reaches the PDS tries again.
    let did: Did = appview.bob.parse().unwrap();
    appview.token(did.as_str(), &[]).await;
    let made = appview
        .pds
        .record(&appview.bob, "io.atcr.sailor.profile", "self")
        .unwrap();
    assert_eq!(made["defaultHold"], appview.hold.did());
    assert_eq!(made["$type"], "io.atcr.sailor.profile");
}

#[tokio::test]
async fn an_existing_profile_is_left_alone() {
    let appview = TestAppView::start().await;
    let own = json!({ "$type": "io.atcr.sailor.profile", "createdAt": "2026-01-01T00:00:00Z" });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", own.clone());
    appview.token("alice.test", &[]).await;
    assert_eq!(
        appview
            .pds
            .record(&appview.alice, "io.atcr.sailor.profile", "self"),
        Some(own)
    );
}

#[tokio::test]
async fn guessing_by_one_client_keeps_nobody_out_who_is_in() {
    let appview = TestAppView::start_with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let from = async |client: &str, username: &str, password: &str| {
        let request = appview
            .get("/auth/token")
            .header("x-forwarded-for", client)
            .basic_auth(username, Some(password.to_owned()));
        Answer::of(request).await.status.as_u16()
    };
    assert_eq!(from("192.0.2.1", "alice.test", PASSWORD).await, 200);
    for guess in 0..60 {
        let account = format!("nobody{}.test", guess / 9);
        assert_eq!(from("192.0.2.1", &account, "guess").await, 401);
    }
    assert_eq!(
        from("192.0.2.1", "bob.test", PASSWORD).await,
        429,
        "a new name from there has to wait"
    );
    assert_eq!(
        from("192.0.2.1", "alice.test", PASSWORD).await,
        200,
        "a known one has not"
    );
    assert_eq!(
        from("192.0.2.2", "bob.test", PASSWORD).await,
        200,
        "nor has another client"
    );
}

#[tokio::test]
async fn a_profile_that_names_its_hold_by_url_is_written_anew() {
    let appview = TestAppView::start().await;
    let old = json!({
        "$type": "io.atcr.sailor.profile", "createdAt": "2025-10-01T00:00:00Z", "defaultHold": appview.hold.url(),
        "theme": "dark",
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", old);
    appview.token("alice.test", &[]).await;
    let new = appview
        .pds
        .record(&appview.alice, "io.atcr.sailor.profile", "self")
        .unwrap();
    assert_eq!(new["defaultHold"], appview.hold.did());
    assert_eq!(
        (&new["createdAt"], &new["theme"]),
        (&json!("2025-10-01T00:00:00Z"), &json!("dark"))
    );
}
