//! Private keys.

use std::fmt;
use std::path::Path;

use k256::ecdsa::signature::Signer as _;
use secrecy::{ExposeSecret, SecretString};

use super::encoding::{self, KeyKind};
use super::{CryptoError, Curve, PublicKey, key_file};

/// A private key. Prints as its public key only.
#[derive(Clone)]
pub enum SigningKey {
    /// On secp256k1.
    K256(k256::ecdsa::SigningKey),
    /// On NIST P-256.
    P256(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// A new random key, from the operating system's generator.
    #[must_use]
    pub fn generate(curve: Curve) -> Self {
        match curve {
            Curve::K256 => Self::K256(k256::ecdsa::SigningKey::random(
                &mut k256::elliptic_curve::rand_core::OsRng,
            )),
            Curve::P256 => Self::P256(p256::ecdsa::SigningKey::random(
                &mut p256::elliptic_curve::rand_core::OsRng,
            )),
        }
    }

    /// The key with the given scalar, 32 bytes big-endian.
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] if it is not 32 bytes, zero or beyond the curve's order.
    pub fn from_bytes(curve: Curve, scalar: &[u8]) -> Result<Self, CryptoError> {
        match curve {
            Curve::K256 => k256::ecdsa::SigningKey::from_slice(scalar).map(Self::K256).ok(),
            Curve::P256 => p256::ecdsa::SigningKey::from_slice(scalar).map(Self::P256).ok(),
        }
        .ok_or(CryptoError::InvalidKey(curve))
    }

    /// Reads the private form of a Multikey, which [`to_multikey`](Self::to_multikey) writes.
    ///
    /// # Errors
    /// [`CryptoError::NotMultibase`], [`CryptoError::UnknownCurve`] (also for a public key), [`CryptoError::InvalidKey`].
    pub fn from_multikey(text: &str) -> Result<Self, CryptoError> {
        let (curve, scalar) = encoding::decode(KeyKind::Private, text)?;
        Self::from_bytes(curve, &scalar)
    }

    /// The private key as text: `z`, then base58btc of multicodec and scalar.
    #[must_use]
    pub fn to_multikey(&self) -> SecretString {
        let text = match self {
            Self::K256(key) => encoding::encode(KeyKind::Private, Curve::K256, &key.to_bytes()),
            Self::P256(key) => encoding::encode(KeyKind::Private, Curve::P256, &key.to_bytes()),
        };
        SecretString::from(text)
    }

    /// The curve.
    #[must_use]
    pub fn curve(&self) -> Curve {
        match self {
            Self::K256(_) => Curve::K256,
            Self::P256(_) => Curve::P256,
        }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        match self {
            Self::K256(key) => PublicKey::K256(*key.verifying_key()),
            Self::P256(key) => PublicKey::P256(*key.verifying_key()),
        }
    }

    /// Signs SHA-256 of `message`: 64 bytes, r then s, with a low S. Deterministic (RFC 6979).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match self {
            Self::K256(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().unwrap_or(signature).to_bytes().into()
            }
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().unwrap_or(signature).to_bytes().into()
            }
        }
    }

    /// The key in the file at `path`; if there is none, a new one of `curve`, which is written there first.
    ///
    /// The file has mode 0600 and holds one line, the private Multikey; 64 hex digits are read too, and 32 raw bytes.
    /// Folders on the way are created with mode 0700. Of two processes that both find the file missing, one makes the key
    /// and the other reads it. Blocks on the disk.
    ///
    /// # Errors
    /// [`CryptoError::KeyFile`] if the disk refuses, also for a file that others may read;
    /// [`CryptoError::KeyFileContent`] if the content is not a key of `curve`: it is never overwritten.
    pub fn load_or_create(path: &Path, curve: Curve) -> Result<Self, CryptoError> {
        key_file::load_or_create(path, curve)
    }

    /// The key in the file at `path`, in the forms of [`load_or_create`](Self::load_or_create); `None` if there is no such file.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// As [`load_or_create`](Self::load_or_create).
    pub fn load(path: &Path, curve: Curve) -> Result<Option<Self>, CryptoError> {
        key_file::load_if_any(path, curve)
    }

    pub(super) fn from_file_content(curve: Curve, content: &[u8]) -> Option<Self> {
        if content.len() == 32 {
            return Self::from_bytes(curve, content).ok();
        }
        let text = std::str::from_utf8(content).ok()?.trim();
        let key = match data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
            Ok(scalar) => Self::from_bytes(curve, &scalar).ok()?,
            Err(_) => Self::from_multikey(text).ok()?,
        };
        (key.curve() == curve).then_some(key)
    }

    pub(super) fn to_file_content(&self) -> SecretString {
        SecretString::from(format!("{}\n", self.to_multikey().expose_secret()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public_key())
    }
}
