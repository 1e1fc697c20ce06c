//! The P-256 key pair of the registry.

use std::fmt;
use std::path::Path;

use jsonwebtoken::{DecodingKey, EncodingKey};
use p256::SecretKey;
use p256::elliptic_curve::rand_core::OsRng;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, LineEnding, ObjectIdentifier, PrivateKeyInfo,
    SecretDocument,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::RegistryTokenError;
use crate::secret_file::{self, SecretFileError};

/// Algorithm of an RSA key in PKCS #8 (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The key that signs and verifies registry tokens.
#[derive(Clone)]
pub struct RegistryKey {
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
}

impl RegistryKey {
    /// A new random key that lives only in memory.
    ///
    /// # Errors
    /// `Key` if the library refuses it.
    pub fn generate() -> Result<Self, RegistryTokenError> {
        Self::new(&SecretKey::random(&mut OsRng))
    }

    /// The key in the PKCS #8 PEM file at `path`; if there is none, a new one, written there first with mode 0600. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// `KeyFile` if the file cannot be used; it is never overwritten. An RSA key of the original's AppView is told apart from other
    /// content, with what to do.
    pub fn load_or_create(path: &Path) -> Result<Self, RegistryTokenError> {
        let content = || SecretFileError::Content {
            path: path.to_owned(),
            expected: "a P-256 private key in PEM",
        };
        let pem = secret_file::load_or_create(path, || {
            // An empty file text cannot arise: encoding a key that exists does not fail.
            let pem = SecretKey::random(&mut OsRng).to_pkcs8_pem(LineEnding::LF);
            SecretString::from(pem.map(|pem| pem.to_string()).unwrap_or_default())
        })?;
        let key = SecretKey::from_pkcs8_pem(pem.expose_secret()).map_err(|_| {
            if is_rsa(pem.expose_secret()) {
                SecretFileError::OriginalKey {
                    path: path.to_owned(),
                }
            } else {
                content()
            }
        })?;
        Self::new(&key)
    }

    fn new(key: &SecretKey) -> Result<Self, RegistryTokenError> {
        use jsonwebtoken::errors::{ErrorKind, new_error};
        let der = key
            .to_pkcs8_der()
            .map_err(|_| RegistryTokenError::Key(new_error(ErrorKind::InvalidEcdsaKey)))?;
        let public = key.public_key().to_encoded_point(false);
        Ok(Self {
            encoding: EncodingKey::from_ec_der(der.as_bytes()),
            decoding: DecodingKey::from_ec_der(public.as_bytes()),
        })
    }
}

/// Whether `pem` is an RSA private key, as the original's AppView makes one.
fn is_rsa(pem: &str) -> bool {
    if pem.trim_start().starts_with("-----BEGIN RSA PRIVATE KEY-----") {
        return true;
    }
    SecretDocument::from_pem(pem).is_ok_and(|(_, document)| {
        document
            .decode_msg::<PrivateKeyInfo<'_>>()
            .is_ok_and(|key| key.algorithm.oid == RSA_ENCRYPTION)
    })
}

impl fmt::Debug for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryKey").finish_non_exhaustive()
    }
}
