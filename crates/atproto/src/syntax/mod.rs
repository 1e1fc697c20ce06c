//! The identifiers of AT Protocol as types: a value that exists is valid.
//!
//! Every type here wraps the string it was parsed from and keeps it verbatim, except [`Handle`], which is lower-cased.
//! All of them parse with [`FromStr`](std::str::FromStr), print with [`Display`](std::fmt::Display) and travel through
//! serde as plain strings; deserialising refuses what parsing refuses.
//!
//! # Spec
//! atproto specs "DID", "Handle", "NSID", "TID", "Record Key", "AT URI" and "Lexicon, string formats".

mod at_identifier;
mod at_uri;
mod cid_string;
mod datetime;
mod did;
mod handle;
mod language;
mod nsid;
mod record_key;
mod string_type;
mod tid;
mod uri;

pub use at_identifier::AtIdentifier;
pub use at_uri::AtUri;
pub use cid::Cid;
pub use cid_string::CidString;
pub use datetime::Datetime;
pub use did::Did;
pub use handle::Handle;
pub use language::Language;
pub use nsid::Nsid;
pub use record_key::RecordKey;
pub use tid::Tid;
pub use uri::Uri;

/// A string that is not of the form its type demands.
///
/// The offending value is not part of the message: it may be long, hostile or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind}: {reason}")]
pub struct SyntaxError {
    /// What was expected, in words: `DID`, `handle`, …
    pub kind: &'static str,
    /// The rule that was broken.
    pub reason: &'static str,
}

impl SyntaxError {
    pub(crate) const fn new(kind: &'static str, reason: &'static str) -> Self {
        Self { kind, reason }
    }
}

#[cfg(test)]
mod tests;
