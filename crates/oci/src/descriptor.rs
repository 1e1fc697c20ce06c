//! Descriptors: how documents point at content.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{Field, KnownKey};
use crate::media_type::MediaType;
use crate::platform::Platform;

/// Annotations of a document or descriptor: key to value.
pub type Annotations = BTreeMap<String, String>;

/// Points at content by media type, digest and size.
///
/// Reading refuses a known field that occurs twice or in another case; unknown fields are passed over.
///
/// # Spec
/// image-spec v1.1, descriptor.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Type of the content; unknown types are legal.
    pub media_type: MediaType,
    /// Address of the content.
    pub digest: Digest,
    /// Length of the content in bytes; at most 2^63-1.
    pub size: u64,
    /// Where else the content may be had (non-distributable layers).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of this pointer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// The content itself in base64, as written; not checked against `digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Type of the artifact, when the content is a manifest; absent rather than empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What the image runs on, in an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// The descriptor with the three required fields.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            artifact_type: None,
            platform: None,
        }
    }
}

const KEYS: &[&str] = &[
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "artifactType",
    "platform",
];

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DescriptorVisitor)
    }
}

struct DescriptorVisitor;

impl<'de> Visitor<'de> for DescriptorVisitor {
    type Value = Descriptor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Descriptor, A::Error> {
        let mut media_type = Field::default();
        let mut digest = Field::default();
        let mut size = Field::<u64>::default();
        let mut urls = Field::<Vec<String>>::default();
        let mut annotations = Field::<Annotations>::default();
        let mut data = Field::default();
        let mut artifact_type = Field::<String>::default();
        let mut platform = Field::default();
        while let Some(key) = map.next_key_seed(KnownKey(KEYS))? {
            match key {
                Some(key @ "mediaType") => media_type.read(&mut map, key)?,
                Some(key @ "digest") => digest.read(&mut map, key)?,
                Some(key @ "size") => size.read(&mut map, key)?,
                Some(key @ "urls") => urls.read(&mut map, key)?,
                Some(key @ "annotations") => annotations.read(&mut map, key)?,
                Some(key @ "data") => data.read(&mut map, key)?,
                Some(key @ "artifactType") => artifact_type.read(&mut map, key)?,
                Some(key @ "platform") => platform.read(&mut map, key)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let size = size.require("size")?;
        if i64::try_from(size).is_err() {
            return Err(A::Error::invalid_value(
                Unexpected::Unsigned(size),
                &"a size below 2^63",
            ));
        }
        Ok(Descriptor {
            media_type: media_type.require("mediaType")?,
            digest: digest.require("digest")?,
            size,
            urls: urls.get().unwrap_or_default(),
            annotations: annotations.get().unwrap_or_default(),
            data: data.get(),
            artifact_type: artifact_type.get().filter(|text| !text.is_empty()),
            platform: platform.get(),
        })
    }
}
