//! DID documents: what atproto reads from them.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::IdentityError;
use crate::bounds::MAX_DOCUMENT_ENTRIES;
use crate::crypto::{Curve, PublicKey};
use crate::egress::json;
use crate::plc::PlcData;
use crate::syntax::{Did, Handle};

/// A DID document. Entries that are not of the expected form are ignored and do not make the rest invalid. Entries after the
/// first [`MAX_DOCUMENT_ENTRIES`] of a kind are ignored as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    id: Did,
    also_known_as: Vec<String>,
    keys: Vec<Entry<PublicKey>>,
    services: Vec<Entry<Url>>,
}

/// Something named by a fragment of the DID.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<T> {
    fragment: String,
    value: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    id: Did,
    also_known_as: Option<Vec<Value>>,
    verification_method: Option<Vec<Value>>,
    service: Option<Vec<Value>>,
}

impl DidDocument {
    /// Reads the JSON document of `did`.
    ///
    /// # Errors
    /// `InvalidDocument` if it is not a JSON document with this DID as its `id`.
    pub fn parse(did: &Did, text: &[u8]) -> Result<Self, IdentityError> {
        let invalid = |reason| IdentityError::InvalidDocument {
            did: did.clone(),
            reason,
        };
        let wire: Wire = json::parse(text).map_err(|_| invalid("it is not a DID document"))?;
        if wire.id.normalised() != did.normalised() {
            return Err(invalid("its id is another DID"));
        }
        let keys = wire.verification_method.unwrap_or_default();
        let services = wire.service.unwrap_or_default();
        Ok(Self {
            id: did.clone(),
            also_known_as: wire
                .also_known_as
                .unwrap_or_default()
                .into_iter()
                .take(MAX_DOCUMENT_ENTRIES)
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
            keys: keys
                .iter()
                .take(MAX_DOCUMENT_ENTRIES)
                .filter_map(|value| entry(&wire.id, value, read_key))
                .collect(),
            services: services
                .iter()
                .take(MAX_DOCUMENT_ENTRIES)
                .filter_map(|value| entry(&wire.id, value, read_endpoint))
                .collect(),
        })
    }

    /// The document that a did:plc's operations stand for.
    ///
    /// # Spec
    /// did:plc v0.1, "DID Resolution".
    #[must_use]
    pub fn of_plc(did: &Did, data: &PlcData) -> Self {
        let named = |fragment: &String| fragment.trim_start_matches('#').to_owned();
        Self {
            id: did.clone(),
            also_known_as: data.also_known_as.clone(),
            keys: data
                .verification_methods
                .iter()
                .filter_map(|(fragment, key)| {
                    Some(Entry {
                        fragment: named(fragment),
                        value: PublicKey::from_did_key(key).ok()?,
                    })
                })
                .collect(),
            services: data
                .services
                .iter()
                .filter_map(|(fragment, service)| {
                    Some(Entry {
                        fragment: named(fragment),
                        value: usable(&service.endpoint)?,
                    })
                })
                .collect(),
        }
    }

    /// A document that says no more than the account's signing key, which the caller knows from elsewhere.
    #[must_use]
    pub fn of_key(did: &Did, key: PublicKey) -> Self {
        Self {
            id: did.clone(),
            also_known_as: Vec::new(),
            keys: vec![Entry {
                fragment: "atproto".to_owned(),
                value: key,
            }],
            services: Vec::new(),
        }
    }

    /// The DID this document describes.
    #[must_use]
    pub fn id(&self) -> &Did {
        &self.id
    }

    /// The handle the document claims: the first `at://` name that is a handle. Not confirmed.
    #[must_use]
    pub fn claimed_handle(&self) -> Option<Handle> {
        self.also_known_as
            .iter()
            .find_map(|name| name.strip_prefix("at://")?.parse().ok())
    }

    /// The names in `alsoKnownAs`, verbatim.
    #[must_use]
    pub fn also_known_as(&self) -> &[String] {
        &self.also_known_as
    }

    /// Endpoint of the service `#<fragment>`, if it is an http(s) URL.
    #[must_use]
    pub fn service(&self, fragment: &str) -> Option<Url> {
        find(&self.services, fragment).cloned()
    }

    /// The key `#<fragment>`, if it is of a supported kind.
    #[must_use]
    pub fn verification_method(&self, fragment: &str) -> Option<PublicKey> {
        find(&self.keys, fragment).cloned()
    }

    /// The account's signing key, `#atproto`.
    #[must_use]
    pub fn signing_key(&self) -> Option<PublicKey> {
        self.verification_method("atproto")
    }

    /// All keys of supported kinds, in document order.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().map(|key| &key.value)
    }
}

fn find<'a, T>(entries: &'a [Entry<T>], fragment: &str) -> Option<&'a T> {
    entries
        .iter()
        .find(|entry| entry.fragment == fragment)
        .map(|entry| &entry.value)
}

/// An entry whose `id` is `#fragment` or `<did>#fragment`.
fn entry<T>(did: &Did, value: &Value, read: fn(&Value) -> Option<T>) -> Option<Entry<T>> {
    let (owner, fragment) = value.get("id")?.as_str()?.split_once('#')?;
    if !owner.is_empty() && owner != did.as_str() {
        return None;
    }
    Some(Entry {
        fragment: fragment.to_owned(),
        value: read(value)?,
    })
}

fn read_key(value: &Value) -> Option<PublicKey> {
    let encoded = value.get("publicKeyMultibase")?.as_str()?;
    match value.get("type")?.as_str()? {
        "Multikey" => PublicKey::from_multikey(encoded).ok(),
        "EcdsaSecp256k1VerificationKey2019" => PublicKey::from_legacy_multibase(Curve::K256, encoded).ok(),
        "EcdsaSecp256r1VerificationKey2019" => PublicKey::from_legacy_multibase(Curve::P256, encoded).ok(),
        _ => None,
    }
}

fn read_endpoint(value: &Value) -> Option<Url> {
    usable(value.get("serviceEndpoint")?.as_str()?)
}

/// An http(s) URL with a host and without credentials.
fn usable(endpoint: &str) -> Option<Url> {
    let url = Url::parse(endpoint).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.has_host();
    (plain && matches!(url.scheme(), "http" | "https")).then_some(url)
}
