//! `io.atcr.hold`: how owners once announced a hold. Read when a user's profile names none; never written.

use serde::{Deserialize, Serialize};

use super::{Record, lenient, nsid};
use crate::syntax::{Datetime, Did};

/// An old announcement of a hold, in its owner's repository.
///
/// # Spec
/// `io.atcr.hold` of 2025.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldLegacyRecord {
    /// The hold's URL.
    pub endpoint: String,
    /// The hold's owner.
    pub owner: Did,
    /// When it was announced.
    pub created_at: Datetime,
    /// Every caller may read.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub public: bool,
}

impl Record for HoldLegacyRecord {
    const NSID: &'static str = nsid::HOLD;
}

impl HoldLegacyRecord {
    /// The did:web of the hold; `None` if the endpoint is not a URL that has one.
    #[must_use]
    pub fn hold(&self) -> Option<Did> {
        lenient::did_from_did_or_url(&self.endpoint)
    }
}
