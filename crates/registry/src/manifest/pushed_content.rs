//! What a pushed manifest names: there, as long as it says, and which of an index's children are blobs.

use std::collections::{BTreeMap, BTreeSet};

use atcr_oci::{ContentKind, Descriptor, Digest, Manifest};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::access::{Granted, Push};
use crate::blob::ports::Place;
use crate::error::{ManifestError, RegistryError};
use crate::hold::ports::HoldRef;
use crate::manifest::Manifests;

/// Look-ups of a manifest's blobs and children under way at once.
const CHECKS_AT_ONCE: usize = 8;

/// Children of an index that are blobs of its hold, as BuildKit's cache has them.
///
/// What a child is follows from its media type; where that does not tell, from where the child was found.
pub type BlobChildren = BTreeSet<Digest>;

/// Where a child of an index was found.
enum Found {
    Manifest,
    Blob(u64),
    Nowhere,
}

impl Manifests {
    /// Checks that everything `manifest` names was pushed first, and that its blobs are as long as it says. Returns the children of an
    /// index that are blobs.
    pub(super) async fn check_content(
        &self,
        grant: &Granted<Push>,
        manifest: &Manifest,
        hold: &HoldRef,
    ) -> Result<BlobChildren, RegistryError> {
        let mut blob_children = blob_children(manifest);
        if self.settings.allow_missing_content {
            return Ok(blob_children);
        }
        let needed = |kind: ContentKind| {
            let children = manifest.manifests().iter();
            children.filter(move |child| child.media_type.content_kind() == kind && !is_elsewhere(child))
        };
        let blobs = manifest
            .blobs()
            .filter(|blob| !is_elsewhere(blob))
            .chain(needed(ContentKind::Blob));
        let blobs: BTreeSet<Digest> = blobs.map(|blob| blob.digest.clone()).collect();
        let blobs = stream::iter(blobs).map(async |digest: Digest| {
            let size = self
                .blobs
                .find_blob(grant.principal(), hold, Place::of(grant.context()), &digest)
                .await?;
            Ok::<_, RegistryError>((digest, size.map_or(Found::Nowhere, Found::Blob)))
        });
        let known: BTreeSet<Digest> = needed(ContentKind::Manifest)
            .map(|child| child.digest.clone())
            .collect();
        let unknown: BTreeSet<Digest> = needed(ContentKind::Unknown)
            .map(|child| child.digest.clone())
            .collect();
        let children = known
            .into_iter()
            .map(|digest| (digest, ContentKind::Manifest))
            .chain(unknown.into_iter().map(|digest| (digest, ContentKind::Unknown)));
        let children = stream::iter(children).map(async |(digest, kind): (Digest, ContentKind)| {
            let found = self.find_child(grant, hold, &digest, kind).await?;
            Ok::<_, RegistryError>((digest, found))
        });
        let (mut found, children): (BTreeMap<_, _>, Vec<_>) = tokio::try_join!(
            blobs.buffered(CHECKS_AT_ONCE).try_collect(),
            children.buffered(CHECKS_AT_ONCE).try_collect(),
        )?;
        for (digest, child) in children {
            if let Found::Blob(_) = child {
                blob_children.insert(digest.clone());
            }
            found.insert(digest, child);
        }
        let missing: Vec<Digest> = found
            .iter()
            .filter(|(_, found)| matches!(found, Found::Nowhere))
            .map(|(digest, _)| digest.clone())
            .collect();
        if !missing.is_empty() {
            return Err(RegistryError::Manifest(ManifestError::BlobUnknown { missing }));
        }
        for named in manifest.blobs().chain(manifest.manifests()) {
            if let Some(Found::Blob(size)) = found.get(&named.digest)
                && *size != named.size
                && !is_elsewhere(named)
            {
                return Err(RegistryError::Manifest(ManifestError::Invalid {
                    reason: format!("{} has {size} bytes and not {}", named.digest, named.size),
                }));
            }
        }
        Ok(blob_children)
    }

    /// Looks for a child of an index among the repository's manifests, then in the hold if it may be a blob.
    async fn find_child(
        &self,
        grant: &Granted<Push>,
        hold: &HoldRef,
        digest: &Digest,
        kind: ContentKind,
    ) -> Result<Found, RegistryError> {
        let context = grant.context();
        let (did, repository) = (&context.owner.did, context.repository());
        let state = self.state_of(did).await?;
        let locate = self.locate(context, digest, false);
        if self
            .cache
            .presence(did, repository, digest, state, locate)
            .await?
            .is_some()
        {
            return Ok(Found::Manifest);
        }
        if kind == ContentKind::Manifest {
            return Ok(Found::Nowhere);
        }
        let size = self
            .blobs
            .find_blob(grant.principal(), hold, Place::of(context), digest)
            .await?;
        Ok(size.map_or(Found::Nowhere, Found::Blob))
    }
}

/// The children of an index whose media types say that they are blobs.
#[must_use]
pub fn blob_children(manifest: &Manifest) -> BlobChildren {
    let children = manifest.manifests().iter();
    children
        .filter(|child| child.media_type.content_kind() == ContentKind::Blob)
        .map(|child| child.digest.clone())
        .collect()
}

/// Whether the content is fetched from URLs and need not be in any registry (foreign and non-distributable layers).
fn is_elsewhere(descriptor: &Descriptor) -> bool {
    !descriptor.urls.is_empty() || descriptor.media_type.is_nondistributable()
}
