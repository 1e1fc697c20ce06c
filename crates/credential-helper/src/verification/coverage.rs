//! What the proven bytes name by digest.

use atcr_oci::{Descriptor, Digest, Manifest};
use bytes::Bytes;
use serde::Serialize;

/// What a manifest covers: whoever trusts its bytes can check all of this by its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Manifests of an index, each once.
    pub children: usize,
    /// Configuration and layers, each once.
    pub blobs: usize,
    /// The length in bytes of these blobs together.
    pub size_bytes: u64,
    /// It is no manifest that is understood; what it names is not known.
    pub is_opaque: bool,
}

impl Coverage {
    /// What `bytes`, of `media_type`, name.
    #[must_use]
    pub fn of(bytes: &Bytes, media_type: &str) -> Self {
        let Ok(manifest) = Manifest::parse(bytes.clone(), Some(media_type)) else {
            return Self {
                is_opaque: true,
                ..Self::default()
            };
        };
        let blobs = blobs(&manifest);
        Self {
            children: children(&manifest).len(),
            size_bytes: blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.size)),
            blobs: blobs.len(),
            is_opaque: false,
        }
    }

    /// In words.
    #[must_use]
    pub fn sentence(&self, is_hashed: bool) -> String {
        let count = |number: usize, one: &str| {
            if number == 1 {
                format!("1 {one}")
            } else {
                format!("{number} {one}s")
            }
        };
        let hashed = if is_hashed { "read and hashed" } else { "not read" };
        match (self.is_opaque, self.children, self.blobs) {
            (true, ..) => "its own bytes; what they name is not understood here".to_owned(),
            (false, 0, 0) => "its own bytes, which name no others".to_owned(),
            (false, 0, blobs) => format!(
                "its own bytes, and by digest {} of {} bytes ({hashed})",
                count(blobs, "blob"),
                self.size_bytes
            ),
            (false, children, _) => format!(
                "its own bytes, and by digest {} with all that they name ({hashed})",
                count(children, "manifest")
            ),
        }
    }
}

/// The children of an index, each once.
#[must_use]
pub fn children(manifest: &Manifest) -> Vec<Descriptor> {
    unique(manifest.manifests().iter())
}

/// Configuration and layers, each once. Layers that have their bytes elsewhere by rule (`urls` of foreign layers) are among them.
#[must_use]
pub fn blobs(manifest: &Manifest) -> Vec<Descriptor> {
    unique(manifest.blobs())
}

fn unique<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vec<Descriptor> {
    let mut seen = std::collections::HashSet::<Digest>::new();
    descriptors
        .filter(|descriptor| seen.insert(descriptor.digest.clone()))
        .cloned()
        .collect()
}
