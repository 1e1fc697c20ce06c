//! The documents of a result: which there are, and the forms in which a message has one.

use std::borrow::Cow;
use std::str::FromStr;

use atcr_oci::Digest;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::InvalidMessage;
use crate::bounds::MAX_DOCUMENT_BYTES;

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name that is no document's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such document")]
pub struct UnknownDocument;

/// A document that a scan makes. Uploaded by `PUT {resultsUrl}/{kind}` with `Content-Encoding: gzip` and the secret's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DocumentKind {
    /// The list of packages, SPDX 2.3 JSON.
    Sbom,
    /// The findings, Grype JSON.
    VulnReport,
    /// The list of packages as Syft keeps it, of which the other forms are made.
    SbomSyft,
    /// The list of packages, CycloneDX JSON; made if the job asks for it.
    SbomCyclonedx,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Sbom, Self::VulnReport, Self::SbomSyft, Self::SbomCyclonedx];

    /// The last segment of the address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sbom => "sbom",
            Self::VulnReport => "vuln-report",
            Self::SbomSyft => "sbom-syft",
            Self::SbomCyclonedx => "sbom-cyclonedx",
        }
    }

    /// The media type, uncompressed.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Sbom => "application/spdx+json",
            Self::VulnReport => "application/vnd.atcr.vulnerabilities+json",
            Self::SbomSyft => "application/vnd.syft+json",
            Self::SbomCyclonedx => "application/vnd.cyclonedx+json",
        }
    }
}

impl FromStr for DocumentKind {
    type Err = UnknownDocument;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownDocument)
    }
}

/// The answer to an upload: what arrived, uncompressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReceipt {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
}

#[derive(Deserialize)]
struct AtprotoBytes<'a> {
    #[serde(rename = "$bytes", borrow)]
    bytes: Cow<'a, str>,
}

/// A document in a message: `{"$bytes": base64}`, a string of base64, a string that is the JSON, or the JSON itself.
pub(crate) fn read(name: &str, raw: &RawValue) -> Result<Option<Bytes>, InvalidMessage> {
    let text = raw.get();
    let bytes = match text.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b'"') => {
            let content: Cow<'_, str> = serde_json::from_str(text)?;
            if content.is_empty() {
                return Ok(None);
            }
            if content.trim_start().starts_with(['{', '[']) {
                content.into_owned().into_bytes()
            } else {
                decode(name, &content)?
            }
        }
        Some(b'{') => match serde_json::from_str::<AtprotoBytes<'_>>(text) {
            Ok(AtprotoBytes { bytes }) => decode(name, &bytes)?,
            Err(_) => text.as_bytes().to_vec(),
        },
        _ => return Err(InvalidMessage::new(format!("{name} is no document"))),
    };
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(InvalidMessage::new(format!("{name} has more than 100 MiB")));
    }
    Ok((!bytes.is_empty()).then(|| bytes.into()))
}

fn decode(name: &str, text: &str) -> Result<Vec<u8>, InvalidMessage> {
    BASE64
        .decode(text)
        .map_err(|_| InvalidMessage::new(format!("{name} is not base64")))
}

/// As a program in Go writes and reads bytes: padded base64.
pub(crate) fn write(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}
