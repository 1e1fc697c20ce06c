use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_oci::AccessScope;
use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::DecodePrivateKey as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{ALICE, HOLD, did, forge, now, signing_input, with_signature};
use crate::principal::{AuthMethod, Principal};

const SERVICE: &str = "registry.example.com";

struct Registry {
    key: RegistryKey,
    issuer: RegistryTokenIssuer,
    verifier: RegistryTokenVerifier,
}

fn registry() -> Registry {
    let key = RegistryKey::generate().unwrap();
    Registry {
        issuer: RegistryTokenIssuer::new(key.clone(), SERVICE),
        verifier: RegistryTokenVerifier::new(key.clone(), SERVICE),
        key,
    }
}

fn sailor() -> Principal {
    Principal::Sailor {
        did: did(ALICE),
        auth_method: AuthMethod::AppPassword,
    }
}

fn scopes() -> Vec<AccessScope> {
    AccessScope::parse_all(["repository:alice.example.com/app:pull,push"]).unwrap()
}

impl Registry {
    fn token(&self, principal: &Principal) -> String {
        self.issuer
            .issue(principal, scopes(), now())
            .unwrap()
            .token
            .expose_secret()
            .to_owned()
    }

    /// A token by the registry's own key with any claims.
    fn token_with(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &self.key.encoding).unwrap()
    }

    fn refuses(&self, token: &str) -> bool {
        matches!(
            self.verifier.verify(token, now()),
            Err(RegistryTokenError::Invalid(_))
        ) && self
            .verifier
            .verify_ignoring_expiry(token, TimeDelta::MAX, now())
            .is_err()
    }
}

fn claims() -> Value {
    let seconds = now().timestamp();
    json!({
        "iss": SERVICE, "aud": SERVICE, "sub": ALICE, "iat": seconds, "nbf": seconds, "exp": seconds + 300, "jti": "abc",
        "access": [{"type": "repository", "name": "alice.example.com/app", "actions": ["pull", "push"]}],
        "auth_method": "app_password",
    })
}

#[test]
fn a_token_carries_who_and_what_for_five_minutes() {
    let registry = registry();
    let issued = registry.issuer.issue(&sailor(), scopes(), now()).unwrap();
    assert_eq!(
        (issued.issued_at, issued.expires_at),
        (now(), now() + TimeDelta::seconds(300))
    );
    let read = registry
        .verifier
        .verify(issued.token.expose_secret(), now())
        .unwrap();
    assert_eq!(read.principal(), Some(sailor()));
    assert!(read.allows("alice.example.com/app", "push") && read.allows("alice.example.com/app", "pull"));
    assert!(
        !read.allows("alice.example.com/app", "delete") && !read.allows("alice.example.com/other", "pull")
    );
    let mut wire = serde_json::to_value(&read).unwrap();
    wire["jti"] = json!("abc");
    assert_eq!(wire, claims());
}

#[test]
fn a_token_of_a_device_names_it() {
    let registry = registry();
    let issued = registry.issuer.issue_to(&sailor(), Some("abc"), scopes(), now());
    let token = issued.unwrap().token;
    let read = registry.verifier.verify(token.expose_secret(), now()).unwrap();
    assert_eq!(read.device.as_deref(), Some("abc"));
    assert_eq!(read.principal(), Some(sailor()));
}

#[test]
fn an_anonymous_token_has_no_subject() {
    let registry = registry();
    let read = registry
        .verifier
        .verify(&registry.token(&Principal::Anonymous), now())
        .unwrap();
    assert_eq!(read.principal(), Some(Principal::Anonymous));
    let wire = serde_json::to_value(&read).unwrap();
    assert!(wire.get("sub").is_none() && wire.get("auth_method").is_none());
}

#[test]
fn a_star_allows_every_action_on_its_repository_only() {
    let entry = |resource_type: &str| AccessEntry {
        resource_type: resource_type.to_owned(),
        name: "alice.example.com/app".to_owned(),
        actions: vec!["*".to_owned()],
    };
    let registry = registry();
    let read = |resource_type: &str| {
        let token = registry
            .issuer
            .issue(&sailor(), [entry(resource_type)], now())
            .unwrap()
            .token;
        registry.verifier.verify(token.expose_secret(), now()).unwrap()
    };
    assert!(read("repository").allows("alice.example.com/app", "delete"));
    assert!(!read("repository").allows("alice.example.com/app2", "delete"));
    assert!(!read("registry").allows("alice.example.com/app", "delete"));
}

#[test]
fn an_expired_token_is_told_apart_and_may_finish_an_upload() {
    let registry = registry();
    let token = registry.token(&sailor());
    let at = |seconds| now() + TimeDelta::seconds(seconds);
    registry.verifier.verify(&token, at(299)).unwrap();
    assert!(matches!(
        registry.verifier.verify(&token, at(300)),
        Err(RegistryTokenError::Expired)
    ));
    let hour = TimeDelta::hours(1);
    registry
        .verifier
        .verify_ignoring_expiry(&token, hour, at(3600))
        .unwrap();
    let late = registry.verifier.verify_ignoring_expiry(&token, hour, at(3601));
    assert!(matches!(late, Err(RegistryTokenError::Expired)));
}

#[test]
fn a_token_from_the_future_is_refused() {
    let registry = registry();
    let token = registry.token(&sailor());
    registry
        .verifier
        .verify(&token, now() - TimeDelta::seconds(5))
        .unwrap();
    let early = registry.verifier.verify(&token, now() - TimeDelta::seconds(6));
    assert!(matches!(early, Err(RegistryTokenError::NotYetValid)));
}

