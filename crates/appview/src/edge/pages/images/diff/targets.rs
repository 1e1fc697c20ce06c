//! The two images of a comparison: from what was typed to what was read.

use std::sync::Arc;

use atcr_atproto::syntax::AtIdentifier;
use atcr_index::view::{ManifestView, RepositoryView};
use atcr_oci::{Digest, Manifest, Reference};
use atcr_web::figures::Bytes;

use super::super::image::{is_image, why};
use super::super::views::{PlatformRow, platform_rows};
use super::super::{RepositoryVisit, visitor};
use crate::browse::address::{image_path, repository_path};
use crate::browse::config::ImageConfig;
use crate::browse::{BrowseError, Owner};
use crate::edge::dialect::page::PageError;

/// One of the two images.
pub(super) struct Side {
    /// `app:1.4`, with the owner where it is another repository.
    pub(super) name: String,
    pub(super) href: String,
    pub(super) digest: String,
    pub(super) size: Bytes,
}

/// A tag or digest that is typed, in a repository.
pub(super) struct Target<'a> {
    pub(super) owner: &'a Owner,
    pub(super) repository: &'a RepositoryView,
    pub(super) reference: Reference,
}

/// An image of a target, read.
pub(super) struct Read {
    pub(super) digest: Digest,
    pub(super) view: ManifestView,
    pub(super) manifest: Manifest,
}

pub(super) fn reference(text: &str) -> Result<Reference, PageError> {
    text.parse::<Digest>()
        .map(Reference::Digest)
        .ok()
        .or_else(|| text.parse().map(Reference::Tag).ok())
        .ok_or(PageError::Refused(
            "Name a tag, or a whole digest (sha256:…), on both sides.",
        ))
}

/// `OWNER/app`, as typed.
pub(super) async fn other_repository(
    page: &RepositoryVisit<'_>,
    name: &str,
) -> Result<(Owner, RepositoryView), PageError> {
    let malformed = PageError::Refused("Name the other repository as OWNER/NAME.");
    let name = name.trim_start_matches(&format!("{}/", page.visit.site.host()));
    let Some((identity, repository)) = name.split_once('/') else {
        return Err(malformed);
    };
    let identifier: AtIdentifier = identity.parse().map_err(|_| malformed)?;
    let owner = page.browse.owner(&identifier).await?;
    let repository = page.browse.repository(&owner, repository).await?;
    Ok((owner, repository))
}

pub(super) async fn read(page: &RepositoryVisit<'_>, target: &Target<'_>) -> Result<Read, PageError> {
    let index = &page.browse.index;
    let (id, name) = (target.repository.card.id, &target.repository.card.name);
    let missing = || BrowseError::NoImage {
        owner: target.owner.name(),
        repository: name.clone(),
        reference: target.reference.to_string(),
    };
    let digest = match &target.reference {
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(tag) => index
            .tag(id, tag.as_str())
            .await
            .map_err(BrowseError::from)?
            .and_then(|tag| tag.digest)
            .ok_or_else(missing)?,
    };
    let view = index.manifest(id, &digest).await.map_err(BrowseError::from)?;
    let read = page
        .browse
        .manifest(visitor(page.visit), target.owner, name, &digest)
        .await?;
    Ok(Read {
        digest,
        view: view.ok_or_else(missing)?,
        manifest: read.manifest,
    })
}

pub(super) fn rows(read: &Read) -> Vec<PlatformRow> {
    platform_rows("", &read.view.summary.children)
}

/// The image itself, or that of an index for `platform`, and its digest.
pub(super) async fn image(
    page: &RepositoryVisit<'_>,
    target: &Target<'_>,
    read: &Read,
    rows: &[PlatformRow],
    platform: Option<&str>,
) -> Result<(Digest, Manifest), PageError> {
    let row = rows
        .iter()
        .find(|row| Some(row.name.as_str()) == platform)
        .or_else(|| rows.first());
    let Some(digest) = row.and_then(|row| row.digest.whole.parse::<Digest>().ok()) else {
        return Ok((read.digest.clone(), read.manifest.clone()));
    };
    let name = &target.repository.card.name;
    let child = page
        .browse
        .manifest(visitor(page.visit), target.owner, name, &digest)
        .await?;
    Ok((digest, child.manifest))
}

/// The configuration; `None` of what is no image, or why it cannot be had.
pub(super) async fn config(
    page: &RepositoryVisit<'_>,
    target: &Target<'_>,
    manifest: &Manifest,
) -> Result<Option<Arc<ImageConfig>>, String> {
    let Some(descriptor) = manifest.config().filter(|_| is_image(manifest)) else {
        return Ok(None);
    };
    let name = &target.repository.card.name;
    let read = page
        .browse
        .config(visitor(page.visit), target.owner, name, &descriptor.digest)
        .await;
    match read {
        Ok(config) => Ok(Some(config).filter(|config| !config.is_unreadable)),
        Err(error) => Err(why(&error)),
    }
}

pub(super) fn side(page: &RepositoryVisit<'_>, target: &Target<'_>, read: &Read, size: Bytes) -> Side {
    let path = repository_path(&target.owner.name(), &target.repository.card.name);
    let owner = if target.repository.card.id == page.id() {
        String::new()
    } else {
        format!("{}/", target.owner.name())
    };
    let name = &target.repository.card.name;
    let short: String = read.digest.hex().chars().take(12).collect();
    Side {
        name: match &target.reference {
            Reference::Tag(tag) => format!("{owner}{name}:{tag}"),
            Reference::Digest(_) => format!("{owner}{name}@{short}"),
        },
        href: image_path(&path, &target.reference),
        digest: read.digest.to_string(),
        size,
    }
}
