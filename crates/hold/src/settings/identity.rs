//! `database.did*` and the keys: the kind of the hold's DID, and what may change it.

use std::path::PathBuf;

use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use atcr_atproto::syntax::Did;
use atcr_server::Problems;

use super::{noted, optional_did};
use crate::config::{DatabaseSection, DidMethod};

/// The kind of the hold's DID.
#[derive(Clone, Debug)]
pub enum IdentitySettings {
    /// The did:web of the public URL.
    Web(Did),
    /// A did:plc.
    Plc(Box<PlcSettings>),
}

impl IdentitySettings {
    /// The DID, as far as it is known before anything is made.
    #[must_use]
    pub fn configured_did(&self) -> Option<&Did> {
        match self {
            Self::Web(did) => Some(did),
            Self::Plc(plc) => plc.did.as_ref(),
        }
    }
}

/// A did:plc and the keys that may change it.
#[derive(Clone, Debug)]
pub struct PlcSettings {
    /// A DID that exists already.
    pub did: Option<Did>,
    /// The rotation key, if it is not in its file.
    pub rotation_key: Option<SigningKey>,
    /// The rotation key's file.
    pub rotation_key_path: PathBuf,
    /// The captain's rotation key.
    pub captain_rotation_key: Option<PublicKey>,
}

pub(super) fn identity(
    section: &DatabaseSection,
    web_did: Option<Did>,
    data_dir: &std::path::Path,
    problems: &mut Problems,
) -> Option<IdentitySettings> {
    let did = noted(problems, "database.did", optional_did(&section.did))?;
    if section.did_method == DidMethod::Web {
        let is_other = did.is_some_and(|did| web_did.as_ref().is_some_and(|web| did.normalised() != *web));
        problems.require(
            !is_other,
            "database.did",
            "a did:web is that of server.public_url; another DID needs database.did_method: plc",
        );
        return web_did.map(IdentitySettings::Web);
    }
    problems.require(
        did.as_ref().is_none_or(|did| did.method() == "plc"),
        "database.did",
        "must be a did:plc with database.did_method: plc",
    );
    let rotation_key = match section.rotation_key.expose().trim() {
        "" => Ok(None),
        text => SigningKey::from_multikey(text)
            .ok()
            .filter(|key| key.curve() == Curve::K256)
            .map(Some)
            .ok_or_else(|| "must be a private K-256 key in multibase (z...)".to_owned()),
    };
    let captain_rotation_key = match section.captain_rotation_key.as_str() {
        "" => Ok(None),
        text => PublicKey::from_did_key(text)
            .map(Some)
            .map_err(|_| "must be a public key such as did:key:zQ3...".to_owned()),
    };
    let rotation_key = noted(problems, "database.rotation_key", rotation_key);
    let captain_rotation_key = noted(problems, "database.captain_rotation_key", captain_rotation_key);
    Some(IdentitySettings::Plc(Box::new(PlcSettings {
        did,
        rotation_key: rotation_key?,
        rotation_key_path: match section.rotation_key_path.as_str() {
            "" => data_dir.join("rotation.key"),
            path => PathBuf::from(path),
        },
        captain_rotation_key: captain_rotation_key?,
    })))
}
