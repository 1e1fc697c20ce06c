//! An image by its name: `OWNER/NAME[:TAG|@DIGEST]`, the owner a handle or a DID. A registry's host before it is passed over, since
//! the owner's account says where everything is.

use std::fmt;

use atcr_atproto::identity::hold_endpoint;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::lexicon::tag::{self, TagRecord};
use atcr_atproto::syntax::{AtIdentifier, Did};
use atcr_oci::Digest;

use super::hold_blobs::HoldBlobs;
use super::network::{Accounts, NetworkImage};
use super::oci_folder;
use crate::error::ScanError;

/// A name as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    owner: AtIdentifier,
    repository: String,
    reference: Reference,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reference {
    Tag(String),
    Digest(Digest),
}

impl std::str::FromStr for ImageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no image; write OWNER/NAME:TAG or OWNER/NAME@sha256:…");
        let parts: Vec<&str> = text.split('/').collect();
        let (owner, rest) = match parts.as_slice() {
            [owner, rest] | [_, owner, rest] => (*owner, *rest),
            _ => return Err(wrong()),
        };
        let (repository, reference) = if let Some((name, digest)) = rest.split_once('@') {
            let name = name.split(':').next().unwrap_or(name);
            (name, Reference::Digest(digest.parse().map_err(|_| wrong())?))
        } else {
            let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
            (name, Reference::Tag(tag.to_owned()))
        };
        if repository.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            owner: owner.parse().map_err(|_| wrong())?,
            repository: repository.to_owned(),
            reference,
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repository)?;
        match &self.reference {
            Reference::Tag(tag) => write!(f, ":{tag}"),
            Reference::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// Where an image is.
#[derive(Debug)]
pub struct Found {
    /// Its manifest.
    pub digest: Digest,
    /// Where its content comes from.
    pub source: NetworkImage,
}

/// Finds the image called `name`; of an index, the one for this machine's platform. Blobs come from `hold` if that is the hold that the
/// record names.
///
/// # Errors
/// `Fetch` if there is none.
pub async fn find(
    name: &ImageName,
    accounts: &Accounts,
    hold: Option<(&url::Url, &HoldBlobs)>,
) -> Result<Found, ScanError> {
    let failed = |error: &dyn std::error::Error| ScanError::Fetch(error.to_string());
    let identity = accounts
        .resolver()
        .resolve(&name.owner)
        .await
        .map_err(|error| failed(&error))?;
    let owner = identity.did.clone();
    let pds = accounts.pds(&owner).await?;
    let mut digest = match &name.reference {
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(tag) => tagged(accounts, &owner, &name.repository, tag).await?,
    };
    let mut record = accounts
        .manifest_record(&pds, &owner, &name.repository, &digest)
        .await?;
    if record.is_index() {
        let child = record
            .manifests
            .iter()
            .find(|child| {
                let platform = child.platform.as_ref();
                platform.is_some_and(|platform| {
                    oci_folder::is_of_this_machine(&platform.os, &platform.architecture)
                })
            })
            .ok_or_else(|| ScanError::Fetch("there is no image for this platform in the index".to_owned()))?;
        digest = child.digest.parse().map_err(|error| failed(&error))?;
        record = accounts
            .manifest_record(&pds, &owner, &name.repository, &digest)
            .await?;
    }
    let hold_did: Did = record
        .hold()
        .ok_or_else(|| ScanError::Fetch("the manifest's record names no hold".to_owned()))?;
    let hold_identity = accounts
        .resolver()
        .resolve_did(&hold_did)
        .await
        .map_err(|error| failed(&error))?;
    let endpoint = hold_endpoint(&hold_identity)
        .ok_or_else(|| ScanError::Fetch(format!("{hold_did} has no address")))?;
    let blobs = match hold {
        Some((configured, blobs)) if configured.origin() == endpoint.origin() => blobs.clone(),
        _ => HoldBlobs::named(endpoint, accounts.egress().clone()),
    };
    Ok(Found {
        digest,
        source: NetworkImage::new(accounts.clone(), blobs, owner, name.repository.clone()),
    })
}

async fn tagged(accounts: &Accounts, owner: &Did, repository: &str, name: &str) -> Result<Digest, ScanError> {
    let failed = |error: &dyn std::error::Error| ScanError::Fetch(error.to_string());
    let pds = accounts.pds(owner).await?;
    for key in [tag::rkey(repository, name), tag::rkey_beside(repository, name)] {
        let Ok(key) = key else { continue };
        let entry = pds
            .get_record(owner, nsid::TAG, &key)
            .await
            .map_err(|error| failed(&error))?;
        let Some(entry) = entry else { continue };
        let record: Option<TagRecord> = serde_json::from_value(entry.value).ok();
        let found = record
            .filter(|record| record.repository == repository && record.tag == name)
            .and_then(|record| record.digest());
        if let Some(digest) = found {
            return digest.parse().map_err(|error| failed(&error));
        }
    }
    Err(ScanError::Fetch(format!("{owner} has no {repository}:{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_in_front_is_passed_over_and_a_digest_beats_a_tag() {
        let parsed = |text: &str| text.parse::<ImageName>();
        let plain = parsed("alice.test/app:1").unwrap();
        assert_eq!(parsed("registry.example/alice.test/app:1").unwrap(), plain);
        assert_eq!(parsed("localhost:5000/alice.test/app:1").unwrap(), plain);
        assert_eq!(plain.reference, Reference::Tag("1".to_owned()));
        let digest = format!("sha256:{}", "0".repeat(64));
        let by_digest = parsed(&format!("did:plc:abc/app:1@{digest}")).unwrap();
        assert_eq!(by_digest.reference, Reference::Digest(digest.parse().unwrap()));
        assert_eq!(by_digest.repository, "app");
        for wrong in ["app", "alice.test/", "alice.test/app@x", "a/b/c/d"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
