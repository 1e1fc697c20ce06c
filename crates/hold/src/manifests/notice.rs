//! A notice of `notifyManifest`, checked: everything in it fits into a record.

use std::collections::{HashMap, HashSet};

use atcr_atproto::lexicon::manifest::{UNTYPED, short_media_type};
use atcr_atproto::lexicon::notify_manifest::{LayerInfo, NotifyManifestInput};
use atcr_atproto::lexicon::{manifest, nsid};
use atcr_atproto::syntax::{AtUri, Did};
use atcr_oci::Digest;
use futures_util::{StreamExt as _, stream};

use crate::blobs::BlobService;

/// Bytes of a repository's name.
const MAX_REPOSITORY_LEN: usize = 256;

/// Layers of one manifest; real images stay below 130, artifacts have been seen with some hundred.
const MAX_LAYERS: usize = 4096;

/// Layers looked for in the store at once.
const LOOKS_AT_ONCE: usize = 16;

/// A notice that cannot be believed. The text says which part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidNotice {
    what: String,
}

/// One layer of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

/// What an AppView says of one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub(super) owner: Did,
    pub(super) repository: String,
    pub(super) manifest: AtUri,
    pub(super) layers: Vec<Layer>,
}

impl Notice {
    /// Checks `input`, except for its operation. The configuration and an index's children keep nothing: the first has no
    /// tracking record, the others are manifests of their own.
    ///
    /// # Errors
    /// [`InvalidNotice`] when a digest, size or name does not fit into a record, or there are too many layers. A media type that
    /// does not fit is shortened.
    pub fn parse(input: NotifyManifestInput) -> Result<Self, InvalidNotice> {
        let invalid = |what: String| InvalidNotice { what };
        if input.repository.is_empty() || input.repository.len() > MAX_REPOSITORY_LEN {
            return Err(invalid("repository must have 1 to 256 bytes".to_owned()));
        }
        let digest: Digest = input
            .manifest_digest
            .parse()
            .map_err(|_| invalid("manifestDigest is not a digest".to_owned()))?;
        let manifest = manifest::rkey(digest.as_str())
            .and_then(|rkey| AtUri::record(&input.user_did, nsid::MANIFEST, &rkey))
            .map_err(|error| invalid(format!("manifestDigest: {error}")))?;
        if input.manifest.layers.len() > MAX_LAYERS {
            return Err(invalid(format!(
                "manifest.layers has more than {MAX_LAYERS} entries"
            )));
        }
        let layers = input
            .manifest
            .layers
            .into_iter()
            .enumerate()
            .map(|(index, layer)| {
                parse_layer(layer).map_err(|what| invalid(format!("manifest.layers[{index}].{what}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            owner: input.user_did,
            repository: input.repository,
            manifest,
            layers,
        })
    }

    /// Gives every layer the size of its object in place of the one that was claimed. A layer that is not in the store, or cannot be
    /// looked for now, keeps the claim: without its record nothing would keep the blob.
    pub(super) async fn weigh(&mut self, blobs: &BlobService) {
        let distinct: HashSet<Digest> = self.layers.iter().map(|layer| layer.digest.clone()).collect();
        let sizes: HashMap<Digest, u64> = stream::iter(distinct)
            .map(async |digest: Digest| match blobs.stat(&digest).await {
                Ok(found) => found.map(|found| (digest, found.size)),
                Err(error) => {
                    tracing::warn!(%digest, %error, "a layer is recorded with the size that was claimed");
                    None
                }
            })
            .buffer_unordered(LOOKS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        for layer in &mut self.layers {
            if let Some(size) = sizes.get(&layer.digest) {
                layer.size = *size;
            }
        }
    }
}

fn parse_layer(layer: LayerInfo) -> Result<Layer, &'static str> {
    let digest = layer.digest.parse().map_err(|_| "digest is not a digest")?;
    // Records have signed integers.
    if i64::try_from(layer.size).is_err() {
        return Err("size is too large");
    }
    let media_type = if layer.media_type.is_empty() {
        UNTYPED
    } else {
        short_media_type(&layer.media_type)
    };
    Ok(Layer {
        digest,
        size: layer.size,
        media_type: media_type.to_owned(),
    })
}
