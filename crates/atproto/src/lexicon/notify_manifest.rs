//! Input and output of `io.atcr.hold.notifyManifest`: the AppView notifies a hold that a manifest was pushed or pulled.

use serde::{Deserialize, Deserializer, Serialize};

use super::lenient;
use crate::syntax::{AtUri, Did};

/// [`NotifyManifestInput::operation`] after a push.
pub const PUSH: &str = "push";
/// [`NotifyManifestInput::operation`] after a pull.
pub const PULL: &str = "pull";

/// Input of `io.atcr.hold.notifyManifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotifyManifestInput {
    /// The image name without the identity.
    pub repository: String,
    /// The image's owner.
    pub user_did: Did,
    /// The manifest's digest.
    pub manifest_digest: String,
    /// What the manifest names.
    pub manifest: ManifestInfo,
    /// The tag, if it was pushed by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// [`PUSH`] or [`PULL`]; absent, `null` or empty: [`PUSH`].
    #[serde(default = "push", deserialize_with = "operation")]
    pub operation: String,
}

fn push() -> String {
    PUSH.to_owned()
}

fn operation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let stated = Option::<String>::deserialize(deserializer)?;
    Ok(stated.filter(|text| !text.is_empty()).unwrap_or_else(push))
}

/// What a manifest names. Every member may be absent, here and in the parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestInfo {
    /// The manifest's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// An image's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<BlobInfo>,
    /// An image's layers.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient::null_as_default"
    )]
    pub layers: Vec<LayerInfo>,
    /// An index's children.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient::null_as_default"
    )]
    pub manifests: Vec<ChildManifestInfo>,
}

/// A blob by digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobInfo {
    /// The digest; empty when absent.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub digest: String,
    /// Length in bytes; 0 when absent.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub size: u64,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerInfo {
    /// The digest; empty when absent.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub digest: String,
    /// Length in bytes; 0 when absent.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub size: u64,
    /// The media type.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub media_type: String,
}

/// A child of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildManifestInfo {
    /// The digest; empty when absent.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub digest: String,
    /// Length in bytes; 0 when absent.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub size: u64,
    /// The media type.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub media_type: String,
    /// What it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformInfo>,
}

/// A platform in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformInfo {
    /// `linux`, ….
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub os: String,
    /// `amd64`, ….
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub architecture: String,
}

/// Output of `io.atcr.hold.notifyManifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotifyManifestOutput {
    /// True.
    pub success: bool,
    /// The operation that was asked for.
    pub operation: String,
    /// The counts were changed.
    #[serde(default)]
    pub stats_updated: bool,
    /// Layer records written, after a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_created: Option<u64>,
    /// A post was written, after a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_created: Option<bool>,
    /// The post.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_uri: Option<AtUri>,
}

/// Error names of the method.
pub mod error {
    /// The operation is neither push nor pull.
    pub const INVALID_OPERATION: &str = "InvalidOperation";
    /// A push in the name of another account.
    pub const USER_MISMATCH: &str = "UserMismatch";
    /// The user's quota is used up.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
}
