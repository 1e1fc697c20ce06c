//! Public keys: reading them from DID documents, verifying with them.

use std::fmt;

use k256::ecdsa::signature::Verifier as _;

use super::encoding::{self, KeyKind};
use super::{CryptoError, Curve};

/// A public key that is known to lie on its curve.
///
/// Prints as its did:key.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// On secp256k1.
    K256(k256::ecdsa::VerifyingKey),
    /// On NIST P-256.
    P256(p256::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// Reads a `Multikey`: `z`, then base58btc of multicodec and compressed point, as in the `publicKeyMultibase` of a
    /// current DID document.
    ///
    /// # Errors
    /// [`CryptoError::NotMultibase`], [`CryptoError::UnknownCurve`], [`CryptoError::InvalidKey`].
    ///
    /// # Spec
    /// atproto specs "Cryptography", public key encoding.
    pub fn from_multikey(text: &str) -> Result<Self, CryptoError> {
        let (curve, bytes) = encoding::decode(KeyKind::Public, text)?;
        // Compressed only: one key has one spelling.
        if bytes.len() != 33 {
            return Err(CryptoError::InvalidKey(curve));
        }
        Self::from_sec1(curve, &bytes)
    }

    /// Reads a `did:key:z…`.
    ///
    /// # Errors
    /// As [`from_multikey`](Self::from_multikey).
    pub fn from_did_key(text: &str) -> Result<Self, CryptoError> {
        Self::from_multikey(text.strip_prefix("did:key:").ok_or(CryptoError::NotMultibase)?)
    }

    /// Reads the `publicKeyMultibase` of the old document suites `EcdsaSecp256k1VerificationKey2019` and
    /// `EcdsaSecp256r1VerificationKey2019`: base58btc of the point alone; the suite tells the curve.
    ///
    /// # Errors
    /// [`CryptoError::NotMultibase`], [`CryptoError::InvalidKey`].
    pub fn from_legacy_multibase(curve: Curve, text: &str) -> Result<Self, CryptoError> {
        Self::from_sec1(curve, &encoding::decode_multibase(text)?)
    }

    /// Reads a point in SEC 1 form, compressed (33 bytes) or not (65).
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`].
    pub fn from_sec1(curve: Curve, bytes: &[u8]) -> Result<Self, CryptoError> {
        match curve {
            Curve::K256 => k256::ecdsa::VerifyingKey::from_sec1_bytes(bytes)
                .map(Self::K256)
                .ok(),
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes)
                .map(Self::P256)
                .ok(),
        }
        .ok_or(CryptoError::InvalidKey(curve))
    }

    /// The curve.
    #[must_use]
    pub fn curve(&self) -> Curve {
        match self {
            Self::K256(_) => Curve::K256,
            Self::P256(_) => Curve::P256,
        }
    }

    /// The compressed point, 33 bytes.
    #[must_use]
    pub fn to_sec1(&self) -> Vec<u8> {
        match self {
            Self::K256(key) => key.to_encoded_point(true).as_bytes().to_vec(),
            Self::P256(key) => key.to_encoded_point(true).as_bytes().to_vec(),
        }
    }

    /// The key as a `Multikey`, what [`from_multikey`](Self::from_multikey) reads.
    #[must_use]
    pub fn to_multikey(&self) -> String {
        encoding::encode(KeyKind::Public, self.curve(), &self.to_sec1())
    }

    /// The key as `did:key:z…`.
    #[must_use]
    pub fn to_did_key(&self) -> String {
        format!("did:key:{}", self.to_multikey())
    }

    /// Checks that `signature` (64 bytes, r then s) was made by this key over SHA-256 of `message`.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`] for any signature that does not verify, for DER, and for one with a high S.
    ///
    /// # Security
    /// Refusing a high S keeps signatures unique: a third party cannot turn a valid commit or token into a second valid one.
    ///
    /// # Spec
    /// atproto specs "Cryptography", ECDSA signature malleability.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let valid = match self {
            Self::K256(key) => k256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                signature.normalize_s().is_none() && key.verify(message, &signature).is_ok()
            }),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                signature.normalize_s().is_none() && key.verify(message, &signature).is_ok()
            }),
        };
        if valid {
            Ok(())
        } else {
            Err(CryptoError::BadSignature)
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_did_key())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}
