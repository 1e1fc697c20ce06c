//! A manifest as it was pushed: the bytes, kept to the last one, and what they say.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::descriptor::{Annotations, Descriptor};
use crate::digest::{Algorithm, Digest};
use crate::error::ManifestError;
use crate::image_index::ImageIndex;
use crate::image_manifest::ImageManifest;
use crate::json::{BoundedList, Field, KnownKey, measure, reason_of};
use crate::media_type::MediaType;

/// Largest manifest in bytes, 4 MiB: what the distribution-spec asks registries to take at least.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// Most entries in `layers` or `manifests`. Images have at most 127 layers; 4096 leaves room for artifacts and large
/// indexes, and a look-up of each entry still ends soon.
pub const MAX_DESCRIPTORS: usize = 4096;

/// Deepest nesting of arrays and objects. The specifications use five levels; the rest is for custom fields.
pub const MAX_JSON_DEPTH: usize = 64;

/// Most values, fields and list entries together. [`MAX_DESCRIPTORS`] with platform and annotations need two thirds of
/// it; without a limit 4 MiB of tiny strings would take ten times as much memory.
pub const MAX_JSON_VALUES: usize = 64 * 1024;

/// The two forms of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// Config and layers: OCI image manifest, Docker manifest version 2, artifacts.
    Image,
    /// A list of manifests: OCI image index, Docker manifest list.
    Index,
}

/// A manifest: its bytes exactly as they were received, and a checked view of them. Cloning is cheap.
///
/// # Which manifests are accepted
/// A JSON object with `schemaVersion` 2 that has the form of an image (`config`, `layers`) or of an index (`manifests`),
/// never of both. Of the four known media types it must have that type's form (an image its `config`, an index its
/// `manifests`); a manifest of any other media type is accepted if it has one of the two forms, since content whose
/// references cannot be read could not be kept safe from garbage collection. Docker's schema 1 is refused. Unknown
/// fields, unknown media types of config, layers and children, embedded `data` and subjects that do not exist are legal.
///
/// # Which media type it has
/// The `mediaType` in the body, which must agree with the `Content-Type` (parameters and case apart); if only one of
/// them is there, that one; if none, the one that follows from the form. `Content-Type: application/json` counts as none.
///
/// # Spec
/// image-spec v1.1, manifest.md and image-index.md; distribution-spec v1.1, Pushing Manifests, end-7a.
#[derive(Clone)]
pub struct Manifest {
    bytes: Bytes,
    view: View,
}

#[derive(Clone)]
enum View {
    Image(Arc<ImageManifest>),
    Index(Arc<ImageIndex>),
}

impl Manifest {
    /// Reads a manifest; `content_type` is the request's or answer's header, if there was one.
    ///
    /// # Errors
    /// [`ManifestError`], with status and code: larger than [`MAX_MANIFEST_BYTES`], or not acceptable as described above.
    /// Work and memory stay proportional to the size of `bytes`, which is checked first.
    pub fn parse(bytes: Bytes, content_type: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let declared = declared_type(content_type)?;
        let extent = measure(&bytes);
        if extent.depth > MAX_JSON_DEPTH {
            return Err(ManifestError::TooDeep);
        }
        if extent.values > MAX_JSON_VALUES {
            return Err(ManifestError::TooManyValues);
        }
        // The parser checks only the strings it hands over; the others must be text for every reader as well.
        let text = std::str::from_utf8(&bytes).map_err(|error| ManifestError::Malformed {
            reason: format!("not UTF-8 from byte {} on", error.valid_up_to()),
        })?;
        let body: Body = serde_json::from_str(text).map_err(|error| ManifestError::Malformed {
            reason: reason_of(&error),
        })?;
        let view = body.into_view(declared)?;
        Ok(Self { bytes, view })
    }

    /// The manifest made of `image`; its bytes are the JSON of it.
    ///
    /// # Errors
    /// As for parsing.
    pub fn from_image(image: &ImageManifest) -> Result<Self, ManifestError> {
        Self::parse(to_json(image)?, Some(image.media_type.as_str()))
    }

    /// The manifest made of `index`; its bytes are the JSON of it.
    ///
    /// # Errors
    /// As for parsing.
    pub fn from_index(index: &ImageIndex) -> Result<Self, ManifestError> {
        Self::parse(to_json(index)?, Some(index.media_type.as_str()))
    }

