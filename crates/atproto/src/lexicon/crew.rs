//! `io.atcr.hold.crew`: a member of a hold.

use serde::{Deserialize, Serialize};

use super::{Record, lenient, nsid, record_key};
use crate::syntax::{Datetime, Did, RecordKey, SyntaxError};

/// Permission to read blobs of a private hold.
pub const BLOB_READ: &str = "blob:read";
/// Permission to write blobs, which includes reading them.
pub const BLOB_WRITE: &str = "blob:write";
/// Permission to manage the crew.
pub const CREW_ADMIN: &str = "crew:admin";

/// A member. Only [`permissions`](Self::permissions) decides access.
///
/// # Spec
/// `io.atcr.hold.crew`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CrewRecord {
    /// Who.
    pub member: Did,
    /// A label: `owner`, `admin`, `write`, `read`, `member`, ….
    pub role: String,
    /// [`BLOB_READ`], [`BLOB_WRITE`], [`CREW_ADMIN`]; unknown ones are kept and mean nothing.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub permissions: Vec<String>,
    /// Since when.
    pub added_at: Datetime,
    /// The quota tier; absent: the hold's default for new crew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

impl Record for CrewRecord {
    const NSID: &'static str = nsid::HOLD_CREW;
}

impl CrewRecord {
    /// A member without a tier of their own.
    pub fn new<P: Into<String>>(
        member: Did,
        role: impl Into<String>,
        permissions: impl IntoIterator<Item = P>,
        added_at: Datetime,
    ) -> Self {
        Self {
            member,
            role: role.into(),
            permissions: permissions.into_iter().map(Into::into).collect(),
            added_at,
            tier: None,
        }
    }

    /// True if the permission is listed by name; what it implies is the hold's to know.
    #[must_use]
    pub fn has_permission(&self, permission: &str) -> bool {
        self.permissions.iter().any(|held| held == permission)
    }
}

/// The key of a member's record. Older holds used other keys: readers match on `member`.
///
/// # Errors
/// None in practice: a hash is always a record key.
pub fn rkey(member: &Did) -> Result<RecordKey, SyntaxError> {
    record_key::of_text(member.as_str())
}
