//! What a manifest's record says.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::manifest::{ManifestRecord, RecordPlatform};
use atcr_atproto::syntax::{Cid, Did};
use atcr_oci::{ContentKind, Digest, MAX_DESCRIPTORS};
use chrono::{DateTime, Utc};

use super::text::{cut, instant, is_repository, kept_annotations};

/// Config of a Helm chart.
const HELM_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";

/// Config of a build cache.
const BUILDKIT_CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The annotation by which BuildKit marks an attestation among the children of an index.
const ATTESTATION_TYPE: &str = "vnd.docker.reference.type";

/// Children of an index that the index keeps.
const MAX_CHILDREN: usize = 256;

/// Longest media type or artifact type that is kept, in bytes.
const MAX_TYPE: usize = 255;

/// What a manifest is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A container image of one platform.
    Image,
    /// An index: one image for several platforms, or another list of manifests.
    ImageIndex,
    /// A Helm chart.
    HelmChart,
    /// A build cache.
    BuildCache,
    /// A child of an index, or a referrer, that says how an image was made.
    Attestation,
    /// A signature.
    Signature,
    /// A bill of materials.
    Sbom,
    /// Anything else: files, modules, policies.
    Artifact,
}

impl Kind {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Image,
        Self::ImageIndex,
        Self::HelmChart,
        Self::BuildCache,
        Self::Attestation,
        Self::Signature,
        Self::Sbom,
        Self::Artifact,
    ];

    /// The number under which a database keeps it.
    #[must_use]
    pub fn code(self) -> i64 {
        Self::ALL
            .iter()
            .position(|kind| *kind == self)
            .and_then(|code| i64::try_from(code).ok())
            .unwrap_or(0)
    }

    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// Whether a reader pulls it for itself, rather than as a part of something or a statement about something.
    #[must_use]
    pub fn is_main(self) -> bool {
        matches!(
            self,
            Self::Image | Self::ImageIndex | Self::HelmChart | Self::Artifact
        )
    }

    fn of(record: &ManifestRecord) -> Self {
        let config = record
            .config
            .as_ref()
            .map_or("", |config| config.media_type.as_str());
        let artifact = record.artifact_type.as_deref().unwrap_or_default();
        let says = |words: &[&str]| {
            let layers = record.layers.iter().map(|layer| layer.media_type.as_str());
            let mut types = layers.chain([config, artifact]);
            types.any(|media_type| words.iter().any(|word| media_type.contains(word)))
        };
        if config == BUILDKIT_CACHE_CONFIG || record.manifests.iter().any(|child| is_cache(&child.media_type))
        {
            Self::BuildCache
        } else if record.is_index() {
            Self::ImageIndex
        } else if config == HELM_CONFIG {
            Self::HelmChart
        } else if says(&["cosign.simplesigning", "cncf.notary", "sigstore.bundle"]) {
            Self::Signature
        } else if says(&["in-toto"]) {
            Self::Attestation
        } else if says(&["spdx", "cyclonedx", "syft"]) {
            Self::Sbom
        // Some registries write the config's type as the artifact type of every image.
        } else if is_image_config(config) && is_image_config(artifact) {
            Self::Image
        } else {
            Self::Artifact
        }
    }
}

fn is_cache(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.buildkit.cache")
}

fn is_image_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

/// What a manifest runs on, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlatformFact {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; empty when there is none.
    pub variant: String,
    /// The operating system's version; empty when there is none.
    pub os_version: String,
}

impl PlatformFact {
    fn of(platform: &RecordPlatform) -> Self {
        let short = |text: &str| cut(text, 64).to_owned();
        Self {
            os: short(&platform.os),
            architecture: short(&platform.architecture),
            variant: short(platform.variant.as_deref().unwrap_or_default()),
            os_version: short(platform.os_version.as_deref().unwrap_or_default()),
        }
    }

    /// `linux/arm64/v8`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = format!("{}/{}", self.os, self.architecture);
        if !self.variant.is_empty() {
            name.push('/');
            name.push_str(&self.variant);
        }
        name
    }

    /// Whether it says that it is none: how attestations are marked in an index.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

/// A child of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildFact {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Length of its bytes (not of its layers).
    pub size: u64,
    /// What it runs on.
    pub platform: Option<PlatformFact>,
    /// It says how another child was made, and is no image.
    pub is_attestation: bool,
}

/// What a manifest's record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFact {
    /// The repository, without the owner.
    pub repository: String,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its artifact type, where the record names one.
    pub artifact_type: Option<String>,
    /// What it is to a reader.
    pub kind: Kind,
    /// When the record says that it was written. Not checked: it may be in the future.
    pub claimed_at: DateTime<Utc>,
    /// The hold that has its blobs.
    pub hold: Option<Did>,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// Its config.
    pub config: Option<Digest>,
    /// Number of layers.
    pub layers: u32,
    /// Bytes of config and layers together, as they are in the store.
    pub content_size: u64,
    /// Its own bytes at the PDS.
    pub blob: Option<Cid>,
    /// Length of its own bytes, where the record says it.
    pub size: Option<u64>,
    /// The children of an index, in its order. Not those that are plain blobs.
    pub children: Vec<ChildFact>,
    /// The annotations that are kept: at most 8 KiB.
    pub annotations: BTreeMap<String, String>,
}

impl ManifestFact {
    /// What `record` says; `None` for one whose digest or repository is none.
    #[must_use]
    pub fn of(record: &ManifestRecord) -> Option<Self> {
        let digest: Digest = record.digest.parse().ok()?;
        if !is_repository(&record.repository) {
            return None;
        }
        let parse = |digest: &str| digest.parse::<Digest>().ok();
        let children = record
            .manifests
            .iter()
            .filter(|child| ContentKind::of(&child.media_type) != ContentKind::Blob)
            .filter_map(|child| {
                let platform = child.platform.as_ref().map(PlatformFact::of);
                Some(ChildFact {
                    digest: parse(&child.digest)?,
                    media_type: cut(&child.media_type, MAX_TYPE).to_owned(),
                    size: child.size,
                    is_attestation: child.annotations.contains_key(ATTESTATION_TYPE)
                        || platform.as_ref().is_some_and(PlatformFact::is_unknown),
                    platform,
                })
            })
            .take(MAX_CHILDREN)
            .collect();
        let blobs = record.config.iter().chain(&record.layers).take(MAX_DESCRIPTORS);
        Some(Self {
            repository: record.repository.clone(),
            digest,
            media_type: cut(&record.media_type, MAX_TYPE).to_owned(),
            artifact_type: record
                .artifact_type
                .as_deref()
                .map(|kind| cut(kind, MAX_TYPE).to_owned()),
            kind: Kind::of(record),
            claimed_at: instant(&record.created_at),
            hold: record.hold(),
            subject: record.subject.as_ref().and_then(|subject| parse(&subject.digest)),
            config: record.config.as_ref().and_then(|config| parse(&config.digest)),
            layers: u32::try_from(record.layers.len()).unwrap_or(u32::MAX),
            content_size: blobs.fold(0, |sum, blob| sum.saturating_add(blob.size)),
            blob: record.manifest_blob.as_ref().map(|blob| blob.cid),
            size: record.manifest_blob.as_ref().map(|blob| blob.size),
            children,
            annotations: kept_annotations(&record.annotations),
        })
    }
}
