//! A notice of `notifyManifest`, checked: everything in it fits into a record.

use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::manifest::{UNTYPED, short_media_type};
use atcr_atproto::lexicon::notify_manifest::{
    ChildManifestInfo, LayerInfo, ManifestInfo, NotifyManifestInput, PlatformInfo,
};
use atcr_atproto::lexicon::{manifest, nsid};
use atcr_atproto::syntax::{AtUri, Datetime, Did};
use atcr_oci::{Digest, MediaType};
use serde::{Deserialize, Serialize};

use crate::blobs::{BlobError, BlobService};

/// Bytes of a repository's name.
const MAX_REPOSITORY_LEN: usize = 256;

/// Bytes of a tag.
const MAX_TAG_LEN: usize = 128;

/// Children of one index.
const MAX_CHILDREN: usize = 4096;

/// Bytes of a child's operating system or architecture.
const MAX_PLATFORM_LEN: usize = 64;

/// Blobs looked for to find out whether a manifest that was pulled is kept here.
const BLOBS_TRIED: usize = 8;

/// A notice that is not valid. The text names the part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidNotice {
    what: String,
}

/// One layer of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

/// One child of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The child's digest.
    pub digest: Digest,
    /// Its media type, if it was said.
    pub media_type: Option<String>,
    /// What it runs on, if it was said.
    pub platform: Option<PlatformInfo>,
}

/// What an AppView says of one manifest. Serializes for the hold's own database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub(super) owner: Did,
    pub(super) repository: String,
    pub(super) manifest: AtUri,
    pub(super) layers: Vec<Layer>,
    config: Option<Digest>,
    media_type: Option<String>,
    tag: Option<String>,
    children: Vec<Child>,
}

impl Notice {
    /// Checks `input`, except for its operation. The configuration and an index's children get no records: the first has no
    /// tracking record, the others are manifests of their own. A layer or child without a digest is passed over.
    ///
    /// # Errors
    /// [`InvalidNotice`] when a digest, size or name does not fit into a record, or there are more than `max_layers` layers.
    /// A media type that does not fit is shortened.
    pub fn parse(input: NotifyManifestInput, max_layers: u32) -> Result<Self, InvalidNotice> {
        if input.repository.is_empty() || input.repository.len() > MAX_REPOSITORY_LEN {
            return Err(invalid("repository must have 1 to 256 bytes"));
        }
        let digest: Digest = input
            .manifest_digest
            .parse()
            .map_err(|_| invalid("manifestDigest is not a digest"))?;
        let manifest = manifest::rkey(digest.as_str())
            .and_then(|rkey| AtUri::record(&input.user_did, nsid::MANIFEST, &rkey))
            .map_err(|error| invalid(format!("manifestDigest: {error}")))?;
        let tag = input.tag.filter(|tag| !tag.is_empty());
        if tag.as_ref().is_some_and(|tag| tag.len() > MAX_TAG_LEN) {
            return Err(invalid("tag must have at most 128 bytes"));
        }
        let ManifestInfo {
            media_type,
            config,
            layers,
            manifests,
        } = input.manifest;
        Ok(Self {
            owner: input.user_did,
            repository: input.repository,
            manifest,
            layers: each("layers", layers, max_layers as usize, parse_layer)?,
            config: match config {
                Some(config) => {
                    digest_of(&config.digest).map_err(|what| invalid(format!("manifest.config.{what}")))?
                }
                None => None,
            },
            media_type: media_type.as_deref().and_then(stated_type),
            tag,
            children: each("manifests", manifests, MAX_CHILDREN, parse_child)?,
        })
    }

    /// Whose manifest it is.
    #[must_use]
    pub fn owner(&self) -> &Did {
        &self.owner
    }

    /// The key of the manifest's record.
    #[must_use]
    pub fn rkey(&self) -> &str {
        self.manifest.as_str().rsplit('/').next().unwrap_or_default()
    }

    /// Everything that the manifest is said to name: configuration, layers, children.
    #[must_use]
    pub fn names(&self) -> Vec<Digest> {
        let layers = self.layers.iter().map(|layer| &layer.digest);
        let children = self.children.iter().map(|child| &child.digest);
        self.config
            .iter()
            .chain(layers)
            .chain(children)
            .cloned()
            .collect()
    }

