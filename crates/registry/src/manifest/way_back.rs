//! Tags and manifests as they were before: a deletion undone, a tag moved back.

use std::collections::BTreeMap;

use atcr_oci::{Digest, Reference, Tag};

use crate::access::{Granted, Push};
use crate::error::RegistryError;
use crate::manifest::Manifests;
use crate::manifest::push::ManifestUpload;
use crate::manifest::removal::{Removed, RemovedManifest, RemovedTag, unknown};
use crate::manifest::tag_records::Moving;

/// Tags that an undone deletion did not bring back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotRestored {
    /// They were set anew meanwhile, and stay where they are now.
    pub set_anew: Vec<Tag>,
    /// What they pointed at is not there any more, and was not part of the deletion.
    pub without_manifest: Vec<Tag>,
}

/// Where a tag has to be for it to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagNow {
    /// Anywhere, or not there.
    Any,
    /// Not there.
    Absent,
    /// At this manifest.
    At(Digest),
}

impl Manifests {
    /// Pushes what was `removed` again, to the holds that had its blobs. A tag that was set anew meanwhile stays where it is now.
    ///
    /// # Errors
    /// [`BlobUnknown`](crate::error::ManifestError::BlobUnknown) when a hold has let go of blobs; the hold's and the PDS's. What is back
    /// by then stays; repeating it is harmless.
    pub async fn restore(
        &self,
        grant: &Granted<Push>,
        removed: &Removed,
    ) -> Result<NotRestored, RegistryError> {
        let mut missed = NotRestored::default();
        let mut tags: BTreeMap<&Digest, Vec<Tag>> = BTreeMap::new();
        for RemovedTag { tag, digest } in &removed.tags {
            if let Some(digest) = digest {
                tags.entry(digest).or_default().push(tag.clone());
            }
        }
        for manifest in removed.manifests.iter().rev() {
            let tags = tags.remove(&manifest.digest).unwrap_or_default();
            let left = self.put_back(grant, manifest, tags, Moving::IfAbsent).await?;
            missed.set_anew.extend(left);
        }
        for (digest, tags) in tags {
            match self.removed_manifest(grant.context(), digest).await? {
                Some(manifest) => {
                    let left = self.put_back(grant, &manifest, tags, Moving::IfAbsent).await?;
                    missed.set_anew.extend(left);
                }
                None => missed.without_manifest.extend(tags),
            }
        }
        Ok(missed)
    }

    /// Points `tag` at a manifest that the repository has; only if it is where `now` says. Nothing else changes: the manifest that it
    /// pointed at stays, whatever the account wants of pushes.
    ///
    /// # Returns
    /// Whether the tag points there.
    ///
    /// # Errors
    /// [`Unknown`](crate::error::ManifestError::Unknown) without such a manifest; those of [`Manifests::push`].
    pub async fn set_tag(
        &self,
        grant: &Granted<Push>,
        tag: Tag,
        digest: &Digest,
        now: TagNow,
    ) -> Result<bool, RegistryError> {
        let context = grant.context();
        let found = self.removed_manifest(context, digest).await?;
        let manifest = found.ok_or_else(|| unknown(context, digest))?;
        let moving = match now {
            TagNow::Any => Moving::Point,
            TagNow::Absent => Moving::IfAbsent,
            TagNow::At(digest) => Moving::IfAt(digest),
        };
        let left = self.put_back(grant, &manifest, vec![tag], moving).await?;
        Ok(left.is_empty())
    }

    /// Returns the tags that stay where they are.
    async fn put_back(
        &self,
        grant: &Granted<Push>,
        manifest: &RemovedManifest,
        tags: Vec<Tag>,
        moving: Moving,
    ) -> Result<Vec<Tag>, RegistryError> {
        let hold = match &manifest.hold {
            Some(hold) => self.holds.resolve(hold).await?,
            None => self.holds.for_push(grant).await?,
        };
        let upload = ManifestUpload {
            reference: Reference::Digest(manifest.digest.clone()),
            tags,
            content_type: Some(manifest.media_type.clone()),
            bytes: manifest.bytes.clone(),
        };
        let pushed = self.push_to(grant, upload, hold, moving).await?;
        Ok(pushed.left)
    }
}
