//! Keys and signatures of AT Protocol: K-256 and P-256, ECDSA over SHA-256, 64-byte signatures with a low S.

mod encoding;
mod key_file;
mod public_key;
mod signing_key;

pub use public_key::PublicKey;
pub use signing_key::SigningKey;

/// The two curves of AT Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp256k1; `ES256K` in a JWT. Repository commits and service tokens of most accounts.
    K256,
    /// NIST P-256; `ES256` in a JWT. OAuth, DPoP, registry tokens, some accounts.
    P256,
}

impl Curve {
    /// The `alg` of a JWT signed on this curve.
    #[must_use]
    pub fn jwt_algorithm(self) -> &'static str {
        match self {
            Self::K256 => "ES256K",
            Self::P256 => "ES256",
        }
    }
}

/// A key or signature that cannot be used.
///
/// No variant carries key material.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// Not multibase base58btc, or not a did:key.
    #[error("the key is not a multibase string")]
    NotMultibase,
    /// A key of a kind that AT Protocol does not use.
    #[error("the key is neither K-256 nor P-256")]
    UnknownCurve,
    /// The bytes are not a key on their curve.
    #[error("the bytes are not a valid {0:?} key")]
    InvalidKey(Curve),
    /// Not 64 bytes, not in range, a high S, or not made by this key over this message.
    #[error("the signature does not verify")]
    BadSignature,
    /// The key file cannot be read or written.
    #[error("key file {path}: {source}", path = path.display())]
    KeyFile {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key file does not hold a private key of the expected curve.
    #[error("key file {path} does not hold a {curve:?} private key", path = path.display())]
    KeyFileContent {
        /// The file.
        path: std::path::PathBuf,
        /// The curve that was asked for.
        curve: Curve,
    },
}

#[cfg(test)]
mod tests;