    /// The image name without the owner.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The manifest's digest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        manifest::digest_from_rkey(self.manifest.rkey()?.as_str())?
            .parse()
            .ok()
    }

    /// Media types of the layers, as far as they were said.
    pub fn layer_types(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.media_type.as_str())
    }

    /// Whether it is an index, as far as was said.
    #[must_use]
    pub fn is_index(&self) -> bool {
        let stated = self.media_type.as_deref();
        let stated = stated.and_then(|media_type| media_type.parse::<MediaType>().ok());
        !self.children.is_empty() || stated.is_some_and(|media_type| media_type.is_index())
    }

    /// The media type of the manifest, if it was said.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// The tag that the manifest was pushed by, if any.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The children of an index.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// How many layers it names, and their sizes as they were said, added up.
    #[must_use]
    pub fn layers_in_all(&self) -> (usize, u64) {
        let sizes = self.layers.iter().map(|layer| layer.size);
        (self.layers.len(), sizes.fold(0, u64::saturating_add))
    }

    /// The records that its layers get.
    pub(super) fn layer_records(&self, now: &Datetime) -> Vec<LayerRecord> {
        let record = |layer: &Layer| {
            LayerRecord::new(
                layer.digest.to_string(),
                layer.size,
                layer.media_type.clone(),
                self.manifest.clone(),
                self.owner.clone(),
                now.clone(),
            )
        };
        self.layers.iter().map(record).collect()
    }

    /// Whether a layer is promised to the owner, and its blob is not in the store yet.
    pub(super) async fn waits_for(&self, blobs: &BlobService) -> Result<bool, BlobError> {
        let promised = blobs.promised_to(&self.owner).await?;
        Ok(self.layers.iter().any(|layer| promised.contains(&layer.digest)))
    }

    /// Whether the store may have the manifest's content: false when the notice names blobs and none of the first few is there.
    /// An index names none.
    pub(super) async fn may_be_kept_in(&self, blobs: &BlobService) -> bool {
        let named = self
            .config
            .iter()
            .chain(self.layers.iter().map(|layer| &layer.digest));
        let mut names_any = false;
        for digest in named.take(BLOBS_TRIED) {
            names_any = true;
            match blobs.stat(None, digest).await {
                Ok(Some(_)) => return true,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%digest, %error, "a pull is not counted: the store could not be asked");
                    return false;
                }
            }
        }
        !names_any
    }
}

fn invalid(what: impl Into<String>) -> InvalidNotice {
    InvalidNotice { what: what.into() }
}

/// Parses a list of at most `max` entries; `None` of an entry leaves it out.
fn each<T, P>(
    name: &str,
    entries: Vec<T>,
    max: usize,
    parse: impl Fn(T) -> Result<Option<P>, &'static str>,
) -> Result<Vec<P>, InvalidNotice> {
    if entries.len() > max {
        return Err(invalid(format!("manifest.{name} has more than {max} entries")));
    }
    let parsed = entries.into_iter().enumerate().map(|(index, entry)| {
        parse(entry).map_err(|what| invalid(format!("manifest.{name}[{index}].{what}")))
    });
    // Entries that are left out are `Ok(None)`.
    parsed.filter_map(Result::transpose).collect()
}

fn parse_layer(layer: LayerInfo) -> Result<Option<Layer>, &'static str> {
    // Records have signed integers.
    if i64::try_from(layer.size).is_err() {
        return Err("size is too large");
    }
    Ok(digest_of(&layer.digest)?.map(|digest| Layer {
        digest,
        size: layer.size,
        media_type: stated_type(&layer.media_type).unwrap_or_else(|| UNTYPED.to_owned()),
    }))
}

fn parse_child(child: ChildManifestInfo) -> Result<Option<Child>, &'static str> {
    let is_long = |platform: &PlatformInfo| {
        platform.os.len() > MAX_PLATFORM_LEN || platform.architecture.len() > MAX_PLATFORM_LEN
    };
    if child.platform.as_ref().is_some_and(is_long) {
        return Err("platform is too long");
    }
    Ok(digest_of(&child.digest)?.map(|digest| Child {
        digest,
        media_type: stated_type(&child.media_type),
        platform: child.platform,
    }))
}

fn digest_of(text: &str) -> Result<Option<Digest>, &'static str> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "digest is not a digest"),
    }
}

fn stated_type(media_type: &str) -> Option<String> {
    (!media_type.is_empty()).then(|| short_media_type(media_type).to_owned())
}
