//! An OCI image layout with one image in it, as the tools read it.

use std::fs;
use std::path::{Path, PathBuf};

use atcr_oci::{Digest, Manifest};
use serde_json::json;

use crate::error::ScanError;

/// A layout that is being filled.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// An empty layout at `folder`, which must not exist yet.
    ///
    /// # Errors
    /// `Workspace`.
    pub fn create(folder: PathBuf) -> Result<Self, ScanError> {
        let created = fs::create_dir(&folder)
            .and_then(|()| fs::create_dir(folder.join("blobs")))
            .and_then(|()| fs::create_dir(folder.join("blobs/sha256")))
            .and_then(|()| fs::create_dir(folder.join("blobs/sha512")))
            .and_then(|()| fs::write(folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#));
        created.map_err(ScanError::workspace("cannot make an image layout"))?;
        Ok(Self { folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the blob with `digest` belongs.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.folder, digest)
    }

    /// Writes the manifest, and that it is the layout's only one.
    ///
    /// # Errors
    /// `Workspace`.
    pub fn finish(&self, manifest: &Manifest, digest: &Digest) -> Result<(), ScanError> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": manifest.media_type().as_str(),
                "digest": digest.as_str(),
                "size": manifest.size(),
            }],
        });
        fs::write(self.blob_path(digest), manifest.bytes())
            .and_then(|()| fs::write(self.folder.join("index.json"), index.to_string()))
            .map_err(ScanError::workspace("cannot finish an image layout"))
    }
}

/// Where a layout in `folder` has the blob with `digest`.
#[must_use]
pub fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder
        .join("blobs")
        .join(digest.algorithm().as_str())
        .join(digest.hex())
}
