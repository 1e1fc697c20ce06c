//! What is no service token.

use atcr_atproto::crypto::{Curve, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::appview_token::AppViewTokenSigner;
use crate::fixtures::{ALICE, APPVIEW, Directory, HOLD, MALLORY, did, forge, header, now};
use crate::principal::{AuthMethod, Principal};
use crate::registry_token::{AccessEntry, RegistryKey, RegistryTokenIssuer};

#[tokio::test]
async fn things_that_are_no_service_tokens_are_refused() {
    let alice = alice(Curve::K256);
    let good = forge(&header(&alice.key), &claims(), &alice.key);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let duplicate = URL_SAFE_NO_PAD.encode(format!(
        r#"{{"iss":"{MALLORY}","iss":"{ALICE}","aud":"{HOLD}","exp":1800000060}}"#
    ));
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        input.to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        "a.b.c".to_owned(),
        format!("{}.{duplicate}.{signature}", input.split_once('.').unwrap().0),
        "x".repeat(100_000),
    ] {
        let answer = alice.present(&token).await;
        assert!(
            matches!(answer, Err(ServiceTokenError::Malformed { .. })),
            "{token:.60}: {answer:?}"
        );
    }
    for iss in [
        "alice.example.com",
        "",
        "https://alice.example.com",
        "#",
        "did:plc",
    ] {
        let answer = alice.present_claims(&with(json!({"iss": iss}))).await;
        assert!(
            matches!(answer, Err(ServiceTokenError::InvalidIssuer)),
            "{iss}: {answer:?}"
        );
    }
    assert_eq!(alice.lookups(), 0);
}

#[tokio::test]
async fn tokens_of_other_types_by_the_same_key_are_refused() {
    let alice = alice(Curve::P256);
    for typ in ["at+jwt", "refresh+jwt", "dpop+jwt", "secevent+jwt"] {
        let answer = alice
            .present(&forge(
                &json!({"alg": "ES256", "typ": typ}),
                &claims(),
                &alice.key,
            ))
            .await;
        assert!(
            matches!(answer, Err(ServiceTokenError::Malformed { .. })),
            "{typ}: {answer:?}"
        );
    }
    let demanding = json!({"alg": "ES256", "crit": ["b64"], "b64": false});
    assert!(
        alice
            .present(&forge(&demanding, &claims(), &alice.key))
            .await
            .is_err()
    );
    let subject = alice.present_claims(&with(json!({"sub": MALLORY}))).await;
    assert!(matches!(subject, Err(ServiceTokenError::Malformed { .. })));
}

#[tokio::test]
async fn a_registry_token_is_no_service_token() {
    let issuer = RegistryTokenIssuer::new(RegistryKey::generate().unwrap(), "registry.example.com");
    let principal = Principal::Sailor {
        did: did(ALICE),
        auth_method: AuthMethod::OAuth,
    };
    let token = issuer
        .issue(&principal, Vec::<AccessEntry>::new(), now())
        .unwrap()
        .token;
    assert!(alice(Curve::P256).present(token.expose_secret()).await.is_err());
}

#[tokio::test]
async fn an_appview_token_is_no_service_token() {
    let key = SigningKey::generate(Curve::P256);
    let directory = Directory::with(APPVIEW, &[("atproto", &key.public_key())]);
    let token = AppViewTokenSigner::new(key.clone(), did(APPVIEW)).unwrap();
    let token = token.sign(&did(HOLD), &did(ALICE), None, now()).unwrap();
    let answer = Alice { key, directory }.present(token.expose_secret()).await;
    assert!(
        matches!(answer, Err(ServiceTokenError::Malformed { .. })),
        "{answer:?}"
    );
}
