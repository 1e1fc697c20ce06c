//! The image manifest: a config and layers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::descriptor::{Annotations, Descriptor};
use crate::media_type::MediaType;

/// What an image manifest says, OCI's or Docker's; also artifacts, which use the same form.
///
/// A view for reading and for making new ones: serialising it does not give back the bytes it was read from, only
/// [`Manifest::bytes`](crate::Manifest::bytes) does.
///
/// # Spec
/// image-spec v1.1, manifest.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u8,
    /// The manifest's own type.
    pub media_type: MediaType,
    /// What kind of artifact this is, as the document states it; absent rather than empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration; absent only in manifests of a type outside the specifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    /// The layers, base first; may be empty.
    pub layers: Vec<Descriptor>,
    /// The manifest this one refers to; it need not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

impl ImageManifest {
    /// An OCI image manifest with this config and these layers.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MediaType::OCI_IMAGE_MANIFEST,
            artifact_type: None,
            config: Some(config),
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }
}
