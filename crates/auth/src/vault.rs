//! Sealing of secrets that are stored: AES-256-GCM under a key in a file.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::secret_file::{self, SecretFileError};

/// First byte of everything sealed; another layout gets another number.
const FORMAT: u8 = 1;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// Seals and opens secrets. One key is good for 2³² seals, since nonces are random.
///
/// A secret sealed under one context opens only under the same context, so that a row copied over another row, or a
/// secret of another kind, does not open.
pub struct Vault {
    key: RandomizedNonceKey,
}

/// Sealing or opening failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// The key is not 32 bytes.
    #[error("the vault key is not 32 bytes")]
    InvalidKey,
    /// Not sealed by this key under this context, or damaged.
    #[error("the sealed secret does not open: wrong key, wrong context, or damaged")]
    DoesNotOpen,
    /// The system's random generator failed, or the secret is too long to be sealed.
    #[error("the secret cannot be sealed")]
    CannotSeal,
}

impl Vault {
    /// A vault under the given 32-byte key.
    ///
    /// # Errors
    /// `InvalidKey` for another length.
    pub fn new(key: &[u8]) -> Result<Self, VaultError> {
        if key.len() != KEY_LEN {
            return Err(VaultError::InvalidKey);
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| VaultError::InvalidKey)?;
        Ok(Self { key })
    }

    /// A vault under the key in the file at `path` (base64), which is created with mode 0600 if missing. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// `KeyFile` if the file cannot be used; it is never overwritten.
    pub fn load_or_create(path: &Path) -> Result<Self, VaultError> {
        let text = secret_file::load_or_create(path, || {
            SecretString::from(format!("{}\n", STANDARD.encode(rand::random::<[u8; KEY_LEN]>())))
        })?;
        let invalid = || SecretFileError::Content {
            path: path.to_owned(),
            expected: "32 bytes in base64",
        };
        let key = STANDARD
            .decode(text.expose_secret().trim())
            .map_err(|_| invalid())?;
        Self::new(&key).map_err(|_| VaultError::KeyFile(invalid()))
    }

    /// Seals `plaintext` for `context` (say, table, column and row key). The result is 29 bytes longer than the
    /// plaintext: format, nonce, ciphertext, tag.
    ///
    /// # Errors
    /// `CannotSeal` if the system has no randomness to give.
    pub fn seal(&self, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut body = Vec::with_capacity(plaintext.len() + TAG_LEN);
        body.extend_from_slice(plaintext);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(context), &mut body)
            .map_err(|_| VaultError::CannotSeal)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// The plaintext of what [`Self::seal`] made for the same `context`.
    ///
    /// # Errors
    /// `DoesNotOpen` for everything else.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let Some((&FORMAT, rest)) = sealed.split_first() else {
            return Err(VaultError::DoesNotOpen);
        };
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(VaultError::DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::DoesNotOpen)?;
        let mut body = body.to_vec();
        let length = self
            .key
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| VaultError::DoesNotOpen)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
