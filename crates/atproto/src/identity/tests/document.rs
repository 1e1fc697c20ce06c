use std::sync::Arc;

use serde_json::{Value, json};

use super::network::{PLC, did, document, handle, key};
use crate::bounds::MAX_DOCUMENT_ENTRIES;
use crate::crypto::{Curve, SigningKey};
use crate::identity::{DidDocument, IdentityError, ResolvedIdentity, hold_endpoint};

fn parse(json: &Value) -> Result<DidDocument, IdentityError> {
    DidDocument::parse(&did(PLC), &serde_json::to_vec(json).unwrap())
}

#[test]
fn a_document_gives_keys_services_and_the_claimed_handle() {
    let key = key();
    let document = parse(&document(PLC, "alice.example.com", &key)).unwrap();
    assert_eq!(document.id().as_str(), PLC);
    assert_eq!(document.claimed_handle(), Some(handle("alice.example.com")));
    assert_eq!(document.signing_key(), Some(key.public_key()));
    assert_eq!(
        document.service("atproto_pds").unwrap().as_str(),
        "https://pds.example.com/"
    );
    assert_eq!(document.service("atcr_hold"), None);
    assert_eq!(document.verification_method("atproto_label"), None);
}

#[test]
fn a_document_of_another_did_is_refused() {
    for body in [
        document("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "alice.example.com", &key()),
        json!({}),
        json!([]),
        json!({"id": 7}),
        json!({"id": "did:plc"}),
        json!({"id": PLC, "service": "https://pds.example.com"}),
    ] {
        assert!(
            matches!(parse(&body), Err(IdentityError::InvalidDocument { .. })),
            "{body}"
        );
    }
    assert!(DidDocument::parse(&did(PLC), b"<html>").is_err());
}

#[test]
fn entries_of_unknown_form_do_not_spoil_the_others() {
    let (good, other) = (key(), SigningKey::generate(Curve::P256));
    let document = parse(&json!({
        "id": PLC,
        "alsoKnownAs": [7, "https://alice.example.com", "at://not a handle", "at://alice.example.com", "at://bob.example.com"],
        "verificationMethod": [
            "did:key:zabc",
            {"id": "#atproto", "type": "Ed25519VerificationKey2020", "publicKeyMultibase": "z6Mk"},
            {"id": "#atproto", "type": "Multikey"},
            {"id": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#atproto", "type": "Multikey", "publicKeyMultibase": other.public_key().to_multikey()},
            {"id": "atproto", "type": "Multikey", "publicKeyMultibase": other.public_key().to_multikey()},
            {"id": "#atproto", "type": "Multikey", "publicKeyMultibase": good.public_key().to_multikey()},
            {"id": "#atproto", "type": "Multikey", "publicKeyMultibase": other.public_key().to_multikey()},
        ],
        "service": [
            null,
            {"id": "#atproto_pds", "serviceEndpoint": {"uri": "https://a.example.com"}},
            {"id": "#atproto_pds", "serviceEndpoint": "javascript:alert(1)"},
            {"id": "#atproto_pds", "serviceEndpoint": "https://user:word@b.example.com"},
            {"id": format!("{PLC}#atproto_pds"), "serviceEndpoint": "https://c.example.com"},
        ],
    }))
    .unwrap();
    assert_eq!(document.claimed_handle(), Some(handle("alice.example.com")));
    assert_eq!(document.signing_key(), Some(good.public_key()));
    assert_eq!(document.keys().count(), 2);
    assert_eq!(
        document.service("atproto_pds").unwrap().host_str(),
        Some("c.example.com")
    );
}

#[test]
fn keys_of_the_old_suites_are_read() {
    for (curve, suite) in [
        (Curve::K256, "EcdsaSecp256k1VerificationKey2019"),
        (Curve::P256, "EcdsaSecp256r1VerificationKey2019"),
    ] {
        let key = SigningKey::generate(curve).public_key();
        let encoded = multibase::encode(multibase::Base::Base58Btc, key.to_sec1());
        let method = json!({"id": "#atproto", "type": suite, "publicKeyMultibase": encoded});
        let document = parse(&json!({"id": PLC, "verificationMethod": [method]})).unwrap();
        assert_eq!(document.signing_key(), Some(key));
    }
}

#[test]
fn a_hold_is_found_by_its_own_service_or_by_its_pds() {
    let identity = |services: Value| {
        let document = parse(&json!({"id": PLC, "service": services})).unwrap();
        ResolvedIdentity::new(Arc::new(document), None)
    };
    let pds = json!({"id": "#atproto_pds", "serviceEndpoint": "https://pds.example.com"});
    let hold = json!({"id": "#atcr_hold", "serviceEndpoint": "https://hold.example.com"});
    let host =
        |services| hold_endpoint(&identity(services)).and_then(|url| url.host_str().map(str::to_owned));
    assert_eq!(host(json!([pds, hold])).as_deref(), Some("hold.example.com"));
    assert_eq!(host(json!([pds])).as_deref(), Some("pds.example.com"));
    assert_eq!(host(json!([])), None);
}

#[test]
fn a_document_is_read_as_far_as_its_bounds() {
    let services = |before: usize| {
        let other = json!({"id": "#other", "serviceEndpoint": "https://other.example.com"});
        let mut services = vec![other; before];
        services.push(json!({"id": "#atproto_pds", "serviceEndpoint": "https://pds.example.com"}));
        parse(&json!({"id": PLC, "service": services})).unwrap()
    };
    assert!(
        services(MAX_DOCUMENT_ENTRIES - 1)
            .service("atproto_pds")
            .is_some()
    );
    assert!(services(MAX_DOCUMENT_ENTRIES).service("atproto_pds").is_none());
    let names = |before: usize| {
        let mut names = vec!["https://alice.example.com"; before];
        names.push("at://alice.example.com");
        parse(&json!({"id": PLC, "alsoKnownAs": names})).unwrap()
    };
    assert!(names(MAX_DOCUMENT_ENTRIES - 1).claimed_handle().is_some());
    assert!(names(MAX_DOCUMENT_ENTRIES).claimed_handle().is_none());
    let deep = format!(r#"{{"id":"{PLC}","x":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    assert!(DidDocument::parse(&did(PLC), deep.as_bytes()).is_err());
}
