//! `io.atcr.hold.captain`: a hold's owner and rules.

use serde::{Deserialize, Serialize};

use super::{Record, lenient, nsid};
use crate::syntax::{Datetime, Did};

/// A hold's owner and rules, under the key `self`.
///
/// # Spec
/// `io.atcr.hold.captain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptainRecord {
    /// The captain.
    pub owner: Did,
    /// Blobs can be read without a token.
    pub public: bool,
    /// Every account may register as crew.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub allow_all_crew: bool,
    /// The hold posts about pushes.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub enable_bluesky_posts: bool,
    /// When the hold was set up.
    pub deployed_at: Datetime,
    /// Where the store is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The hold that replaces this one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::invalid_as_none"
    )]
    pub successor: Option<Did>,
}

impl Record for CaptainRecord {
    const NSID: &'static str = nsid::HOLD_CAPTAIN;
}

impl CaptainRecord {
    /// A private hold of `owner` that takes no crew by itself; the other fields are set on the result.
    #[must_use]
    pub fn new(owner: Did, deployed_at: Datetime) -> Self {
        Self {
            owner,
            public: false,
            allow_all_crew: false,
            enable_bluesky_posts: false,
            deployed_at,
            region: None,
            successor: None,
        }
    }
}
