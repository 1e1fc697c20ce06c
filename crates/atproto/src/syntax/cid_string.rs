//! CIDs where a record has them as text rather than as links.

use std::str::FromStr;

use super::string_type::string_type;
use super::{Cid, SyntaxError};

/// A CID as text, checked no further than Lexicon does: 8–256 characters of any multibase, not version 0. Links are
/// [`Cid`]s; this is for fields that merely mention one.
///
/// # Spec
/// atproto specs "Lexicon", string format `cid`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CidString(String);

string_type!(CidString);

impl FromStr for CidString {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("CID", reason));
        if !(8..=256).contains(&text.len()) {
            return fail("not 8 to 256 characters");
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+=".contains(&byte))
        {
            return fail("has a character that no multibase in use has");
        }
        if text.starts_with("Qm") {
            return fail("version 0");
        }
        Ok(Self(text.to_owned()))
    }
}

impl CidString {
    /// The CID, if it really is one of version 1.
    #[must_use]
    pub fn to_cid(&self) -> Option<Cid> {
        self.0
            .parse::<Cid>()
            .ok()
            .filter(|cid| cid.version() == cid::Version::V1)
    }
}

impl From<Cid> for CidString {
    fn from(cid: Cid) -> Self {
        Self(cid.to_string())
    }
}
