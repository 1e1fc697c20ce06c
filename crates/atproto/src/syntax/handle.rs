//! Handles: the DNS names by which accounts are known.

use std::str::FromStr;

use super::SyntaxError;
use super::string_type::string_type;

/// An account's DNS name, `alice.example.com`. At least two labels, ASCII, at most 253 bytes; the last label does not
/// begin with a digit. Kept in lower case, so that equal handles are equal values.
///
/// # Spec
/// atproto specs "Handle", handle identifier syntax.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(String);

string_type!(Handle);

/// Top-level names that never resolve on the public network. `test` is not among them: it is for development.
const DISALLOWED_TLDS: [&str; 8] = [
    "local",
    "arpa",
    "invalid",
    "localhost",
    "internal",
    "example",
    "onion",
    "alt",
];

impl FromStr for Handle {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("handle", reason));
        if text.len() > 253 {
            return fail("longer than 253 bytes");
        }
        let mut labels = 0;
        for label in text.split('.') {
            if !is_label(label) {
                return fail("a label is empty, longer than 63 bytes or has a character that is not allowed");
            }
            labels += 1;
        }
        if labels < 2 {
            return fail("not at least two labels");
        }
        if text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()))
        {
            return fail("the last label begins with a digit");
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Handle {
    /// True if the last label is reserved and therefore names no account on the public network (`alice.local`). Such a
    /// handle is well formed, but resolving it is pointless.
    #[must_use]
    pub fn has_disallowed_tld(&self) -> bool {
        self.0
            .rsplit('.')
            .next()
            .is_some_and(|last| DISALLOWED_TLDS.contains(&last))
    }
}

/// One DNS label: letters, digits and inner hyphens, 1–63 bytes.
pub(super) fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
