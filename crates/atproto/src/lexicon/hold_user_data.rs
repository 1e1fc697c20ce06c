//! Outputs of `io.atcr.hold.exportUserData` and `deleteUserData`.

use serde::{Deserialize, Serialize};

use crate::syntax::{AtUri, Datetime, Did};

/// Output of `io.atcr.hold.exportUserData`: all that a hold knows of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportUserDataOutput {
    /// When this was put together.
    pub exported_at: Datetime,
    /// The hold.
    pub hold_did: Did,
    /// The caller.
    pub user_did: Did,
    /// The caller owns the hold.
    pub is_captain: bool,
    /// Their membership.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew_record: Option<ExportedCrew>,
    /// Their layers.
    pub layer_records: Vec<ExportedLayer>,
    /// Counts of their repositories.
    pub stats_records: Vec<ExportedStats>,
    /// Posts that mention them.
    pub bluesky_posts: Vec<ExportedPost>,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedCrew {
    /// The label.
    pub role: String,
    /// What they may do.
    pub permissions: Vec<String>,
    /// The quota tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Since when.
    pub added_at: Datetime,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedLayer {
    /// The digest.
    pub digest: String,
    /// Length in bytes.
    pub size: u64,
    /// The media type.
    pub media_type: String,
    /// The manifest's record.
    pub manifest: AtUri,
    /// When it was pushed.
    pub created_at: Datetime,
}

/// Counts of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedStats {
    /// The repository.
    pub repository: String,
    /// Manifest downloads.
    pub pull_count: u64,
    /// Manifest uploads.
    pub push_count: u64,
    /// The latest download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pull: Option<Datetime>,
    /// The latest upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_push: Option<Datetime>,
    /// When the record was last written.
    pub updated_at: Datetime,
}

/// A post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedPost {
    /// Its address.
    pub uri: AtUri,
    /// Its text.
    pub text: String,
    /// When it was written.
    pub created_at: Datetime,
}

/// Error names of these methods.
pub mod error {
    /// Not everything could be erased.
    pub const DELETION_FAILED: &str = "DeletionFailed";
}

/// Output of `io.atcr.hold.deleteUserData`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteUserDataOutput {
    /// True.
    pub success: bool,
    /// The membership is gone; false for the captain.
    pub crew_deleted: bool,
    /// Layer records deleted.
    pub layers_deleted: u64,
    /// Records of counts deleted.
    pub stats_deleted: u64,
}
