//! `io.atcr.sailor.profile`: a user's settings.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Record, lenient, nsid};
use crate::syntax::{Datetime, Did};

/// A user's settings, under the key `self`. Fields of newer writers are kept when the record is read and written back.
///
/// # Spec
/// `io.atcr.sailor.profile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SailorProfileRecord {
    /// When the profile was made.
    pub created_at: Datetime,
    /// The hold of pushes that name none. Absent: the user wants no default. A URL, which old records have, reads as the
    /// did:web of its host; see [`has_legacy_hold`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::did_or_url"
    )]
    pub default_hold: Option<Did>,
    /// A push that takes a manifest's last tag away deletes the manifest's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_remove_untagged: Option<bool>,
    /// When the profile was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Datetime>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Record for SailorProfileRecord {
    const NSID: &'static str = nsid::SAILOR_PROFILE;
}

impl SailorProfileRecord {
    /// A new profile.
    #[must_use]
    pub fn new(default_hold: Option<Did>, now: Datetime) -> Self {
        Self {
            created_at: now.clone(),
            default_hold,
            auto_remove_untagged: None,
            updated_at: Some(now),
            other: Map::new(),
        }
    }
}

/// The hold that `text` names: a DID, or a URL or host, of which it is the did:web. `None` for anything else.
#[must_use]
pub fn hold_of(text: &str) -> Option<Did> {
    lenient::did_from_did_or_url(text)
}

/// True if the stored `value` names its hold by URL: write the record that was read from it back.
#[must_use]
pub fn has_legacy_hold(value: &Value) -> bool {
    let hold = value.get("defaultHold").and_then(Value::as_str);
    hold.is_some_and(|text| !text.starts_with("did:") && lenient::did_from_did_or_url(text).is_some())
}