    /// The bytes as received.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Length of the bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The digest of the bytes; computed at each call.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> Digest {
        Digest::of(algorithm, &self.bytes)
    }

    /// The manifest's media type, without parameters: the `Content-Type` to answer with.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        match &self.view {
            View::Image(image) => &image.media_type,
            View::Index(index) => &index.media_type,
        }
    }

    /// Which of the two forms it has.
    #[must_use]
    pub fn kind(&self) -> ManifestKind {
        match &self.view {
            View::Image(_) => ManifestKind::Image,
            View::Index(_) => ManifestKind::Index,
        }
    }

    /// The view as an image, if it is one.
    #[must_use]
    pub fn as_image(&self) -> Option<&ImageManifest> {
        match &self.view {
            View::Image(image) => Some(image),
            View::Index(_) => None,
        }
    }

    /// The view as an index, if it is one.
    #[must_use]
    pub fn as_index(&self) -> Option<&ImageIndex> {
        match &self.view {
            View::Image(_) => None,
            View::Index(index) => Some(index),
        }
    }

    /// The config of an image.
    #[must_use]
    pub fn config(&self) -> Option<&Descriptor> {
        self.as_image().and_then(|image| image.config.as_ref())
    }

    /// The layers of an image; empty for an index.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        self.as_image().map_or(&[], |image| &image.layers)
    }

    /// The children of an index; empty for an image.
    #[must_use]
    pub fn manifests(&self) -> &[Descriptor] {
        self.as_index().map_or(&[], |index| &index.manifests)
    }

    /// The blobs it needs: config, then layers; non-distributable layers are among them.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config().into_iter().chain(self.layers())
    }

    /// The manifest it refers to; need not exist.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        match &self.view {
            View::Image(image) => image.subject.as_ref(),
            View::Index(index) => index.subject.as_ref(),
        }
    }

    /// The artifact type that the manifest itself states.
    ///
    /// # Spec
    /// image-spec v1.1, manifest.md and image-index.md, `artifactType`.
    #[must_use]
    pub fn stated_artifact_type(&self) -> Option<&str> {
        match &self.view {
            View::Image(image) => image.artifact_type.as_deref(),
            View::Index(index) => index.artifact_type.as_deref(),
        }
    }

    /// The artifact type that a referrers answer shows: the stated one, else the media type of an image's config.
    ///
    /// # Spec
    /// distribution-spec v1.1, Listing Referrers.
    #[must_use]
    pub fn artifact_type(&self) -> Option<String> {
        let by_config = || self.config().map(|config| config.media_type.to_string());
        self.stated_artifact_type().map(str::to_owned).or_else(by_config)
    }

    /// The document's own annotations.
    #[must_use]
    pub fn annotations(&self) -> &Annotations {
        match &self.view {
            View::Image(image) => &image.annotations,
            View::Index(index) => &index.annotations,
        }
    }

    /// The descriptor of this manifest for a referrers answer: with artifact type and annotations.
    #[must_use]
    pub fn referrer_descriptor(&self, digest: Digest) -> Descriptor {
        Descriptor {
            annotations: self.annotations().clone(),
            artifact_type: self.artifact_type(),
            ..Descriptor::new(self.media_type().clone(), digest, self.size())
        }
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("media_type", self.media_type())
            .field("size", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.media_type() == other.media_type()
    }
}

impl Eq for Manifest {}

fn to_json(document: &impl serde::Serialize) -> Result<Bytes, ManifestError> {
    let json = serde_json::to_vec(document).map_err(|error| ManifestError::Malformed {
        reason: reason_of(&error),
    })?;
    Ok(json.into())
}

/// The media type a `Content-Type` header declares; `None` when it declares nothing of use.
fn declared_type(content_type: Option<&str>) -> Result<Option<MediaType>, ManifestError> {
    let Some(text) = content_type.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let declared: MediaType = text.parse().map_err(|_| ManifestError::ContentTypeInvalid)?;
    let declared = declared.without_parameters();
    Ok((!declared.same_type(&MediaType::JSON)).then_some(declared))
}

type Descriptors = BoundedList<Descriptor, MAX_DESCRIPTORS>;

