//! What a device signs in with: `atcr_device_<id>_<secret>`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

/// What every secret begins with, so that a leaked one is recognised for what it is.
const PREFIX: &str = "atcr_device_";

/// Characters of the public part: what a row is found by.
const ID_LEN: usize = 16;

/// Characters of ids; no underscore, which ends them.
const ID_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters of the secret part: 32 bytes in base64url.
const SECRET_LEN: usize = 43;

/// A device's secret. The id inside is no secret: it names the device in lists, and finds its row without trying all.
#[derive(Clone)]
pub struct DeviceSecret {
    id: String,
    whole: SecretString,
}

/// The text has the prefix of a device's secret, and not its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a device's secret")]
pub struct DeviceSecretError;

impl DeviceSecret {
    /// A new one, of 256 random bits and a random id.
    #[must_use]
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let id: String = (0..ID_LEN)
            .map(|_| char::from(ID_ALPHABET[rng.random_range(0..ID_ALPHABET.len())]))
            .collect();
        let secret = URL_SAFE_NO_PAD.encode(rng.random::<[u8; 32]>());
        Self {
            whole: SecretString::from(format!("{PREFIX}{id}_{secret}")),
            id,
        }
    }

    /// Reads what a client sent as its password; `None` when it is some other kind of password.
    ///
    /// # Errors
    /// [`DeviceSecretError`] when it has the prefix and is none.
    pub fn parse(password: &SecretString) -> Option<Result<Self, DeviceSecretError>> {
        let rest = password.expose_secret().strip_prefix(PREFIX)?;
        let parsed = rest.split_once('_').filter(|(id, secret)| {
            id.len() == ID_LEN
                && id.bytes().all(|byte| ID_ALPHABET.contains(&byte))
                && secret.len() == SECRET_LEN
        });
        Some(parsed.ok_or(DeviceSecretError).map(|(id, _)| Self {
            id: id.to_owned(),
            whole: password.clone(),
        }))
    }

    /// Whether `password` has the form of a device's secret that another server issued: 32 bytes in base64 or hexadecimal. A helper
    /// keeps such a secret when the server behind its registry's name is replaced. No PDS should see it: app passwords have another
    /// form.
    #[must_use]
    pub fn is_of_another_server(password: &SecretString) -> bool {
        let text = password.expose_secret();
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        match text.len() {
            43 => URL_SAFE_NO_PAD.decode(text).is_ok() || STANDARD_NO_PAD.decode(text).is_ok(),
            44 => URL_SAFE.decode(text).is_ok() || STANDARD.decode(text).is_ok(),
            64 => text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            _ => false,
        }
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole, for the device.
    #[must_use]
    pub fn expose(&self) -> &SecretString {
        &self.whole
    }

    /// What is kept of it. No slow hash: there is nothing to guess in 256 random bits.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.whole.expose_secret()).into()
    }

    /// Whether `kept` is its hash, in time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, kept: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.hash(), kept).is_ok()
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceSecret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
