//! An image in an OCI image layout on this machine.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use atcr_oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio_util::io::ReaderStream;

use crate::error::ScanError;
use crate::image::layout::blob_path;
use crate::image::source::{ImageSource, Pieces};

/// Indexes in indexes.
const DEPTH: usize = 4;

/// A layout.
#[derive(Clone, Debug)]
pub struct OciFolder(PathBuf);

impl OciFolder {
    /// The layout in `folder`.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The image in the layout: its only one, or the first for this machine's platform.
    ///
    /// # Errors
    /// `Fetch` if there is none.
    pub fn image(&self) -> Result<Digest, ScanError> {
        let mut index = read(&self.0.join("index.json"))?;
        for _ in 0..DEPTH {
            let parsed = Manifest::parse(index, Some("application/vnd.oci.image.index.v1+json"));
            let manifest = parsed.map_err(|error| not_a_layout(&error.to_string()))?;
            let children = manifest.as_index().map(|index| index.manifests.clone());
            let child = choose(children.unwrap_or_default())
                .ok_or_else(|| not_a_layout("there is no image for this platform in it"))?;
            let bytes = read(&blob_path(&self.0, &child.digest))?;
            let is_index =
                Manifest::parse(bytes.clone(), None).is_ok_and(|manifest| manifest.as_index().is_some());
            if !is_index {
                return Ok(child.digest);
            }
            index = bytes;
        }
        Err(not_a_layout("its indexes are nested too deep"))
    }
}

fn read(path: &Path) -> Result<Bytes, ScanError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| file.take(MAX_MANIFEST_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| not_a_layout(&format!("{}: {error}", path.display())))?;
    Ok(bytes.into())
}

fn not_a_layout(why: &str) -> ScanError {
    ScanError::Fetch(format!("no usable image layout: {why}"))
}

/// The only child, or the first of this machine's platform.
fn choose(children: Vec<Descriptor>) -> Option<Descriptor> {
    if let [_] = children.as_slice() {
        return children.into_iter().next();
    }
    children.into_iter().find(|child| {
        let platform = child.platform.as_ref();
        platform.is_some_and(|platform| is_of_this_machine(&platform.os, &platform.architecture))
    })
}

/// Whether images of this platform run here.
pub(crate) fn is_of_this_machine(os: &str, architecture: &str) -> bool {
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    os == "linux" && architecture == own
}

#[async_trait]
impl ImageSource for OciFolder {
    async fn manifest(&self, digest: &Digest) -> Result<Manifest, ScanError> {
        let bytes = read(&blob_path(&self.0, digest))?;
        if !digest.matches(&bytes) {
            return Err(ScanError::DigestMismatch(format!(
                "the bytes of {digest} hash to something else"
            )));
        }
        Manifest::parse(bytes, None)
            .map_err(|error| ScanError::MediaType(format!("the manifest cannot be read: {error}")))
    }

    async fn open(&self, digest: &Digest) -> Result<Pieces, ScanError> {
        let path = blob_path(&self.0, digest);
        let file = tokio::fs::File::open(&path).await;
        let file = file.map_err(|error: io::Error| ScanError::Fetch(format!("{digest}: {error}")))?;
        let pieces = ReaderStream::with_capacity(file, 64 * 1024);
        Ok(pieces
            .map_err(|error| ScanError::Fetch(error.to_string()))
            .boxed())
    }
}
