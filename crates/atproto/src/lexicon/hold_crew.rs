//! Inputs and outputs of the crew and quota methods of a hold.

use serde::{Deserialize, Serialize};

use crate::syntax::{AtUri, CidString, Did};

/// Input of `io.atcr.hold.requestCrew`; `{}` asks for the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCrewInput {
    /// The label; absent: `member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The permissions asked for; absent: to read and to write blobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
}

/// Output of `io.atcr.hold.requestCrew`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCrewOutput {
    /// Whether the record is new.
    pub status: CrewStatus,
    /// The member's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<AtUri>,
    /// Its CID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<CidString>,
    /// Words for a human being.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What `requestCrew` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrewStatus {
    /// `created`: a new member.
    Created,
    /// `already_member`: nothing to do.
    AlreadyMember,
}

/// Output of `io.atcr.hold.getQuota`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetQuotaOutput {
    /// The user.
    pub user_did: Did,
    /// Distinct blobs of theirs.
    pub unique_blobs: u64,
    /// Bytes in these.
    pub total_size: u64,
    /// Bytes allowed; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Their tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// Output of `io.atcr.hold.listTiers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTiersOutput {
    /// The tiers, lowest rank first.
    pub tiers: Vec<TierInfo>,
}

/// One tier of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TierInfo {
    /// Its name.
    pub name: String,
    /// Bytes allowed.
    pub quota_bytes: u64,
    /// The same for a human being, `5.0 GB`.
    pub quota_formatted: String,
    /// Pushed images are scanned at once.
    #[serde(default)]
    pub scan_on_push: bool,
}

/// Input of `io.atcr.hold.updateCrewTier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateCrewTierInput {
    /// The member.
    pub user_did: Did,
    /// Position in the hold's own list of tiers, from 0.
    pub tier_rank: u32,
}

/// Output of `io.atcr.hold.updateCrewTier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateCrewTierOutput {
    /// The tier's name.
    pub tier_name: String,
}

/// Error names of these methods.
pub mod error {
    /// No valid token.
    pub const AUTH_REQUIRED: &str = "AuthRequired";
    /// The hold takes no crew by itself.
    pub const REGISTRATION_DISABLED: &str = "RegistrationDisabled";
    /// Not crew.
    pub const USER_NOT_FOUND: &str = "UserNotFound";
    /// The `userDid` of `getQuota` is not a DID.
    pub const INVALID_USER_DID: &str = "InvalidUserDid";
}
