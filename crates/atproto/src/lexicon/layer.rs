//! `io.atcr.hold.layer`: a layer of a pushed manifest, for quotas and garbage collection.

use serde::{Deserialize, Serialize};

use super::{Record, nsid};
use crate::syntax::{AtUri, Datetime, Did};

/// One layer reference of one pushed manifest, under a TID. The same digest appears once per manifest that has it.
///
/// # Spec
/// `io.atcr.hold.layer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerRecord {
    /// `sha256:<hex>` or `sha512:<hex>`.
    pub digest: String,
    /// Length in bytes.
    pub size: u64,
    /// The layer's media type.
    pub media_type: String,
    /// The manifest's record.
    pub manifest: AtUri,
    /// Who pushed it.
    pub user_did: Did,
    /// When.
    pub created_at: Datetime,
}

impl Record for LayerRecord {
    const NSID: &'static str = nsid::HOLD_LAYER;
}

impl LayerRecord {
    /// A layer of the manifest at `manifest`, which `user` pushed.
    #[must_use]
    pub fn new(
        digest: impl Into<String>,
        size: u64,
        media_type: impl Into<String>,
        manifest: AtUri,
        user: Did,
        created_at: Datetime,
    ) -> Self {
        Self {
            digest: digest.into(),
            size,
            media_type: media_type.into(),
            manifest,
            user_did: user,
            created_at,
        }
    }
}
