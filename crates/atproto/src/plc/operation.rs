//! One operation.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::crypto::{PublicKey, SigningKey};
use crate::data_model::{DAG_CBOR, cid_of};
use crate::syntax::{Cid, Did};

/// Characters of a DID after `did:plc:`.
const IDENTIFIER_LEN: usize = 24;

/// What an operation says of a DID. Keys are did:key texts, verbatim, since they may be of kinds that are unknown here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlcData {
    /// Keys that may sign the next operation. An earlier key may undo what a later one signed, for 72 hours.
    pub rotation_keys: Vec<String>,
    /// Keys by the fragment of their name in the document.
    pub verification_methods: BTreeMap<String, String>,
    /// Names, as `at://` URIs.
    pub also_known_as: Vec<String>,
    /// Services by the fragment of their name in the document.
    pub services: BTreeMap<String, Service>,
}

/// A service of a DID document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its URL.
    pub endpoint: String,
}

impl PlcData {
    /// Whether `key` may sign the next operation.
    #[must_use]
    pub fn is_rotated_by(&self, key: &PublicKey) -> bool {
        let key = key.to_did_key();
        self.rotation_keys.contains(&key)
    }
}

/// The only kind of operation that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "plc_operation")]
    Operation,
}

/// A signed operation.
///
/// A field that is unknown here would be lost when the operation is encoded again, so such an operation is not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    #[serde(rename = "type")]
    kind: Kind,
    rotation_keys: Vec<String>,
    verification_methods: BTreeMap<String, String>,
    also_known_as: Vec<String>,
    services: BTreeMap<String, Service>,
    prev: Option<String>,
    /// `None` only while it is being signed or checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl Operation {
    /// The operation that says `data` after the one named `prev` (`None` for the first), signed by `key`. The same input gives the
    /// same bytes.
    #[must_use]
    pub fn sign(data: PlcData, prev: Option<&Cid>, key: &SigningKey) -> Self {
        let PlcData {
            rotation_keys,
            verification_methods,
            also_known_as,
            services,
        } = data;
        let mut operation = Self {
            kind: Kind::Operation,
            rotation_keys,
            verification_methods,
            also_known_as,
            services,
            prev: prev.map(Cid::to_string),
            sig: None,
        };
        operation.sig = Some(URL_SAFE_NO_PAD.encode(key.sign(&operation.encode())));
        operation
    }

    /// What it says.
    #[must_use]
    pub fn data(&self) -> PlcData {
        PlcData {
            rotation_keys: self.rotation_keys.clone(),
            verification_methods: self.verification_methods.clone(),
            also_known_as: self.also_known_as.clone(),
            services: self.services.clone(),
        }
    }

    /// The operation before it, as written.
    #[must_use]
    pub fn prev(&self) -> Option<&str> {
        self.prev.as_deref()
    }

    /// Its DAG-CBOR. Text, lists and maps of text always encode.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn cid(&self) -> Cid {
        cid_of(DAG_CBOR, &self.encode())
    }

    /// The DID that it creates as the first of a log.
    #[must_use]
    pub fn did(&self) -> Option<Did> {
        let hash = BASE32_NOPAD
            .encode(&Sha256::digest(self.encode()))
            .to_ascii_lowercase();
        format!("did:plc:{}", hash.get(..IDENTIFIER_LEN)?).parse().ok()
    }

    /// Whether one of `keys`, did:key texts, signed it.
    #[must_use]
    pub fn is_signed_by_one_of(&self, keys: &[String]) -> bool {
        let Some(signature) = self.sig.as_ref().and_then(|sig| URL_SAFE_NO_PAD.decode(sig).ok()) else {
            return false;
        };
        let unsigned = Self {
            sig: None,
            ..self.clone()
        }
        .encode();
        keys.iter()
            .filter_map(|key| PublicKey::from_did_key(key).ok())
            .any(|key| key.verify(&unsigned, &signature).is_ok())
    }
}
