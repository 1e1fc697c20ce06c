//! Service tokens: signatures and keys here, claims and other tokens in their own files.

mod claims;
mod other_tokens;

use std::sync::atomic::Ordering;

use atcr_atproto::crypto::{Curve, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{
    ALICE, Directory, HOLD, MALLORY, did, forge, header, high_s, now, seconds, signing_input, with_signature,
};

const CALLED: &str = "io.atcr.hold.initiateUpload";

fn claims() -> Value {
    let seconds = now().timestamp();
    json!({"iss": ALICE, "aud": HOLD, "lxm": UNIVERSAL_METHOD, "iat": seconds, "exp": seconds + 60, "jti": "abc"})
}

/// The claims with some replaced; `null` removes one.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

struct Alice {
    key: SigningKey,
    directory: Directory,
}

fn alice(curve: Curve) -> Alice {
    let key = SigningKey::generate(curve);
    let directory = Directory::with(ALICE, &[("atproto", &key.public_key())]);
    Alice { key, directory }
}

impl Alice {
    async fn present(&self, token: &str) -> Result<VerifiedServiceToken, ServiceTokenError> {
        verify_service_token(token, &did(HOLD), CALLED, &self.directory, now()).await
    }

    async fn present_claims(&self, claims: &Value) -> Result<VerifiedServiceToken, ServiceTokenError> {
        self.present(&forge(&header(&self.key), claims, &self.key)).await
    }

    fn lookups(&self) -> usize {
        self.directory.lookups.load(Ordering::SeqCst) + self.directory.refreshes.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn tokens_of_both_curves_are_accepted_any_number_of_times() {
    for curve in [Curve::K256, Curve::P256] {
        let alice = alice(curve);
        let token = forge(&header(&alice.key), &claims(), &alice.key);
        for _ in 0..2 {
            let verified = alice.present(&token).await.unwrap();
            assert_eq!(verified.did.as_str(), ALICE);
            assert_eq!(verified.lxm.as_deref(), Some(UNIVERSAL_METHOD));
            assert_eq!(verified.exp, now() + TimeDelta::seconds(60));
        }
        assert_eq!(alice.directory.refreshes.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn algorithms_other_than_the_two_are_refused_before_any_lookup() {
    let alice = alice(Curve::P256);
    let public = alice.key.public_key();
    for alg in [
        "none", "None", "NONE", "", "HS256", "RS256", "ES384", "ES512", "EdDSA", "PS256", "es256", "ES256 ",
    ] {
        let input = signing_input(&json!({"alg": alg, "typ": "JWT"}), &claims());
        // Unsigned; keyed with the public key as if it were a shared secret; honestly signed under a false name.
        let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public.to_sec1());
        let mac = aws_lc_rs::hmac::sign(&mac, input.as_bytes());
        for signature in [&b""[..], mac.as_ref(), &alice.key.sign(input.as_bytes())] {
            let answer = alice.present(&with_signature(&input, signature)).await;
            assert!(
                matches!(answer, Err(ServiceTokenError::UnsupportedAlgorithm)),
                "{alg}: {answer:?}"
            );
        }
    }
    assert_eq!(alice.lookups(), 0);
}

#[tokio::test]
async fn the_algorithm_must_be_that_of_the_key() {
    for (curve, alg) in [(Curve::K256, "ES256"), (Curve::P256, "ES256K")] {
        let alice = alice(curve);
        // The account's own signature under the other algorithm's name, and a stranger's on that other curve.
        let other = SigningKey::generate(if curve == Curve::K256 {
            Curve::P256
        } else {
            Curve::K256
        });
        for key in [&alice.key, &other] {
            let answer = alice.present(&forge(&json!({"alg": alg}), &claims(), key)).await;
            assert!(
                matches!(answer, Err(ServiceTokenError::BadSignature)),
                "{alg}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_high_s_and_other_spellings_of_a_signature_are_refused() {
    for curve in [Curve::K256, Curve::P256] {
        let alice = alice(curve);
        let input = signing_input(&header(&alice.key), &claims());
        let good = alice.key.sign(input.as_bytes());
        alice.present(&with_signature(&input, &good)).await.unwrap();
        let der = match &alice.key {
            SigningKey::K256(_) => k256::ecdsa::Signature::from_slice(&good)
                .unwrap()
                .to_der()
                .as_bytes()
                .to_vec(),
            SigningKey::P256(_) => p256::ecdsa::Signature::from_slice(&good)
                .unwrap()
                .to_der()
                .as_bytes()
                .to_vec(),
        };
        let mut long = good.to_vec();
        long.push(0);
        for signature in [
            high_s(&alice.key, input.as_bytes()),
            der,
            long,
            good[..63].to_vec(),
            vec![],
            vec![0; 64],
        ] {
            let answer = alice.present(&with_signature(&input, &signature)).await;
            assert!(
                matches!(answer, Err(ServiceTokenError::BadSignature)),
                "{answer:?}"
            );
        }
        for signature in [
            STANDARD.encode(good) + "=",
            format!("{} ", URL_SAFE_NO_PAD.encode(good)),
        ] {
            let answer = alice.present(&format!("{input}.{signature}")).await;
            assert!(
                matches!(answer, Err(ServiceTokenError::Malformed { .. })),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn keys_in_the_header_are_not_looked_at() {
    let (alice, mallory) = (alice(Curve::P256), SigningKey::generate(Curve::P256));
    let point = p256::ecdsa::VerifyingKey::from_sec1_bytes(&mallory.public_key().to_sec1()).unwrap();
    let point = point.to_encoded_point(false);
    let coordinate = |bytes: Option<&p256::FieldBytes>| URL_SAFE_NO_PAD.encode(bytes.unwrap());
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": coordinate(point.x()), "y": coordinate(point.y())});
    for trick in [
        json!({"jwk": jwk}),
        json!({"jku": "https://mallory.example.com/jwks.json"}),
        json!({"x5u": "https://mallory.example.com/cert.pem"}),
        json!({"x5c": ["MIIB"]}),
        json!({"kid": mallory.public_key().to_did_key()}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": format!("{MALLORY}#atproto")}),
        json!({"kid": "' UNION SELECT 'key"}),
    ] {
        let mut header = header(&mallory);
        header
            .as_object_mut()
            .unwrap()
            .extend(trick.as_object().unwrap().clone());
        let answer = alice.present(&forge(&header, &claims(), &mallory)).await;
        assert!(
            matches!(answer, Err(ServiceTokenError::BadSignature)),
            "{trick}: {answer:?}"
        );
        // The same header under the right key changes nothing either.
        alice
            .present(&forge(&header, &claims(), &alice.key))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn only_the_accounts_signing_key_speaks_for_it() {
    let (signing, other) = (
        SigningKey::generate(Curve::K256),
        SigningKey::generate(Curve::K256),
    );
    let keys = [
        ("atproto_label", &other.public_key()),
        ("atproto", &signing.public_key()),
    ];
    let alice = Alice {
        key: other,
        directory: Directory::with(ALICE, &keys),
    };
    assert!(matches!(
        alice.present_claims(&claims()).await,
        Err(ServiceTokenError::BadSignature)
    ));
    let keyless = Alice {
        key: signing,
        directory: Directory::with(ALICE, &[]),
    };
    assert!(matches!(
        keyless.present_claims(&claims()).await,
        Err(ServiceTokenError::NoSigningKey { .. })
    ));
}

#[tokio::test]
async fn nobody_speaks_for_another_account() {
    let mallory = SigningKey::generate(Curve::K256);
    let alice = alice(Curve::K256);
    alice
        .directory
        .publish(MALLORY, &[("atproto", &mallory.public_key())]);
    for issuer in [ALICE.to_owned(), format!("{ALICE}#{MALLORY}")] {
        let token = forge(&header(&mallory), &with(json!({"iss": issuer})), &mallory);
        assert!(matches!(
            alice.present(&token).await,
            Err(ServiceTokenError::BadSignature)
        ));
    }
    // What is signed is what is read.
    let honest = forge(&header(&mallory), &with(json!({"iss": MALLORY})), &mallory);
    let (_, signature) = honest.rsplit_once('.').unwrap();
    let spliced = format!("{}.{signature}", signing_input(&header(&mallory), &claims()));
    assert!(matches!(
        alice.present(&spliced).await,
        Err(ServiceTokenError::BadSignature)
    ));
}

#[tokio::test]
async fn a_rotated_key_is_fetched_once_and_the_old_one_no_longer_counts() {
    let alice = alice(Curve::K256);
    let rotated = SigningKey::generate(Curve::P256);
    alice
        .directory
        .publish(ALICE, &[("atproto", &rotated.public_key())]);
    let token = forge(&header(&rotated), &claims(), &rotated);
    alice.present(&token).await.unwrap();
    assert_eq!(alice.directory.refreshes.load(Ordering::SeqCst), 1);
    let forged = forge(&header(&rotated), &claims(), &SigningKey::generate(Curve::P256));
    assert!(matches!(
        alice.present(&forged).await,
        Err(ServiceTokenError::BadSignature)
    ));
    assert_eq!(alice.directory.refreshes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_issuer_out_of_reach_is_told_from_an_unknown_one() {
    let alice = alice(Curve::K256);
    let token = forge(&header(&alice.key), &with(json!({"iss": MALLORY})), &alice.key);
    assert!(!alice.present(&token).await.unwrap_err().is_transient());
    alice.directory.set_down();
    assert!(alice.present_claims(&claims()).await.unwrap_err().is_transient());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_time_in_a_token_does_more_than_refuse_it(exp in seconds(), nbf in seconds(), iat in seconds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let alice = alice(Curve::P256);
        let claims = with(json!({"exp": exp, "nbf": nbf, "iat": iat}));
        let answer = runtime.block_on(alice.present_claims(&claims));
        let now = now().timestamp();
        let is_in_time = exp > now - 5 && exp <= now + 305 && nbf <= now + 5;
        prop_assert_eq!(answer.is_ok(), is_in_time);
    }
}
