use atcr_atproto::crypto::{Curve, SigningKey};
use chrono::TimeDelta;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

use super::*;
use crate::fixtures::{
    ALICE, APPVIEW, Directory, HOLD, MALLORY, did, forge, header, high_s, now, seconds, signing_input,
    with_signature,
};

struct Fixture {
    key: SigningKey,
    directory: Directory,
}

fn fixture() -> Fixture {
    let key = SigningKey::generate(Curve::P256);
    let directory = Directory::with(APPVIEW, &[("atproto", &key.public_key())]);
    Fixture { key, directory }
}

fn proof() -> ContentProof {
    ContentProof {
        upload_id: "up-1".to_owned(),
        digest: format!("sha256:{}", "a".repeat(64)),
        size: 42,
    }
}

fn claims() -> Value {
    let seconds = now().timestamp();
    json!({"iss": APPVIEW, "aud": HOLD, "sub": ALICE, "iat": seconds, "exp": seconds + 60, "jti": "abc"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

impl Fixture {
    fn signer(&self) -> AppViewTokenSigner {
        AppViewTokenSigner::new(self.key.clone(), did(APPVIEW)).unwrap()
    }

    async fn present(&self, token: &str) -> Result<AppViewClaims, AppViewTokenError> {
        verify_appview_token(token, &did(HOLD), &did(APPVIEW), &self.directory, now()).await
    }

    async fn present_claims(&self, claims: &Value) -> Result<AppViewClaims, AppViewTokenError> {
        self.present(&forge(&header(&self.key), claims, &self.key)).await
    }
}

#[tokio::test]
async fn a_token_speaks_for_a_sailor_and_proves_content_when_asked_to() {
    let fixture = fixture();
    let plain = fixture
        .signer()
        .sign(&did(HOLD), &did(ALICE), None, now())
        .unwrap();
    let plain = fixture.present(plain.expose_secret()).await.unwrap();
    assert_eq!(
        (
            plain.sub.as_str(),
            plain.content_proof(),
            plain.concerns_content()
        ),
        (ALICE, None, false)
    );
    let proving = fixture
        .signer()
        .sign(&did(HOLD), &did(ALICE), Some(proof()), now())
        .unwrap();
    let proving = fixture.present(proving.expose_secret()).await.unwrap();
    assert_eq!(
        (proving.content_proof(), proving.concerns_content()),
        (Some(proof()), true)
    );
    let wire = serde_json::to_value(&proving).unwrap();
    assert_eq!((&wire["uploadId"], &wire["size"]), (&json!("up-1"), &json!(42)));
    assert!(wire["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn a_proof_with_a_claim_missing_proves_nothing() {
    let fixture = fixture();
    for missing in ["uploadId", "digest", "size"] {
        let mut claims = claims();
        for (name, value) in [
            ("uploadId", json!("up-1")),
            ("digest", json!("sha256:00")),
            ("size", json!(1)),
        ] {
            if name != missing {
                claims[name] = value;
            }
        }
        let read = fixture.present_claims(&claims).await.unwrap();
        assert_eq!(
            (read.content_proof(), read.concerns_content()),
            (None, true),
            "{missing}"
        );
    }
    assert!(fixture.present_claims(&with("size", json!(-1))).await.is_err());
}

#[tokio::test]
async fn only_the_trusted_appview_is_believed_and_only_here() {
    let fixture = fixture();
    for iss in [
        MALLORY,
        "did:web:registry.example.com%3A443",
        "did:web:registry.example.com.evil.example",
    ] {
        let answer = fixture.present_claims(&with("iss", json!(iss))).await;
        assert!(
            matches!(answer, Err(AppViewTokenError::UntrustedIssuer)),
            "{iss}: {answer:?}"
        );
    }
    let answer = fixture
        .present_claims(&with("aud", json!("did:web:other.example.com")))
        .await;
    assert!(matches!(answer, Err(AppViewTokenError::WrongAudience)));
    assert_eq!(fixture.directory.lookups.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn life_is_a_minute() {
    let fixture = fixture();
    let token = fixture
        .signer()
        .sign(&did(HOLD), &did(ALICE), None, now())
        .unwrap();
    let at = async |seconds| {
        let when = now() + TimeDelta::seconds(seconds);
        verify_appview_token(
            token.expose_secret(),
            &did(HOLD),
            &did(APPVIEW),
            &fixture.directory,
            when,
        )
        .await
    };
    at(-5).await.unwrap();
    at(64).await.unwrap();
    assert!(matches!(at(65).await, Err(AppViewTokenError::Expired)));
    assert!(matches!(at(-6).await, Err(AppViewTokenError::NotYetValid)));
    let long = fixture
        .present_claims(&with("exp", json!(now().timestamp() + 61)))
        .await;
    assert!(matches!(long, Err(AppViewTokenError::LivesTooLong)));
    let backdated = fixture
        .present_claims(&with("iat", json!(now().timestamp() - 3600)))
        .await;
    assert!(matches!(backdated, Err(AppViewTokenError::LivesTooLong)));
}

#[tokio::test]
async fn any_p256_key_of_the_appview_signs_and_no_other() {
    let (atproto, appview) = (
        SigningKey::generate(Curve::K256),
        SigningKey::generate(Curve::P256),
    );
    let keys = [
        ("atproto", &atproto.public_key()),
        ("atcr_appview", &appview.public_key()),
    ];
    let fixture = Fixture {
        key: appview,
        directory: Directory::with(APPVIEW, &keys),
    };
    fixture.present_claims(&claims()).await.unwrap();
    for (header, key) in [
        (json!({"alg": "ES256K"}), &atproto),
        (json!({"alg": "ES256"}), &atproto),
        (json!({"alg": "ES256"}), &SigningKey::generate(Curve::P256)),
        (json!({"alg": "none"}), &fixture.key),
        (json!({"alg": "HS256"}), &fixture.key),
    ] {
        let answer = fixture.present(&forge(&header, &claims(), key)).await;
        let refused = AppViewTokenError::BadSignature;
        let unsupported = AppViewTokenError::UnsupportedAlgorithm;
        assert!(
            answer.as_ref().is_err_and(|error| [&refused, &unsupported]
                .iter()
                .any(|expected| { std::mem::discriminant(error) == std::mem::discriminant(*expected) })),
            "{header}: {answer:?}"
        );
    }
    assert!(matches!(
        AppViewTokenSigner::new(atproto, did(APPVIEW)),
        Err(AppViewTokenError::WrongKeyType)
    ));
}

#[tokio::test]
async fn a_high_s_is_refused() {
    let fixture = fixture();
    let input = signing_input(&header(&fixture.key), &claims());
    let answer = fixture
        .present(&with_signature(&input, &high_s(&fixture.key, input.as_bytes())))
        .await;
    assert!(
        matches!(answer, Err(AppViewTokenError::BadSignature)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_rotated_key_is_fetched_once() {
    let mut fixture = fixture();
    fixture.key = SigningKey::generate(Curve::P256);
    fixture
        .directory
        .publish(APPVIEW, &[("atproto", &fixture.key.public_key())]);
    fixture.present_claims(&claims()).await.unwrap();
    assert_eq!(fixture.directory.refreshes.load(Ordering::SeqCst), 1);
    fixture.directory.set_down();
    assert!(
        fixture
            .present_claims(&claims())
            .await
            .unwrap_err()
            .is_transient()
    );
}

#[tokio::test]
async fn a_service_token_is_no_appview_token() {
    let fixture = fixture();
    let seconds = now().timestamp();
    for iss in [ALICE, APPVIEW] {
        let service = json!({
            "iss": iss, "aud": HOLD, "lxm": "com.atproto.repo.getRecord", "iat": seconds, "exp": seconds + 60, "jti": "x",
        });
        assert!(fixture.present_claims(&service).await.is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_time_in_a_token_does_more_than_refuse_it(exp in seconds(), iat in seconds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut claims = with("exp", json!(exp));
        claims["iat"] = json!(iat);
        let answer = runtime.block_on(fixture().present_claims(&claims));
        let (exp, iat, now) = (i128::from(exp), i128::from(iat), i128::from(now().timestamp()));
        let is_in_time = exp > now - 5 && iat <= now + 5 && exp - iat <= 60;
        prop_assert_eq!(answer.is_ok(), is_in_time);
    }
}

#[tokio::test]
async fn ports_in_both_names_may_be_spelled_either_way() {
    let fixture = fixture();
    let claims = with("aud", json!("did:web:localhost:8080"));
    let token = forge(&header(&fixture.key), &claims, &fixture.key);
    let own = did("did:web:localhost%3A8080");
    verify_appview_token(&token, &own, &did(APPVIEW), &fixture.directory, now())
        .await
        .unwrap();
    let other = did("did:web:localhost%3A8081");
    let answer = verify_appview_token(&token, &other, &did(APPVIEW), &fixture.directory, now()).await;
    assert!(
        matches!(answer, Err(AppViewTokenError::WrongAudience)),
        "{answer:?}"
    );
}
