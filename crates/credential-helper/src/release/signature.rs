//! Signatures of archives: ECDSA over P-256 and SHA-256, as `openssl dgst -sha256 -sign key.pem` writes them.

use base64::Engine as _;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};

use super::ReleaseError;

/// The multicodec of a P-256 public key, as an unsigned varint.
const P256_CODEC: [u8; 2] = [0x80, 0x24];

/// Checks the signature of `archive` by `key`, a `did:key`. `signature` is DER or the bare 64 bytes, in base64 or not.
///
/// # Errors
/// [`ReleaseError::Key`], [`ReleaseError::Signature`]
pub fn verify(archive: &[u8], signature: &[u8], key: &str) -> Result<(), ReleaseError> {
    let key = parse_key(key)?;
    let signature = parse_signature(signature).ok_or(ReleaseError::Signature)?;
    key.verify(archive, &signature)
        .map_err(|_| ReleaseError::Signature)
}

fn parse_key(key: &str) -> Result<VerifyingKey, ReleaseError> {
    let encoded = key.strip_prefix("did:key:").ok_or(ReleaseError::Key)?;
    let (_, bytes) = multibase::decode(encoded).map_err(|_| ReleaseError::Key)?;
    let point = bytes.strip_prefix(&P256_CODEC).ok_or(ReleaseError::Key)?;
    VerifyingKey::from_sec1_bytes(point).map_err(|_| ReleaseError::Key)
}

fn parse_signature(bytes: &[u8]) -> Option<Signature> {
    let parse = |bytes: &[u8]| {
        Signature::from_der(bytes)
            .or_else(|_| Signature::from_slice(bytes))
            .ok()
    };
    parse(bytes).or_else(|| {
        let text: String = std::str::from_utf8(bytes).ok()?.split_whitespace().collect();
        parse(&base64::engine::general_purpose::STANDARD.decode(text).ok()?)
    })
}
