//! The name of an upload session.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use crate::error::InvalidUploadSessionId;
use crate::text_serde::text_type;

/// Names an upload session: 32 random bytes in unpadded base64url, 43 characters, safe in a path segment.
///
/// # Security
/// A client that knows the id may continue the upload, so it is as long as a key and `Debug` shows only its beginning.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadSessionId(String);

/// Random bytes in an id.
const RANDOM_LEN: usize = 32;

impl UploadSessionId {
    /// A fresh id from a cryptographic generator that the operating system seeds.
    #[must_use]
    pub fn random() -> Self {
        Self::from_bytes(&rand::random::<[u8; RANDOM_LEN]>())
    }

    /// The id with these random bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; RANDOM_LEN]) -> Self {
        Self(BASE64URL_NOPAD.encode(bytes))
    }

    /// The 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadSessionId {
    type Err = InvalidUploadSessionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The decoder refuses trailing bits that are not zero: one id has one spelling.
        match BASE64URL_NOPAD.decode(text.as_bytes()) {
            Ok(bytes) if bytes.len() == RANDOM_LEN => Ok(Self(text.to_owned())),
            _ => Err(InvalidUploadSessionId),
        }
    }
}

impl fmt::Debug for UploadSessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadSessionId({}…)", &self.0[..6])
    }
}

text_type!(UploadSessionId, "an upload session id of 43 base64url characters");
