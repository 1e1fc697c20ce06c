//! An image as the user writes it: `atcr.io/alice.example/app:1`, with or without the registry, by tag or by digest.

use std::fmt;

use atcr_atproto::syntax::{AtIdentifier, Did};
use atcr_oci::{Digest, Reference, RepositoryName, Tag};
use thiserror::Error;

use crate::registry_url::{RegistryUrl, ServerAddress};

/// Transports that tools write before an image's name.
const TRANSPORTS: [&str; 2] = ["docker://", "oci://"];

/// The tag that is meant when neither tag nor digest is named.
const DEFAULT_TAG: &str = "latest";

/// What is not an image's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidImageName {
    /// Its registry is none.
    #[error("its registry is not one")]
    Registry,
    /// Its account is neither handle nor DID.
    #[error("its account is neither a handle nor a DID")]
    Identity,
    /// Its repository is not valid, or missing.
    #[error("its repository is missing or not valid")]
    Repository,
    /// Its tag or digest is not valid.
    #[error("its tag or digest is not valid")]
    Reference,
}

/// An image of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// The registry that is asked for blobs. It proves nothing.
    pub registry: RegistryUrl,
    /// The account.
    pub identity: AtIdentifier,
    /// The repository, without the account.
    pub repository: String,
    /// Tag or digest. A digest wins when both are named, as for Docker.
    pub reference: Reference,
    /// The tag that is named beside a digest, which nothing is said about.
    pub unchecked_tag: Option<Tag>,
}

impl ImageName {
    /// Reads `text`. A first segment that is one of `known`, or that can only be a host, is the registry; else it is `default`.
    ///
    /// # Errors
    /// [`InvalidImageName`]
    pub fn parse(text: &str, known: &[RegistryUrl], default: &RegistryUrl) -> Result<Self, InvalidImageName> {
        let text = TRANSPORTS
            .iter()
            .find_map(|transport| text.strip_prefix(transport))
            .unwrap_or(text);
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].split_once(':') {
            Some((repository, tag)) => (&name[..last + repository.len()], Some(tag)),
            None => (name, None),
        };
        let reference = digest.or(tag).unwrap_or(DEFAULT_TAG);
        let reference: Reference = reference.parse().map_err(|_| InvalidImageName::Reference)?;
        if digest.is_some() != reference.digest().is_some() {
            return Err(InvalidImageName::Reference);
        }
        let unchecked_tag = match (tag, digest) {
            (Some(tag), Some(_)) => Some(tag.parse().map_err(|_| InvalidImageName::Reference)?),
            _ => None,
        };
        let (first, rest) = name.split_once('/').ok_or(InvalidImageName::Repository)?;
        let (registry, path) = if is_host(first, rest, known, default) {
            let address = ServerAddress::parse(first).map_err(|_| InvalidImageName::Registry)?;
            (address.url().clone(), rest)
        } else {
            (default.clone(), name)
        };
        let (identity, repository) = path.split_once('/').ok_or(InvalidImageName::Repository)?;
        let image = Self {
            registry,
            identity: identity_of(identity).ok_or(InvalidImageName::Identity)?,
            repository: repository.to_owned(),
            reference,
            unchecked_tag,
        };
        image.registry_name()?;
        Ok(image)
    }

    /// The name under which the registry has it.
    ///
    /// # Errors
    /// [`InvalidImageName::Repository`], and [`InvalidImageName::Identity`] for a DID that no image's name can have.
    pub fn registry_name(&self) -> Result<RepositoryName, InvalidImageName> {
        registry_name(&self.identity, &self.repository)
    }

    /// The command that pulls what was proven, `digest`, whatever the tag says by then; `None` for a DID that no image's name can have.
    #[must_use]
    pub fn pull_command(&self, digest: &Digest) -> Option<String> {
        let name = self.registry_name().ok()?;
        Some(format!(
            "docker pull {}/{name}@{digest}",
            self.registry.authority()
        ))
    }

    /// Account and repository: what a policy's patterns are compared with.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.identity, self.repository)
    }
}

/// Account, repository, tag or digest.
impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.reference.digest().is_some() {
            '@'
        } else {
            ':'
        };
        write!(f, "{}{separator}{}", self.path(), self.reference)
    }
}

/// The name under which a registry has `repository` of `identity`.
///
/// # Errors
/// [`InvalidImageName::Repository`], and [`InvalidImageName::Identity`] for a DID that no image's name can have.
pub fn registry_name(identity: &AtIdentifier, repository: &str) -> Result<RepositoryName, InvalidImageName> {
    let segment = match identity {
        AtIdentifier::Handle(handle) => handle.to_string(),
        AtIdentifier::Did(did) => did.to_image_segment().ok_or(InvalidImageName::Identity)?,
    };
    RepositoryName::new(&segment, repository).map_err(|_| InvalidImageName::Repository)
}

fn identity_of(segment: &str) -> Option<AtIdentifier> {
    match AtIdentifier::from_image_segment(segment) {
        Ok(identity) => Some(identity),
        Err(_) => segment.parse::<Did>().ok().map(AtIdentifier::Did),
    }
}

/// Whether the first segment of a name names the registry. `alice.example/app` has none; in `a.example/b.example/app` the second is
/// the account.
fn is_host(first: &str, rest: &str, known: &[RegistryUrl], default: &RegistryUrl) -> bool {
    if first.starts_with("did:") {
        return false;
    }
    let names = |address: ServerAddress| {
        let candidates = address.candidates();
        candidates.contains(default) || candidates.iter().any(|url| known.contains(url))
    };
    let is_account = |(second, _): (&str, &str)| identity_of(second).is_some();
    first == "localhost"
        || first.contains(':')
        || ServerAddress::parse(first).is_ok_and(names)
        || rest.split_once('/').is_some_and(is_account)
}
