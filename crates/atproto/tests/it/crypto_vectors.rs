//! The vectors of `crypto/`.

use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use serde::Deserialize;

use crate::suites;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureVector {
    comment: String,
    message_base64: String,
    did_doc_suite: String,
    public_key_did: String,
    public_key_multibase: String,
    signature_base64: String,
    valid_signature: bool,
}

#[test]
fn signatures() {
    let vectors: Vec<SignatureVector> = suites::json("crypto/signature-fixtures.json").unwrap_or_default();
    for vector in vectors {
        let curve = match vector.did_doc_suite.as_str() {
            "EcdsaSecp256k1VerificationKey2019" => Curve::K256,
            "EcdsaSecp256r1VerificationKey2019" => Curve::P256,
            other => panic!("unknown suite {other}"),
        };
        let message = BASE64_NOPAD.decode(vector.message_base64.as_bytes()).unwrap();
        let signature = BASE64_NOPAD.decode(vector.signature_base64.as_bytes()).unwrap();
        let key = PublicKey::from_did_key(&vector.public_key_did).unwrap();
        assert_eq!(key.curve(), curve);
        assert_eq!(key.to_did_key(), vector.public_key_did);
        assert_eq!(
            PublicKey::from_legacy_multibase(curve, &vector.public_key_multibase).unwrap(),
            key
        );
        assert_eq!(
            key.verify(&message, &signature).is_ok(),
            vector.valid_signature,
            "{}",
            vector.comment
        );
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyVector {
    private_key_bytes_hex: Option<String>,
    private_key_bytes_base58: Option<String>,
    public_did_key: String,
}

#[test]
fn did_keys_of_private_keys() {
    for (file, curve) in [
        ("crypto/w3c_didkey_K256.json", Curve::K256),
        ("crypto/w3c_didkey_P256.json", Curve::P256),
    ] {
        let vectors: Vec<KeyVector> = suites::json(file).unwrap_or_default();
        for vector in vectors {
            let scalar = match (vector.private_key_bytes_hex, vector.private_key_bytes_base58) {
                (Some(hex), _) => HEXLOWER.decode(hex.as_bytes()).unwrap(),
                (None, Some(base58)) => multibase::decode(format!("z{base58}")).unwrap().1,
                (None, None) => panic!("no private key for {}", vector.public_did_key),
            };
            let key = SigningKey::from_bytes(curve, &scalar).unwrap();
            assert_eq!(key.public_key().to_did_key(), vector.public_did_key);
        }
    }
}
