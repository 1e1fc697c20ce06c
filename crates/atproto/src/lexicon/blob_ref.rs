//! References from records to blobs in the same PDS.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::data_model;
use crate::syntax::Cid;

/// A reference to a blob of the same repository: `{"$type":"blob","ref":{"$link":…},"mimeType":…,"size":…}`.
///
/// # Spec
/// atproto specs "Data Model", blob type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The CID of the bytes: raw, SHA-256.
    pub cid: Cid,
    /// The media type it was uploaded with.
    pub mime_type: String,
    /// Length in bytes.
    pub size: u64,
}

impl BlobRef {
    /// The reference to `bytes` under `mime_type`, as an upload of them would answer it.
    #[must_use]
    pub fn of(bytes: &[u8], mime_type: impl Into<String>) -> Self {
        Self {
            cid: data_model::cid_of(data_model::RAW, bytes),
            mime_type: mime_type.into(),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }
}

/// A link in JSON: `{"$link":"<cid>"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidLink(pub Cid);

#[derive(Serialize, Deserialize)]
struct LinkJson {
    #[serde(rename = "$link")]
    link: String,
}

impl Serialize for CidLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        LinkJson {
            link: self.0.to_string(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CidLink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = LinkJson::deserialize(deserializer)?;
        json.link.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobJson {
    #[serde(rename = "$type")]
    kind: String,
    r#ref: CidLink,
    mime_type: String,
    size: u64,
}

impl Serialize for BlobRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BlobJson {
            kind: "blob".to_owned(),
            r#ref: CidLink(self.cid),
            mime_type: self.mime_type.clone(),
            size: self.size,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BlobRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = BlobJson::deserialize(deserializer)?;
        if json.kind != "blob" {
            return Err(serde::de::Error::custom("not of $type blob"));
        }
        Ok(Self {
            cid: json.r#ref.0,
            mime_type: json.mime_type,
            size: json.size,
        })
    }
}
