//! Multibase and multicodec around raw keys.

use super::{CryptoError, Curve};

// Multicodec varints of the four key kinds.
const K256_PUBLIC: [u8; 2] = [0xe7, 0x01];
const P256_PUBLIC: [u8; 2] = [0x80, 0x24];
const K256_PRIVATE: [u8; 2] = [0x81, 0x26];
const P256_PRIVATE: [u8; 2] = [0x86, 0x26];

/// Longer than any key in use here; base58 decoding is quadratic.
const MAX_TEXT_LEN: usize = 256;

#[derive(Clone, Copy)]
pub(super) enum KeyKind {
    Public,
    Private,
}

fn codec(kind: KeyKind, curve: Curve) -> [u8; 2] {
    match (kind, curve) {
        (KeyKind::Public, Curve::K256) => K256_PUBLIC,
        (KeyKind::Public, Curve::P256) => P256_PUBLIC,
        (KeyKind::Private, Curve::K256) => K256_PRIVATE,
        (KeyKind::Private, Curve::P256) => P256_PRIVATE,
    }
}

/// `z` + base58btc of codec and key.
pub(super) fn encode(kind: KeyKind, curve: Curve, key: &[u8]) -> String {
    let mut bytes = codec(kind, curve).to_vec();
    bytes.extend_from_slice(key);
    multibase::encode(multibase::Base::Base58Btc, bytes)
}

/// The reverse of [`encode`]: which curve, and the key's bytes.
pub(super) fn decode(kind: KeyKind, text: &str) -> Result<(Curve, Vec<u8>), CryptoError> {
    let bytes = decode_multibase(text)?;
    for curve in [Curve::K256, Curve::P256] {
        if let Some(key) = bytes.strip_prefix(&codec(kind, curve)) {
            return Ok((curve, key.to_vec()));
        }
    }
    Err(CryptoError::UnknownCurve)
}

/// The bytes of a base58btc multibase string.
pub(super) fn decode_multibase(text: &str) -> Result<Vec<u8>, CryptoError> {
    if text.len() > MAX_TEXT_LEN || !text.starts_with('z') {
        return Err(CryptoError::NotMultibase);
    }
    multibase::decode(text)
        .map(|(_, bytes)| bytes)
        .map_err(|_| CryptoError::NotMultibase)
}