#[test]
fn tokens_of_other_registries_and_keys_are_refused() {
    let registry = registry();
    assert!(
        registry
            .verifier
            .verify(&registry.token_with(&claims()), now())
            .is_ok()
    );
    let stranger = RegistryTokenIssuer::new(RegistryKey::generate().unwrap(), SERVICE);
    let token = stranger.issue(&sailor(), scopes(), now()).unwrap().token;
    assert!(registry.refuses(token.expose_secret()));
    for claim in ["iss", "aud"] {
        for value in [
            json!("other.example.com"),
            json!(["other.example.com"]),
            json!(""),
            json!(null),
        ] {
            let mut claims = claims();
            claims[claim] = value.clone();
            assert!(registry.refuses(&registry.token_with(&claims)), "{claim} {value}");
        }
    }
    for claim in ["iss", "aud", "exp", "nbf", "iat", "jti", "access"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(registry.refuses(&registry.token_with(&claims)), "{claim}");
    }
}

#[test]
fn claims_that_contradict_each_other_are_refused() {
    let registry = registry();
    for claim in ["sub", "auth_method"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        let answer = registry.verifier.verify(&registry.token_with(&claims), now());
        assert!(
            matches!(answer, Err(RegistryTokenError::Inconsistent)),
            "{claim}: {answer:?}"
        );
    }
}

#[test]
fn other_algorithms_are_refused() {
    let registry = registry();
    for alg in ["none", "None", "", "HS256", "RS256", "ES256K", "EdDSA"] {
        let input = signing_input(&json!({"alg": alg, "typ": "JWT"}), &claims());
        assert!(registry.refuses(&with_signature(&input, b"")), "{alg}");
        assert!(registry.refuses(&with_signature(&input, &[0; 64])), "{alg}");
    }
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let key = RegistryKey::load_or_create(&path).unwrap();
    let verifier = RegistryTokenVerifier::new(key, SERVICE);
    let public = SecretKey::from_pkcs8_pem(&std::fs::read_to_string(&path).unwrap())
        .unwrap()
        .public_key();
    for point in [public.to_encoded_point(false), public.to_encoded_point(true)] {
        let secret = EncodingKey::from_secret(point.as_bytes());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        assert!(verifier.verify(&token, now()).is_err());
    }
}

#[test]
fn keys_in_the_header_are_not_looked_at() {
    let registry = registry();
    let mallory = RegistryKey::generate().unwrap();
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("../../dev/null".to_owned());
    header.jku = Some("https://mallory.example.com/jwks.json".to_owned());
    header.x5c = Some(vec!["MIIB".to_owned()]);
    header.jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&mallory.encoding, Algorithm::ES256).ok();
    assert!(header.jwk.is_some());
    let token = jsonwebtoken::encode(&header, &claims(), &mallory.encoding).unwrap();
    assert!(registry.refuses(&token));
}

#[test]
fn a_changed_token_is_refused() {
    let registry = registry();
    let token = registry.token(&sailor());
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("{token}")
    };
    let mut claims = claims();
    claims["sub"] = json!("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
    let forged = signing_input(&json!({}), &claims);
    let (_, body) = forged.split_once('.').unwrap();
    assert!(registry.refuses(&format!("{header}.{body}.{signature}")));
    for other in [
        "",
        ".",
        "..",
        "a.b.c",
        &token[..token.len() - 2],
        &format!("{token}.x"),
        &"x".repeat(100_000),
    ] {
        assert!(registry.refuses(other), "{other:.40}");
    }
}

#[test]
fn a_service_token_is_no_registry_token() {
    let key = SigningKey::generate(Curve::P256);
    let seconds = now().timestamp();
    let service = json!({"iss": ALICE, "aud": HOLD, "lxm": "com.atproto.repo.getRecord", "iat": seconds, "exp": seconds + 60});
    for claims in [service, claims()] {
        assert!(registry().refuses(&forge(&json!({"alg": "ES256", "typ": "JWT"}), &claims, &key)));
    }
}

#[test]
fn the_key_file_is_made_once_private_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth/private-key.pem");
    let first = RegistryKey::load_or_create(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let token = RegistryTokenIssuer::new(first, SERVICE)
        .issue(&sailor(), scopes(), now())
        .unwrap()
        .token;
    let again = RegistryTokenVerifier::new(RegistryKey::load_or_create(&path).unwrap(), SERVICE);
    again.verify(token.expose_secret(), now()).unwrap();
}

#[test]
fn a_key_file_that_is_no_key_or_not_private_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let write = |path: &Path, text: &str, mode: u32| {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for text in [
        "",
        "not a key",
        "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n",
    ] {
        write(&path, text, 0o600);
        assert!(RegistryKey::load_or_create(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let good = folder.path().join("good.pem");
    RegistryKey::load_or_create(&good).unwrap();
    std::fs::set_permissions(&good, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = RegistryKey::load_or_create(&good).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[test]
fn the_original_s_rsa_key_is_told_apart_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("private-key.pem");
    for text in [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n",
        // An RSA key in PKCS #8, as far as its algorithm.
        "-----BEGIN PRIVATE KEY-----\nMBUCAQAwDQYJKoZIhvcNAQEBBQAEAQA=\n-----END PRIVATE KEY-----\n",
    ] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = RegistryKey::load_or_create(&path).unwrap_err().to_string();
        let advice = format!("(mv {path} {path}.rsa)", path = path.display());
        assert!(error.contains("RSA") && error.contains(&advice), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn nothing_prints_a_key_or_a_token() {
    let registry = registry();
    let issued = registry.issuer.issue(&sailor(), scopes(), now()).unwrap();
    let token = issued.token.expose_secret().to_owned();
    let text = format!("{issued:?} {:?} {:?}", registry.issuer, registry.verifier);
    assert!(!text.contains(&token) && text.len() < 2000, "{text}");
    let _: &DecodingKey = &registry.key.decoding;
}
