//! The two codes of a sign-in under way.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

/// Letters of user codes: consonants only, so that no words come about, and none that looks like a digit (RFC 8628 §6.1).
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How many letters, and how many digits, a user code has.
const HALF: usize = 4;

/// What the device proves with that it is the one that began: 256 random bits.
#[derive(Clone)]
pub struct DeviceCode(SecretString);

impl DeviceCode {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretString::from(
            URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()),
        ))
    }

    /// As a device sent it; one that was never given is simply not found.
    #[must_use]
    pub fn from_wire(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// For the device.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret()).into()
    }
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceCode(…)")
    }
}

/// What people compare or type: `BCDF-1234`, about 2³⁰ possibilities. Few guesses are allowed, and it lives minutes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserCode(String);

impl UserCode {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let mut code = String::with_capacity(2 * HALF + 1);
        for _ in 0..HALF {
            code.push(char::from(LETTERS[rng.random_range(0..LETTERS.len())]));
        }
        code.push('-');
        for _ in 0..HALF {
            code.push(char::from(b'0' + rng.random_range(0..10u8)));
        }
        Self(code)
    }

    /// As it is shown and kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is no user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code has four letters and four digits, like BCDF-1234")]
pub struct UserCodeError;

impl FromStr for UserCode {
    type Err = UserCodeError;

    /// Reads a code as people type it: in any case, with or without the dash, with spaces.
    fn from_str(text: &str) -> Result<Self, UserCodeError> {
        let bare: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '‐' | '–' | '—'))
            .map(|c| c.to_ascii_uppercase())
            .take(2 * HALF + 1)
            .collect();
        let bytes = bare.as_bytes();
        let is_code = bytes.len() == 2 * HALF
            && bytes[..HALF].iter().all(|byte| LETTERS.contains(byte))
            && bytes[HALF..].iter().all(u8::is_ascii_digit);
        if !is_code {
            return Err(UserCodeError);
        }
        Ok(Self(format!("{}-{}", &bare[..HALF], &bare[HALF..])))
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
