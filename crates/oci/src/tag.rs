//! Tags: the human names of manifests within a repository.

use std::str::FromStr;

use crate::error::InvalidTag;
use crate::text_serde::text_type;

/// A tag, `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`; upper and lower case differ.
///
/// # Spec
/// distribution-spec v1.1, Pulling manifests, `<reference>` as a tag.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// Longest tag in characters.
    pub const MAX_LEN: usize = 128;

    /// The tag's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        match text.as_bytes() {
            [first, rest @ ..]
                if word(*first)
                    && rest.len() < Self::MAX_LEN
                    && rest.iter().all(|b| word(*b) || matches!(b, b'.' | b'-')) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidTag),
        }
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(Tag, "a tag of at most 128 letters, digits, '_', '.' and '-'");