/// The top level of any manifest.
#[derive(Default)]
struct Body {
    schema_version: Option<u64>,
    media_type: Option<MediaType>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Descriptors>,
    manifests: Option<Descriptors>,
    subject: Option<Descriptor>,
    annotations: Annotations,
    has_fs_layers: bool,
}

const KEYS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
];

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut schema_version = Field::default();
        let mut media_type = Field::<String>::default();
        let mut artifact_type = Field::<String>::default();
        let mut config = Field::default();
        let mut layers = Field::default();
        let mut manifests = Field::default();
        let mut subject = Field::default();
        let mut annotations = Field::<Annotations>::default();
        let mut has_fs_layers = false;
        while let Some(key) = map.next_key_seed(KnownKey(KEYS))? {
            match key {
                Some(key @ "schemaVersion") => schema_version.read(&mut map, key)?,
                Some(key @ "mediaType") => media_type.read(&mut map, key)?,
                Some(key @ "artifactType") => artifact_type.read(&mut map, key)?,
                Some(key @ "config") => config.read(&mut map, key)?,
                Some(key @ "layers") => layers.read(&mut map, key)?,
                Some(key @ "manifests") => manifests.read(&mut map, key)?,
                Some(key @ "subject") => subject.read(&mut map, key)?,
                Some(key @ "annotations") => annotations.read(&mut map, key)?,
                other => {
                    has_fs_layers |= other.is_some();
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let media_type = media_type.get().filter(|text| !text.is_empty());
        Ok(Body {
            schema_version: schema_version.get(),
            media_type: media_type
                .map(|text| text.parse())
                .transpose()
                .map_err(serde::de::Error::custom)?,
            artifact_type: artifact_type.get().filter(|text| !text.is_empty()),
            config: config.get(),
            layers: layers.get(),
            manifests: manifests.get(),
            subject: subject.get(),
            annotations: annotations.get().unwrap_or_default(),
            has_fs_layers,
        })
    }
}

impl Body {
    fn into_view(self, declared: Option<MediaType>) -> Result<View, ManifestError> {
        if self.schema_version != Some(2) || self.has_fs_layers {
            return Err(ManifestError::SchemaVersion);
        }
        let has_image_form = self.config.is_some() || self.layers.is_some();
        let has_index_form = self.manifests.is_some();
        if has_image_form && has_index_form {
            return Err(ManifestError::Ambiguous);
        }
        let media_type = match (declared, &self.media_type) {
            (Some(declared), Some(stated)) if !declared.same_type(stated) => {
                return Err(ManifestError::MediaTypeMismatch {
                    declared,
                    stated: stated.clone(),
                });
            }
            (_, Some(stated)) => stated.without_parameters(),
            (Some(declared), None) => declared,
            (None, None) if has_index_form => MediaType::OCI_IMAGE_INDEX,
            (None, None) => MediaType::OCI_IMAGE_MANIFEST,
        };
        if media_type
            .essence()
            .to_ascii_lowercase()
            .starts_with("application/vnd.docker.distribution.manifest.v1+")
        {
            return Err(ManifestError::SchemaVersion);
        }
        if media_type.is_image_manifest() && self.config.is_none() {
            return Err(ManifestError::MissingField { field: "config" });
        }
        if media_type.is_index() && !has_index_form {
            return Err(ManifestError::MissingField { field: "manifests" });
        }
        if !has_image_form && !has_index_form {
            return Err(ManifestError::Formless { media_type });
        }
        if [&self.layers, &self.manifests]
            .into_iter()
            .flatten()
            .any(|list| list.overflowed)
        {
            return Err(ManifestError::TooManyDescriptors);
        }
        Ok(match self.manifests {
            Some(manifests) => View::Index(Arc::new(ImageIndex {
                schema_version: 2,
                media_type,
                artifact_type: self.artifact_type,
                manifests: manifests.items,
                subject: self.subject,
                annotations: self.annotations,
            })),
            None => View::Image(Arc::new(ImageManifest {
                schema_version: 2,
                media_type,
                artifact_type: self.artifact_type,
                config: self.config,
                layers: self.layers.map(|layers| layers.items).unwrap_or_default(),
                subject: self.subject,
                annotations: self.annotations,
            })),
        })
    }
}
