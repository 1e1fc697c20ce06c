//! Brings an image into a layout, checked on its way.

use std::io::Read as _;
use std::path::PathBuf;

use atcr_oci::{Descriptor, Digest, Manifest};

use super::diff_ids;
use super::inspect::{LayerFacts, Left};
use super::layer_cache::LayerCache;
use super::layout::Layout;
use super::reading::read_into;
use super::source::ImageSource;
use crate::bounds::{ImageBounds, MAX_CONFIG_BYTES};
use crate::error::ScanError;
use crate::job_time::JobTime;

/// An image on the disk.
#[derive(Debug)]
pub struct FetchedImage {
    /// The layout that has it and nothing else.
    pub layout: Layout,
    /// Its layers, base first.
    pub layers: Vec<LayerFacts>,
}

impl FetchedImage {
    /// Bytes of all layers, unpacked.
    #[must_use]
    pub fn unpacked_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unpacked_bytes).sum()
    }

    /// Bytes of the largest layer, unpacked.
    #[must_use]
    pub fn largest_layer_bytes(&self) -> u64 {
        let sizes = self.layers.iter().map(|layer| layer.unpacked_bytes);
        sizes.max().unwrap_or_default()
    }
}

/// Makes a layout of the image in `folder`. Every blob has the digest and the size that the manifest says, and every layer unpacks to
/// what the config says.
///
/// # Errors
/// [`ScanError`]; what was written so far is left in `folder`.
pub async fn fetch(
    manifest: &Manifest,
    digest: &Digest,
    parts: (&Descriptor, &[Descriptor]),
    source: &dyn ImageSource,
    (cache, time): (&LayerCache, &JobTime),
    bounds: &ImageBounds,
    folder: PathBuf,
) -> Result<FetchedImage, ScanError> {
    let (config, layers) = parts;
    let layout = Layout::create(folder)?;
    let config = fetch_config(config, source, &layout).await?;
    let diff_ids = diff_ids(&config, layers.len())?;
    let mut left = Left::all(bounds);
    let mut facts = Vec::with_capacity(layers.len());
    for (layer, diff_id) in layers.iter().zip(&diff_ids) {
        let target = layout.blob_path(&layer.digest);
        let found = cache.link(layer, source, (left, bounds), time, &target).await?;
        if found.diff_id != *diff_id {
            return Err(ScanError::DigestMismatch(format!(
                "{} unpacks to {} and not, as the config says, to {diff_id}",
                layer.digest, found.diff_id
            )));
        }
        left = left.after(&found, bounds)?;
        facts.push(found);
    }
    layout.finish(manifest, digest)?;
    Ok(FetchedImage {
        layout,
        layers: facts,
    })
}

async fn fetch_config(
    config: &Descriptor,
    source: &dyn ImageSource,
    layout: &Layout,
) -> Result<Vec<u8>, ScanError> {
    if config.size > MAX_CONFIG_BYTES {
        return Err(ScanError::too_large(
            "config",
            format!("a config of more than {MAX_CONFIG_BYTES} bytes"),
        ));
    }
    let path = layout.blob_path(&config.digest);
    let pieces = source.open(&config.digest).await?;
    read_into(pieces, config.clone(), &path, |arriving| {
        let mut bytes = Vec::new();
        let read = arriving.read_to_end(&mut bytes);
        read.map_err(|error| ScanError::from_reader(error, ScanError::workspace("cannot read a config")))?;
        Ok(bytes)
    })
    .await
}
