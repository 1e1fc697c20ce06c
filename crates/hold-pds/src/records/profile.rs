//! The hold's profile: what applications show of its account. A crew administrator writes it like any other record; the first start
//! makes one, so that the account has a name from the beginning.

use atcr_atproto::syntax::RecordKey;
use serde_json::json;

use crate::error::RepoError;
use crate::writer::RecordWrite;

/// The collection in which holds have their profile. It is another project's.
pub const COLLECTION: &str = "sh.tangled.actor.profile";

/// What a new profile says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstProfile {
    /// The name.
    pub display_name: String,
    /// A sentence or two.
    pub description: String,
}

impl FirstProfile {
    /// The record.
    pub(super) fn write(&self) -> Result<RecordWrite, RepoError> {
        Ok(RecordWrite::Put {
            collection: COLLECTION.parse()?,
            rkey: RecordKey::literal_self(),
            // The lexicon wants to be told that the profile does not link to one of Bluesky.
            value: json!({
                "$type": COLLECTION,
                "displayName": self.display_name,
                "description": self.description,
                "bluesky": false,
            }),
        })
    }
}
