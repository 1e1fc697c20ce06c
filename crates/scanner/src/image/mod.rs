//! An image on its way to the tools: which manifests are images, where their content comes from, how it gets onto the disk.

pub mod fetch;
pub mod inspect;
pub mod layer_cache;
pub mod layout;
pub mod reading;
pub mod source;
pub mod tar_walk;

use atcr_oci::{Descriptor, Digest, ImageManifest, Manifest, MediaType};
use serde::Deserialize;

use crate::bounds::ImageBounds;
use crate::error::ScanError;

/// What a manifest is to a scanner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An image.
    Image {
        /// Its config.
        config: Box<Descriptor>,
        /// Its layers, base first.
        layers: Vec<Descriptor>,
    },
    /// Something else, with the reason.
    Other(&'static str),
}

impl Subject {
    /// Reads what `manifest` is.
    ///
    /// # Errors
    /// `TooLarge` for an image of more layers, or more bytes, than `bounds` allow; `MediaType` for an image whose layers are not kept in
    /// registries.
    pub fn of(manifest: &Manifest, bounds: &ImageBounds) -> Result<Self, ScanError> {
        let Some(image) = manifest.as_image() else {
            return Ok(Self::Other("an index: its images are scanned one by one"));
        };
        let Some(config) = image.config.clone().filter(|_| image.artifact_type.is_none()) else {
            return Ok(Self::Other("an artifact"));
        };
        if config.media_type != MediaType::OCI_IMAGE_CONFIG && config.media_type != MediaType::DOCKER_CONFIG {
            return Ok(Self::Other("an artifact"));
        }
        if image.layers.iter().any(is_statement) {
            return Ok(Self::Other("an attestation"));
        }
        check_layers(image, bounds)?;
        Ok(Self::Image {
            config: Box::new(config),
            layers: image.layers.clone(),
        })
    }
}

fn is_statement(layer: &Descriptor) -> bool {
    layer.media_type.as_str().starts_with("application/vnd.in-toto")
}

fn check_layers(image: &ImageManifest, bounds: &ImageBounds) -> Result<(), ScanError> {
    if image.layers.len() > bounds.layers {
        return Err(ScanError::too_large(
            "layers",
            format!("more than {} layers", bounds.layers),
        ));
    }
    let mut packed = 0_u64;
    for layer in &image.layers {
        let media_type = layer.media_type.as_str();
        if media_type.contains("foreign") || media_type.contains("nondistributable") {
            return Err(ScanError::MediaType(
                "a layer is not kept in registries".to_owned(),
            ));
        }
        if !media_type.contains("tar") {
            return Err(ScanError::MediaType(format!("a layer of type {media_type}")));
        }
        packed = packed.saturating_add(layer.size);
    }
    // What is packed is not larger than what it unpacks to, or not by much.
    if packed > bounds.unpacked_bytes {
        return Err(ScanError::too_large(
            "packed",
            format!("layers of more than {} bytes", bounds.unpacked_bytes),
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// What an image's config says its layers unpack to.
///
/// # Errors
/// `MediaType` if it is no config; `DigestMismatch` if it is that of another number of layers.
pub fn diff_ids(config: &[u8], layers: usize) -> Result<Vec<Digest>, ScanError> {
    let config: Config = serde_json::from_slice(config)
        .map_err(|error| ScanError::MediaType(format!("the config cannot be read: {error}")))?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() == layers {
        Ok(diff_ids)
    } else {
        Err(ScanError::DigestMismatch(format!(
            "the config has {} layers and the manifest {layers}",
            diff_ids.len()
        )))
    }
}
