//! One media type, and the ones the specifications name.

use std::borrow::Cow;
use std::str::FromStr;

use crate::error::InvalidMediaType;
use crate::text_serde::text_type;

/// A media type, `type/subtype` with the characters of RFC 6838 and perhaps parameters after `;`, kept as written.
///
/// Equality is by text; [`same_type`](Self::same_type) compares as HTTP does.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(Cow<'static, str>);

/// RFC 6838 §4.2: at most 127 characters on each side of the slash.
const MAX_NAME_LEN: usize = 127;
/// Longest media type in characters, parameters included: two names, a slash, and as much again.
const MAX_LEN: usize = 512;

impl MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    pub const OCI_IMAGE_MANIFEST: Self = Self::known("application/vnd.oci.image.manifest.v1+json");
    /// `application/vnd.oci.image.index.v1+json`
    pub const OCI_IMAGE_INDEX: Self = Self::known("application/vnd.oci.image.index.v1+json");
    /// `application/vnd.oci.image.config.v1+json`
    pub const OCI_IMAGE_CONFIG: Self = Self::known("application/vnd.oci.image.config.v1+json");
    /// `application/vnd.oci.image.layer.v1.tar`
    pub const OCI_LAYER_TAR: Self = Self::known("application/vnd.oci.image.layer.v1.tar");
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    pub const OCI_LAYER_TAR_GZIP: Self = Self::known("application/vnd.oci.image.layer.v1.tar+gzip");
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    pub const OCI_LAYER_TAR_ZSTD: Self = Self::known("application/vnd.oci.image.layer.v1.tar+zstd");
    /// `application/vnd.oci.empty.v1+json`, the type of the two bytes `{}`.
    pub const OCI_EMPTY: Self = Self::known("application/vnd.oci.empty.v1+json");
    /// `application/vnd.docker.distribution.manifest.v2+json`
    pub const DOCKER_MANIFEST: Self = Self::known("application/vnd.docker.distribution.manifest.v2+json");
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    pub const DOCKER_MANIFEST_LIST: Self =
        Self::known("application/vnd.docker.distribution.manifest.list.v2+json");
    /// `application/vnd.docker.container.image.v1+json`
    pub const DOCKER_CONFIG: Self = Self::known("application/vnd.docker.container.image.v1+json");
    /// `application/vnd.docker.image.rootfs.diff.tar.gzip`
    pub const DOCKER_LAYER: Self = Self::known("application/vnd.docker.image.rootfs.diff.tar.gzip");
    /// `application/vnd.docker.image.rootfs.foreign.diff.tar.gzip`
    pub const DOCKER_FOREIGN_LAYER: Self =
        Self::known("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    /// `application/octet-stream`
    pub const OCTET_STREAM: Self = Self::known("application/octet-stream");
    /// `application/json`
    pub const JSON: Self = Self::known("application/json");

    const fn known(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The text as written, parameters included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `type/subtype` without parameters.
    #[must_use]
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim_end()
    }

    /// This media type without its parameters.
    #[must_use]
    pub fn without_parameters(&self) -> Self {
        Self(Cow::Owned(self.essence().to_owned()))
    }

    /// Whether both name the same type: without parameters and regardless of case.
    #[must_use]
    pub fn same_type(&self, other: &Self) -> bool {
        self.essence().eq_ignore_ascii_case(other.essence())
    }

    /// Whether it is one of the two image manifest types, OCI's or Docker's.
    #[must_use]
    pub fn is_image_manifest(&self) -> bool {
        self.same_type(&Self::OCI_IMAGE_MANIFEST) || self.same_type(&Self::DOCKER_MANIFEST)
    }

    /// Whether it is one of the two index types, OCI's image index or Docker's manifest list.
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.same_type(&Self::OCI_IMAGE_INDEX) || self.same_type(&Self::DOCKER_MANIFEST_LIST)
    }

    /// What content of this type is to a registry, as far as its name says.
    #[must_use]
    pub fn content_kind(&self) -> ContentKind {
        ContentKind::of(self.as_str())
    }

    /// Whether a layer of this type need not be pushed (foreign or non-distributable layers, fetched from their `urls`).
    #[must_use]
    pub fn is_nondistributable(&self) -> bool {
        self.same_type(&Self::DOCKER_FOREIGN_LAYER)
            || self
                .essence()
                .starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
    }
}

/// What content is to a registry: something that it parses and serves under `/manifests/`, or bytes under `/blobs/`.
///
/// An index names manifests as a rule. Some clients make one whose children are layers and a config, as BuildKit does for its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentKind {
    /// A manifest or an index.
    Manifest,
    /// A layer, a config, or other bytes.
    Blob,
    /// The name does not tell.
    Unknown,
}

/// What the names of types of blobs begin with.
const BLOB_TYPES: &[&str] = &[
    "application/vnd.oci.image.layer.",
    "application/vnd.oci.image.config.",
    "application/vnd.oci.empty.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.docker.container.image.",
    "application/vnd.buildkit.cacheconfig.",
];

impl ContentKind {
    /// The kind that the media type `text` names.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let manifests = [
            MediaType::OCI_IMAGE_MANIFEST,
            MediaType::OCI_IMAGE_INDEX,
            MediaType::DOCKER_MANIFEST,
            MediaType::DOCKER_MANIFEST_LIST,
        ];
        if manifests.iter().any(|known| known.as_str() == essence) {
            Self::Manifest
        } else if BLOB_TYPES.iter().any(|known| essence.starts_with(known)) {
            Self::Blob
        } else {
            Self::Unknown
        }
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LEN {
            return Err(InvalidMediaType);
        }
        let (essence, parameters) = match text.split_once(';') {
            Some((essence, parameters)) => (essence.trim_end_matches([' ', '\t']), parameters),
            None => (text, ""),
        };
        let (main, sub) = essence.split_once('/').ok_or(InvalidMediaType)?;
        let parameters_are_printable = parameters
            .bytes()
            .all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
        if is_restricted_name(main) && is_restricted_name(sub) && parameters_are_printable {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(InvalidMediaType)
        }
    }
}

/// RFC 6838 §4.2 `restricted-name`.
fn is_restricted_name(name: &str) -> bool {
    name.len() <= MAX_NAME_LEN
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

impl std::fmt::Debug for MediaType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(
    MediaType,
    "a media type such as application/vnd.oci.image.manifest.v1+json"
);
