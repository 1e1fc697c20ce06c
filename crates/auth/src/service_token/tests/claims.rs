//! What a service token says: audience, life, method.

use atcr_atproto::crypto::Curve;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{ALICE, HOLD, did, forge, header, now};

#[tokio::test]
async fn fragments_of_issuer_and_audience_are_set_aside() {
    let alice = alice(Curve::K256);
    let claims = with(json!({"iss": format!("{ALICE}#atproto_labeler"), "aud": format!("{HOLD}#atcr_hold")}));
    assert_eq!(alice.present_claims(&claims).await.unwrap().did.as_str(), ALICE);
}

#[tokio::test]
async fn another_audience_is_refused() {
    let alice = alice(Curve::K256);
    for aud in [
        json!("did:web:other.example.com"),
        json!("did:web:hold.example.com.evil.example"),
        json!(ALICE),
        json!(""),
        json!("#did:web:hold.example.com"),
        json!("did:web:hold.example.com%23x"),
        json!("DID:WEB:hold.example.com"),
    ] {
        let answer = alice.present_claims(&with(json!({"aud": aud}))).await;
        assert!(
            matches!(answer, Err(ServiceTokenError::WrongAudience)),
            "{aud}: {answer:?}"
        );
    }
    for aud in [json!([HOLD]), json!({"did": HOLD}), Value::Null] {
        let answer = alice.present_claims(&with(json!({"aud": aud}))).await;
        assert!(
            matches!(answer, Err(ServiceTokenError::Malformed { .. })),
            "{aud}: {answer:?}"
        );
    }
    assert_eq!(alice.lookups(), 0);
}

#[tokio::test]
async fn life_is_limited_with_five_seconds_of_leeway() {
    let alice = alice(Curve::K256);
    let present = async |exp: i64| {
        alice
            .present_claims(&with(json!({"exp": now().timestamp() + exp})))
            .await
    };
    for exp in [-4, 0, 1, 300, 305] {
        present(exp).await.unwrap();
    }
    for exp in [-5, -6, -1000] {
        assert!(
            matches!(present(exp).await, Err(ServiceTokenError::Expired)),
            "{exp}"
        );
    }
    for exp in [306, 3600, 86_400, i64::from(i32::MAX)] {
        assert!(
            matches!(present(exp).await, Err(ServiceTokenError::LivesTooLong)),
            "{exp}"
        );
    }
    for exp in [json!(i64::MAX), json!(i64::MIN)] {
        assert!(
            alice.present_claims(&with(json!({"exp": exp}))).await.is_err(),
            "{exp}"
        );
    }
    for exp in [
        Value::Null,
        json!("1800000060"),
        json!(1.8e9),
        json!([1_800_000_060]),
    ] {
        let answer = alice.present_claims(&with(json!({"exp": exp}))).await;
        assert!(
            matches!(answer, Err(ServiceTokenError::Malformed { .. })),
            "{exp}: {answer:?}"
        );
    }
    let early = alice
        .present_claims(&with(json!({"nbf": now().timestamp() + 6})))
        .await;
    assert!(matches!(early, Err(ServiceTokenError::NotYetValid)));
    alice
        .present_claims(&with(json!({"nbf": now().timestamp() + 5})))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_method_is_the_called_one_the_universal_one_or_absent() {
    let alice = alice(Curve::K256);
    for lxm in [json!(CALLED), json!(UNIVERSAL_METHOD), Value::Null] {
        alice.present_claims(&with(json!({"lxm": lxm}))).await.unwrap();
    }
    for lxm in [
        "io.atcr.hold.completeUpload",
        "com.atproto.repo.putRecord",
        "",
        "*",
        "io.atcr.hold.initiateupload",
    ] {
        let answer = alice.present_claims(&with(json!({"lxm": lxm}))).await;
        assert!(
            matches!(answer, Err(ServiceTokenError::WrongMethod { .. })),
            "{lxm}: {answer:?}"
        );
    }
    assert!(
        alice
            .present_claims(&with(json!({"lxm": [CALLED]})))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_port_in_the_audience_may_be_spelled_either_way() {
    let alice = alice(Curve::K256);
    let own = did("did:web:172.28.0.3%3A8080");
    for aud in [
        "did:web:172.28.0.3%3A8080",
        "did:web:172.28.0.3%3a8080",
        "did:web:172.28.0.3:8080",
        "did:web:172.28.0.3:8080#atcr_hold",
    ] {
        let token = forge(&header(&alice.key), &with(json!({"aud": aud})), &alice.key);
        for own in [&own, &did("did:web:172.28.0.3:8080")] {
            verify_service_token(&token, own, CALLED, &alice.directory, now())
                .await
                .unwrap();
        }
    }
    for aud in [
        "did:web:172.28.0.3:8081",
        "did:web:172.28.0.3",
        "did:web:172.28.0.3:8080:x",
    ] {
        let token = forge(&header(&alice.key), &with(json!({"aud": aud})), &alice.key);
        let answer = verify_service_token(&token, &own, CALLED, &alice.directory, now()).await;
        assert!(matches!(answer, Err(ServiceTokenError::WrongAudience)), "{aud}");
    }
}
