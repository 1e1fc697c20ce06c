//! What a deletion would take and free, said before it is made; and the deletion.

use std::collections::{BTreeMap, BTreeSet};

use atcr_atproto::syntax::{Did, RecordKey};
use atcr_oci::{Digest, Manifest, Tag};
use bytes::Bytes;

use crate::access::{Delete, Granted};
use crate::account::coverage::Coverage;
use crate::context::RequestContext;
use crate::error::{ManifestError, RegistryError};
use crate::manifest::Manifests;
use crate::manifest::pushed_content::blob_children;

/// Tags that one deletion may name.
pub const MOST_TAGS: usize = 1_000;

/// Manifests that one deletion may take.
pub const MOST_MANIFESTS: usize = 200;

/// Bytes of manifests that one deletion may take: they are kept for the way back.
pub const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Manifests that are looked at in one round of a deletion, and in all of its rounds.
const MOST_LOOKED_AT: usize = 2_000;
const MOST_SEEN: usize = 10_000;

/// Referrers of one manifest that go with it.
const REFERRERS: usize = 100;

/// What is to be deleted from a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// These tags.
    pub tags: BTreeSet<Tag>,
    /// These manifests, with every tag that points at one.
    pub manifests: BTreeSet<Digest>,
    /// Also what nothing else names then: manifests that lose their last tag, the images of an index, statements about an image.
    pub with_untagged: bool,
}

/// A tag, and what it points at; `None` when its record does not say so in a usable form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedTag {
    /// The tag.
    pub tag: Tag,
    /// The manifest.
    pub digest: Option<Digest>,
}

/// A manifest that goes, with all that it takes to write it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The hold that has its blobs.
    pub hold: Option<Did>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A manifest that is named by the selection and stays. One without tags and index stays untagged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StayingManifest {
    /// Its digest.
    pub digest: Digest,
    /// Tags that still point at it.
    pub tags: Vec<String>,
    /// An index that stays and names it.
    pub index: Option<Digest>,
    /// It was chosen itself.
    pub is_chosen: bool,
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Tags.
    pub tags: Vec<RemovedTag>,
    /// Manifests, each behind the indexes that name it.
    pub manifests: Vec<RemovedManifest>,
}

/// What a deletion left alone, since it changed after the deletion was worked out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftAlone {
    /// Tags that point elsewhere by now.
    pub tags: Vec<Tag>,
    /// Manifests that a tag or an index names by now, and statements about them.
    pub manifests: Vec<Digest>,
}

impl LeftAlone {
    /// Whether everything went.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.manifests.is_empty()
    }
}

/// What a deletion does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// What goes.
    pub removed: Removed,
    /// What stays, and what keeps it.
    pub staying: Vec<StayingManifest>,
    /// Bytes of blobs, by hold, that no other manifest of the account names. The hold decides when it lets go of them; what other
    /// accounts keep in it stays.
    pub freed: BTreeMap<Did, u64>,
}

/// A manifest that may go, and whether it was chosen itself.
struct Candidate {
    digest: Digest,
    is_chosen: bool,
}

