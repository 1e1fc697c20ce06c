//! `Algorithm` and `Digest`: content addresses, parsed strictly and compared as text.

use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::Digest as _;

use crate::error::InvalidDigest;
use crate::text_serde::text_type;

/// A hash function of the image-spec's registered algorithms: both of the required and recommended ones.
///
/// # Spec
/// image-spec v1.1, descriptor.md, Registered algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Algorithm {
    /// `sha256`, what every client uses unless told otherwise.
    #[default]
    Sha256,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// Every algorithm this crate computes.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name before the colon of a digest: `sha256` or `sha512`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes; its hexadecimal form has twice as many characters.
    #[must_use]
    pub const fn hash_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(InvalidDigest::UnsupportedAlgorithm)
    }
}

text_type!(Algorithm, "a digest algorithm: sha256 or sha512");

/// A content address, `sha256:<64 hex>` or `sha512:<128 hex>`; the hexadecimal digits are lower case, as the spec wants.
///
/// # Spec
/// image-spec v1.1, descriptor.md, Digests.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::from_hash(algorithm, &sha2::Sha256::digest(bytes)),
            Algorithm::Sha512 => Self::from_hash(algorithm, &sha2::Sha512::digest(bytes)),
        }
    }

    /// The digest with this raw hash; `None` when `hash` has another length than `algorithm` makes.
    #[must_use]
    pub fn from_hash_bytes(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        (hash.len() == algorithm.hash_len()).then(|| Self::from_hash(algorithm, hash))
    }

    pub(crate) fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        Self(format!("{}:{}", algorithm.as_str(), HEXLOWER.encode(hash)))
    }

    /// The algorithm named before the colon.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        if self.0.starts_with("sha512:") {
            Algorithm::Sha512
        } else {
            Algorithm::Sha256
        }
    }

    /// The lower-case hexadecimal digits after the colon.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The raw hash: 32 or 64 bytes.
    #[must_use]
    pub fn hash_bytes(&self) -> Vec<u8> {
        HEXLOWER.decode(self.hex().as_bytes()).unwrap_or_default()
    }

    /// The whole text, `<algorithm>:<hex>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `bytes` hash to this digest.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        *self == Self::of(self.algorithm(), bytes)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, hex) = text.split_once(':').ok_or(InvalidDigest::Format)?;
        let algorithm: Algorithm = algorithm.parse()?;
        let digits_are_lower_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != algorithm.hash_len() * 2 || !digits_are_lower_hex {
            return Err(InvalidDigest::Encoding);
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(
    Digest,
    "a digest such as sha256:<64 lower-case hexadecimal digits>"
);
