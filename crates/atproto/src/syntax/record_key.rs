//! Record keys: the name of a record inside its collection.

use std::str::FromStr;

use super::string_type::string_type;
use super::{SyntaxError, Tid};

/// The key of a record inside its collection: 1–512 of `A–Z a–z 0–9 . _ : ~ -`, but not `.` or `..`.
///
/// # Spec
/// atproto specs "Record Key", record key syntax.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(String);

string_type!(RecordKey);

impl FromStr for RecordKey {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("record key", reason));
        if !(1..=512).contains(&text.len()) {
            return fail("not 1 to 512 characters");
        }
        if matches!(text, "." | "..") {
            return fail("'.' and '..' are reserved");
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:~-".contains(&byte))
        {
            return fail("has a character that is not allowed");
        }
        Ok(Self(text.to_owned()))
    }
}

impl RecordKey {
    /// The key `self` of a collection that has at most one record.
    #[must_use]
    pub fn literal_self() -> Self {
        Self("self".to_owned())
    }
}

impl From<Tid> for RecordKey {
    fn from(tid: Tid) -> Self {
        Self(tid.into())
    }
}
