//! The image index: a list of manifests.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::descriptor::{Annotations, Descriptor};
use crate::media_type::MediaType;

/// What an image index or Docker manifest list says; also the body of a referrers answer.
///
/// # Spec
/// image-spec v1.1, image-index.md; distribution-spec v1.1, Listing Referrers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u8,
    /// The index's own type.
    pub media_type: MediaType,
    /// What kind of artifact this is, as the document states it; absent rather than empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests it lists; may be empty and may contain further indexes.
    pub manifests: Vec<Descriptor>,
    /// The manifest this one refers to; it need not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

impl ImageIndex {
    /// An OCI image index of these manifests; as it stands, the answer to a referrers request.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MediaType::OCI_IMAGE_INDEX,
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Annotations::new(),
        }
    }
}