impl Manifests {
    /// What deleting `selection` does, by the account's newest state.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] for a chosen manifest that is not there; [`RegistryError::Unsupported`] when it is more than one
    /// deletion takes, or manifests are to go from an account that has more records than are listed; the PDS's.
    pub async fn removal(
        &self,
        grant: &Granted<Delete>,
        selection: &Selection,
    ) -> Result<Removal, RegistryError> {
        let context = grant.context();
        let (did, repository) = (&context.owner.did, context.repository());
        if selection.tags.len() > MOST_TAGS || selection.manifests.len() > MOST_MANIFESTS {
            return Err(too_much());
        }
        let coverage = self
            .accounts
            .ensure_synced(&context.owner, &context.requester)
            .await?;
        let takes_manifests = selection.with_untagged || !selection.manifests.is_empty();
        if takes_manifests && coverage != Coverage::Whole {
            return Err(RegistryError::Unsupported {
                reason: "the account has more records than this registry lists, so it cannot tell what still names a manifest; \
                         delete tags alone"
                    .to_owned(),
            });
        }
        let index = self.accounts.index();
        let mut tags = BTreeMap::new();
        for tag in &selection.tags {
            let records = index.find_tag(did, repository, tag.as_str()).await?;
            if let Some(record) = records.into_iter().next() {
                tags.insert(tag.clone(), record.digest);
            }
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for digest in &selection.manifests {
            for record in index.tags_of(did, repository, digest).await? {
                if let Ok(tag) = record.tag.parse() {
                    tags.insert(tag, Some(digest.clone()));
                }
            }
            candidates.push(Candidate {
                digest: digest.clone(),
                is_chosen: true,
            });
        }
        if selection.with_untagged {
            candidates.extend(tags.values().flatten().cloned().map(|digest| Candidate {
                digest,
                is_chosen: false,
            }));
        }
        let (manifests, staying) = self
            .taken(context, &tags, candidates, selection.with_untagged)
            .await?;
        let going: BTreeSet<Digest> = manifests.iter().map(|manifest| manifest.digest.clone()).collect();
        // Tags of a chosen manifest that stays are not to go either.
        tags.retain(|tag, digest| {
            selection.tags.contains(tag) || digest.as_ref().is_some_and(|digest| going.contains(digest))
        });
        let chosen_tags = tags.iter().filter(|(tag, _)| selection.tags.contains(tag));
        let named: BTreeSet<Digest> = chosen_tags.filter_map(|(_, digest)| digest.clone()).collect();
        let chosen = staying.into_iter().filter(|candidate| candidate.is_chosen);
        let chosen: BTreeSet<Digest> = chosen.map(|candidate| candidate.digest).collect();
        let mut staying = Vec::new();
        for digest in named.union(&chosen).filter(|digest| !going.contains(digest)) {
            let parents = index.parents_of(did, repository, digest).await?;
            staying.push(StayingManifest {
                digest: digest.clone(),
                tags: self.tags_besides(context, digest, &tags).await?,
                index: parents.into_iter().find(|parent| !going.contains(parent)),
                is_chosen: chosen.contains(digest),
            });
        }
        let freed = self.freed(context, &manifests).await?;
        let tags = tags.into_iter().map(|(tag, digest)| RemovedTag { tag, digest });
        Ok(Removal {
            removed: Removed {
                tags: tags.collect(),
                manifests,
            },
            staying,
            freed,
        })
    }

    /// The manifests that go: those of `candidates`, and with `spreads` what they alone name, that no tag but `tags` and no index that stays
    /// keeps. The second part is the candidates that stay.
    async fn taken(
        &self,
        context: &RequestContext,
        tags: &BTreeMap<Tag, Option<Digest>>,
        mut candidates: Vec<Candidate>,
        spreads: bool,
    ) -> Result<(Vec<RemovedManifest>, Vec<Candidate>), RegistryError> {
        let (did, repository) = (&context.owner.did, context.repository());
        let index = self.accounts.index();
        let mut seen: BTreeSet<Digest> = BTreeSet::new();
        candidates.retain(|candidate| seen.insert(candidate.digest.clone()));
        let mut going: Vec<RemovedManifest> = Vec::new();
        let (mut bytes, mut looked_at) = (0, candidates.len());
        loop {
            let before = going.len();
            let (mut staying, mut found) = (Vec::new(), Vec::new());
            for candidate in candidates {
                let parents = index.parents_of(did, repository, &candidate.digest).await?;
                let is_named = parents
                    .iter()
                    .any(|parent| !going.iter().any(|manifest| manifest.digest == *parent));
                if is_named
                    || !candidate.is_chosen
                        && !self
                            .tags_besides(context, &candidate.digest, tags)
                            .await?
                            .is_empty()
                {
                    staying.push(candidate);
                    continue;
                }
                let manifest = match self.removed_manifest(context, &candidate.digest).await? {
                    Some(manifest) => manifest,
                    None if candidate.is_chosen => return Err(unknown(context, &candidate.digest)),
                    None => continue,
                };
                bytes += manifest.bytes.len();
                if going.len() >= MOST_MANIFESTS || bytes > MOST_BYTES {
                    return Err(too_much());
                }
                if spreads {
                    let parsed = parsed(&manifest);
                    let children = parsed.iter().flat_map(Manifest::manifests);
                    found.extend(children.map(|child| child.digest.clone()));
                    let referrers = index.referrers(did, repository, &manifest.digest, None, REFERRERS);
                    found.extend(referrers.await?.into_iter().map(|referrer| referrer.digest));
                }
                going.push(manifest);
            }
            if going.len() == before {
                return Ok((going, staying));
            }
            if found.len() + staying.len() > MOST_LOOKED_AT {
                return Err(too_much());
            }
            found.retain(|digest| seen.insert(digest.clone()));
            looked_at += staying.len() + found.len();
            if looked_at > MOST_SEEN {
                return Err(too_much());
            }
            staying.extend(found.into_iter().map(|digest| Candidate {
                digest,
                is_chosen: false,
            }));
            candidates = staying;
        }
    }

    /// The manifest as it is kept for the way back; `None` for one that is not there.
    pub(super) async fn removed_manifest(
        &self,
        context: &RequestContext,
        digest: &Digest,
    ) -> Result<Option<RemovedManifest>, RegistryError> {
        let presence = self.locate(context, digest, false).await?;
        let read = match &presence {
            Some(presence) => self.read(context, digest, presence).await?,
            None => None,
        };
        Ok(presence.zip(read).map(|(presence, bytes)| RemovedManifest {
            digest: digest.clone(),
            media_type: presence.media_type,
            hold: presence.hold,
            bytes,
        }))
    }

    /// The tags of the repository besides `tags` that point at `digest`.
    async fn tags_besides(
        &self,
        context: &RequestContext,
        digest: &Digest,
        tags: &BTreeMap<Tag, Option<Digest>>,
    ) -> Result<Vec<String>, RegistryError> {
        let index = self.accounts.index();
        let records = index
            .tags_of(&context.owner.did, context.repository(), digest)
            .await?;
        let goes = |name: &str| tags.keys().any(|tag| tag.as_str() == name);
        let names: BTreeSet<String> = records.into_iter().map(|record| record.tag).collect();
        Ok(names.into_iter().filter(|name| !goes(name)).collect())
    }

    /// Bytes by hold that only `manifests` of the repository name.
    async fn freed(
        &self,
        context: &RequestContext,
        manifests: &[RemovedManifest],
    ) -> Result<BTreeMap<Did, u64>, RegistryError> {
        let (did, repository) = (&context.owner.did, context.repository());
        let index = self.accounts.index();
        let mut records: Vec<RecordKey> = Vec::new();
        let mut blobs: BTreeMap<Did, BTreeMap<Digest, u64>> = BTreeMap::new();
        for manifest in manifests {
            let copies = index.copies(did, &manifest.digest).await?;
            let own = copies.into_iter().filter(|copy| copy.repository == repository);
            records.extend(own.map(|copy| copy.rkey));
            let (Some(hold), Some(parsed)) = (&manifest.hold, parsed(manifest)) else {
                continue;
            };
            let of_hold = blobs.entry(hold.clone()).or_default();
            let children = blob_children(&parsed);
            let children = parsed
                .manifests()
                .iter()
                .filter(|child| children.contains(&child.digest));
            for blob in parsed.blobs().chain(children) {
                of_hold.insert(blob.digest.clone(), blob.size);
            }
        }
        let mut freed = BTreeMap::new();
        for (hold, mut blobs) in blobs {
            let digests: Vec<Digest> = blobs.keys().cloned().collect();
            for named in index.blobs_at(did, &hold, &digests, &records).await? {
                blobs.remove(&named);
            }
            let bytes = blobs.values().fold(0_u64, |sum, size| sum.saturating_add(*size));
            freed.insert(hold, bytes);
        }
        Ok(freed)
    }

    /// Deletes what `removed` names: the tags, then each manifest. What is gone already is passed over, so a deletion that broke off is
    /// finished by repeating it. What got another meaning since `removed` was worked out stays.
    ///
    /// # Errors
    /// The PDS's.
    pub async fn remove(
        &self,
        grant: &Granted<Delete>,
        removed: &Removed,
    ) -> Result<LeftAlone, RegistryError> {
        let mut left = LeftAlone {
            tags: self
                .delete_tags(grant, &removed.tags)
                .await?
                .into_iter()
                .collect(),
            manifests: Vec::new(),
        };
        for manifest in &removed.manifests {
            // A statement about an image that stays is still needed.
            let subject = parsed(manifest).and_then(|parsed| Some(parsed.subject()?.digest.clone()));
            let is_needed = subject.is_some_and(|subject| left.manifests.contains(&subject));
            if is_needed || !self.delete_unnamed(grant, &manifest.digest).await? {
                left.manifests.push(manifest.digest.clone());
            }
        }
        Ok(left)
    }
}

fn parsed(manifest: &RemovedManifest) -> Option<Manifest> {
    Manifest::parse(manifest.bytes.clone(), Some(&manifest.media_type)).ok()
}

pub(super) fn unknown(context: &RequestContext, digest: &Digest) -> RegistryError {
    RegistryError::Manifest(ManifestError::Unknown {
        name: context.name.to_string(),
        reference: digest.to_string(),
    })
}

fn too_much() -> RegistryError {
    RegistryError::Unsupported {
        reason: format!(
            "this is more than one deletion takes ({MOST_TAGS} tags, {MOST_MANIFESTS} manifests); choose fewer"
        ),
    }
}
