use secrecy::SecretString;
use serde_json::Value;

use super::*;

fn part(jws: &str, index: usize) -> Value {
    let part = jws.split('.').nth(index).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

#[test]
fn a_proof_names_method_url_token_and_nonce_and_verifies_with_the_key_it_carries() {
    let key = DpopKey::generate().expect("a key");
    let url = Url::parse("https://pds.example/xrpc/a.b.c?d=e#f").expect("a URL");
    let token = SecretString::from("the token");
    let proof = key
        .proof(&Method::GET, &url, Some(&token), Some("n1"), now())
        .expect("a proof");
    let (header, claims) = (part(&proof, 0), part(&proof, 1));
    assert_eq!(header["typ"], "dpop+jwt");
    assert_eq!(header["alg"], "ES256");
    assert!(header["jwk"].get("d").is_none(), "no private part");
    assert_eq!(claims["htm"], "GET");
    assert_eq!(claims["htu"], "https://pds.example/xrpc/a.b.c");
    assert_eq!(claims["iat"], 1_800_000_000);
    assert_eq!(claims["nonce"], "n1");
    assert_eq!(claims["ath"], URL_SAFE_NO_PAD.encode(Sha256::digest("the token")));
    let coordinate = |name: &str| {
        URL_SAFE_NO_PAD
            .decode(header["jwk"][name].as_str().expect("text"))
            .expect("base64url")
    };
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let public = PublicKey::from_sec1(Curve::P256, &point).expect("a point");
    let (input, signature) = proof.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    public
        .verify(input.as_bytes(), &signature)
        .expect("a good signature");
}

#[test]
fn no_two_proofs_have_the_same_id() {
    let key = DpopKey::generate().expect("a key");
    let url = Url::parse("https://pds.example/token").expect("a URL");
    let id = || {
        let proof = key
            .proof(&Method::POST, &url, None, None, now())
            .expect("a proof");
        let claims = part(&proof, 1);
        assert!(claims.get("ath").is_none() && claims.get("nonce").is_none());
        claims["jti"].as_str().expect("text").to_owned()
    };
    assert_ne!(id(), id());
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638_and_survives_storage() {
    // The P-256 key of RFC 7515, appendix A.3; its thumbprint by another implementation.
    let scalar = URL_SAFE_NO_PAD
        .decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
        .expect("base64url");
    let key = DpopKey::from_key(SigningKey::from_bytes(Curve::P256, &scalar).expect("a key")).expect("P-256");
    assert_eq!(key.thumbprint(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    let back = DpopKey::from_multikey(&key.to_multikey()).expect("the same key");
    assert_eq!(back.thumbprint(), key.thumbprint());
}

#[test]
fn a_key_of_the_other_curve_is_refused() {
    assert!(DpopKey::from_key(SigningKey::generate(Curve::K256)).is_err());
}
