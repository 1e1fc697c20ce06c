//! Operating system and architecture of an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::InvalidPlatform;
use crate::json::null_as_default;

/// What an image runs on; prints as `os/architecture[/variant]`.
///
/// The spec requires `architecture` and `os`; indexes without them exist (artifacts), so absent ones read as empty text.
///
/// # Spec
/// image-spec v1.1, image-index.md, `platform`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `GOARCH` value, for example `amd64`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// `GOOS` value, for example `linux`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// For example `10.0.14393.1066`.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// For example `win32k`.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the architecture, for example `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform with this operating system and architecture and nothing else.
    #[must_use]
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            ..Self::default()
        }
    }

    /// Whether it is `unknown/unknown`, which build tools give attestation manifests.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None)
                if word(os) && word(architecture) && variant.is_none_or(word) =>
            {
                Ok(Self {
                    variant: variant.map(str::to_owned),
                    ..Self::new(os, architecture)
                })
            }
            _ => Err(InvalidPlatform),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
