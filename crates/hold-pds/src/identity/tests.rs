use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::identity::DidDocument;
use url::Url;

use super::HoldIdentity;

fn identity(url: &str) -> HoldIdentity {
    let key = SigningKey::generate(Curve::K256);
    HoldIdentity::did_web(&Url::parse(url).unwrap(), key).unwrap()
}

#[test]
fn a_port_is_escaped_in_the_did_and_plain_in_the_handle() {
    let hold = identity("http://172.28.0.3:8080/");
    assert_eq!(hold.did().as_str(), "did:web:172.28.0.3%3A8080");
    assert_eq!(hold.handle(), "172.28.0.3:8080");
    assert_eq!(hold.endpoint(), "http://172.28.0.3:8080");
    assert!(hold.has_did("did:web:172.28.0.3%3A8080") && hold.has_did("did:web:172.28.0.3:8080"));
    assert!(!hold.has_did("did:web:172.28.0.3") && !hold.has_did("172.28.0.3:8080"));
}

#[test]
fn a_reader_finds_the_key_and_both_services_in_the_document() {
    let hold = identity("https://hold.example.com");
    let bytes = serde_json::to_vec(&hold.document()).unwrap();
    let document = DidDocument::parse(hold.did(), &bytes).unwrap();
    let url = Some(Url::parse("https://hold.example.com").unwrap());
    assert_eq!(document.service("atproto_pds"), url);
    assert_eq!(document.service("atcr_hold"), url);
    assert_eq!(document.signing_key(), Some(hold.public_key()));
    assert_eq!(document.claimed_handle().unwrap().as_str(), "hold.example.com");
}

#[test]
fn a_url_with_a_path_is_no_hold() {
    let key = SigningKey::generate(Curve::K256);
    let url = Url::parse("https://example.com/hold").unwrap();
    assert!(HoldIdentity::did_web(&url, key).is_err());
}

#[test]
fn a_hold_of_a_directory_keeps_its_did_when_its_url_changes_and_its_document_follows_the_key() {
    let did: atcr_atproto::syntax::Did = "did:plc:n3pajhb2t6vk6xpfbfsl234w".parse().unwrap();
    let at = |url: &str| {
        let key = SigningKey::generate(Curve::K256);
        HoldIdentity::of_did(did.clone(), &Url::parse(url).unwrap(), key).unwrap()
    };
    let hold = at("https://new.example.com:8443");
    assert_eq!(hold.did(), &did);
    assert_eq!(hold.handle(), "new.example.com:8443");
    assert!(hold.has_did(did.as_str()) && !hold.has_did("did:web:new.example.com:8443"));
    let next = SigningKey::generate(Curve::K256);
    hold.clone().change_signing_key(next.clone());
    let bytes = serde_json::to_vec(&hold.document()).unwrap();
    let document = DidDocument::parse(&did, &bytes).unwrap();
    assert_eq!(document.signing_key(), Some(next.public_key()));
}
