//! `at://` addresses of accounts, collections and records.

use std::str::FromStr;

use super::string_type::string_type;
use super::{AtIdentifier, Did, Nsid, RecordKey, SyntaxError};

/// The address of an account, a collection or a record: `at://<did or handle>[/<collection>[/<record key>]]`. At most
/// 8 KiB; no query, no fragment.
///
/// # Spec
/// atproto specs "AT URI", restricted syntax of Lexicon.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtUri(String);

string_type!(AtUri);

const MAX_LEN: usize = 8 * 1024;

impl FromStr for AtUri {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("AT URI", reason));
        if text.len() > MAX_LEN {
            return fail("longer than 8 KiB");
        }
        let Some(rest) = text.strip_prefix("at://") else {
            return fail("does not begin with at://");
        };
        let mut segments = rest.split('/');
        let authority = segments.next().unwrap_or_default();
        if authority.parse::<AtIdentifier>().is_err() {
            return fail("the authority is neither a DID nor a handle");
        }
        if segments
            .next()
            .is_some_and(|collection| collection.parse::<Nsid>().is_err())
        {
            return fail("the collection is not an NSID");
        }
        if segments
            .next()
            .is_some_and(|rkey| rkey.parse::<RecordKey>().is_err())
        {
            return fail("the record key is not valid");
        }
        if segments.next().is_some() {
            return fail("more than a collection and a record key");
        }
        Ok(Self(text.to_owned()))
    }
}

impl AtUri {
    /// The address of a record.
    ///
    /// # Errors
    /// [`SyntaxError`] if `collection` is not an NSID.
    pub fn record(did: &Did, collection: &str, rkey: &RecordKey) -> Result<Self, SyntaxError> {
        format!("at://{did}/{collection}/{rkey}").parse()
    }

    /// The account, as it is written in the address.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.segment(0).unwrap_or_default()
    }

    /// The account, if the address names it by its DID.
    #[must_use]
    pub fn did(&self) -> Option<Did> {
        self.authority().parse().ok()
    }

    /// The collection, if the address goes that far.
    #[must_use]
    pub fn collection(&self) -> Option<&str> {
        self.segment(1)
    }

    /// The record key, if the address goes that far.
    #[must_use]
    pub fn rkey(&self) -> Option<RecordKey> {
        self.segment(2)?.parse().ok()
    }

    fn segment(&self, index: usize) -> Option<&str> {
        self.0.strip_prefix("at://")?.split('/').nth(index)
    }
}
