//! Writing a manifest: checked, its bytes as a blob and its record and tags in one commit at the owner's PDS.

use std::collections::BTreeSet;

use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::lexicon::{BlobRef, Record};
use atcr_atproto::pds::{MAX_WRITES, Write};
use atcr_atproto::syntax::RecordKey;
use atcr_oci::{Algorithm, Digest, Manifest, ManifestError as MalformedManifest, Reference, Tag};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use tokio::sync::OnceCell;

use crate::access::{Granted, Push};
use crate::account::ports::Located;
use crate::account::{Freshness, Plan};
use crate::context::RequestContext;
use crate::error::{BlobError, ManifestError, RegistryError};
use crate::hold::ports::HoldRef;
use crate::manifest::pull::internal;
use crate::manifest::pushed_content::{BlobChildren, blob_children};
use crate::manifest::record;
use crate::manifest::record_keys::{self, ManifestKeys};
use crate::manifest::record_size::restates;
use crate::manifest::tag_records::{Moving, TagMoves, TagTurn};
use crate::manifest::{MANIFEST_LIMIT, Manifests};

/// Tags written in one commit where each may take a manifest away: four writes a tag, and some bytes, are less than a PDS takes.
const MOVES_AT_ONCE: usize = 40;

/// Tags written in one commit otherwise: beside them it has room for the manifest.
const TAGS_AT_ONCE: usize = MAX_WRITES - 10;

/// A manifest as a client pushes it.
#[derive(Clone, Debug)]
pub struct ManifestUpload {
    /// The tag or digest it is pushed as.
    pub reference: Reference,
    /// Further tags for it.
    pub tags: Vec<Tag>,
    /// The media type the client gave.
    pub content_type: Option<String>,
    /// The bytes, which are kept as they are.
    pub bytes: Bytes,
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// The digest it is known by.
    pub digest: Digest,
    /// The manifest it is about, whether that exists or not.
    pub subject: Option<Digest>,
    /// What the pusher has to know although the push is done.
    pub warning: Option<String>,
    /// Tags that stay where they are; none for a client's push.
    pub left: Vec<Tag>,
}

/// A push on its way, with everything that was found out before it is written.
struct Planned<'a> {
    grant: &'a Granted<Push>,
    manifest: Manifest,
    digest: Digest,
    tags: BTreeSet<Tag>,
    hold: HoldRef,
    keys: ManifestKeys,
    blob: OnceCell<BlobRef>,
    /// Children of an index that are blobs.
    blob_children: BlobChildren,
    moving: Moving,
    moves: TagMoves,
}

impl Manifests {
    /// Checks and writes `upload`. When this returns, the record and every tag are in the owner's repository; a retry after a lost
    /// answer is safe.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`], [`ManifestError::TooLarge`], [`BlobError::DigestMismatch`],
    /// [`ManifestError::BlobUnknown`] before any record is written; the hold's and the PDS's.
    ///
    /// # Cancel safety
    /// The write is one commit: all of it or nothing. Only more than 190 tags at once take several, and more than 40 in an account that
    /// wants untagged manifests removed: the manifest is there with the first.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-7; the `tag` parameter of end-7 in the specification's development version.
    #[tracing::instrument(
        name = "registry.manifest.put",
        skip_all,
        fields(repo.name = %grant.context().name, reference = %upload.reference, size_bytes = upload.bytes.len())
    )]
    pub async fn push(
        &self,
        grant: &Granted<Push>,
        upload: ManifestUpload,
    ) -> Result<PushedManifest, RegistryError> {
        let hold = self.holds.for_push(grant).await?;
        self.push_to(grant, upload, hold, Moving::Push).await
    }

    /// The same, with `hold` as the one that has the blobs, and the tags that `moving` says.
    pub(super) async fn push_to(
        &self,
        grant: &Granted<Push>,
        upload: ManifestUpload,
        hold: HoldRef,
        moving: Moving,
    ) -> Result<PushedManifest, RegistryError> {
        let context = grant.context();
        let manifest = Manifest::parse(upload.bytes, upload.content_type.as_deref()).map_err(invalid)?;
        let algorithm = match &upload.reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let digest = manifest.digest(algorithm);
        let mut tags: BTreeSet<Tag> = upload.tags.into_iter().collect();
        match upload.reference {
            Reference::Digest(expected) if expected != digest => {
                return Err(RegistryError::Blob(BlobError::DigestMismatch {
                    expected,
                    actual: digest,
                }));
            }
            Reference::Digest(_) => {}
            Reference::Tag(tag) => {
                tags.insert(tag);
            }
        }
        let keys = ManifestKeys::new(&digest, context.repository()).map_err(internal)?;
        let mut planned = Planned {
            grant,
            blob_children: blob_children(&manifest),
            manifest,
            digest,
            tags,
            hold,
            keys,
            blob: OnceCell::new(),
            moving,
            moves: TagMoves {
                freshness: Freshness::Any,
                untag: false,
            },
        };
        // The upload does not wait for the checks: a blob that no record names goes by itself.
        let upload = async {
            match self.cache.find_bytes(&planned.digest) {
                Some(_) => Ok(()),
                None => self.upload(&planned).await.map(drop),
            }
        };
        let (moves, blob_children, (), ()) = tokio::try_join!(
            self.tag_moves(context, &planned.digest, &planned.tags, &planned.moving),
            self.check_content(grant, &planned.manifest, &planned.hold),
            self.quotas
                .check(&self.accounts, context, &planned.hold, &planned.manifest),
            upload,
        )?;
        (planned.moves, planned.blob_children) = (moves, blob_children);
        let (names_content, left) = self.write(&planned).await?;
        let Planned {
            manifest,
            digest,
            tags,
            hold,
            blob_children,
            ..
        } = planned;
        let warning = (!names_content).then(|| {
            tracing::warn!(did = %context.owner.did, %digest, "a manifest record is too long to name its content");
            "the manifest is too large for its record to name its content: a hold that goes by records alone may remove its blobs"
                .to_owned()
        });
        let told = record::notice(&manifest, &blob_children);
        self.notices
            .pushed(
                grant,
                &hold,
                &digest,
                told,
                tags.iter().find(|tag| !left.contains(tag)),
            )
            .await;
        Ok(PushedManifest {
            digest,
            subject: manifest.subject().map(|subject| subject.digest.clone()),
            warning,
            left,
        })
    }

    /// Writes everything. Returns whether the record, if one was written, names the manifest's content, and the tags that stay where they
    /// are.
    async fn write(&self, planned: &Planned<'_>) -> Result<(bool, Vec<Tag>), RegistryError> {
        let tags: Vec<&Tag> = planned.tags.iter().collect();
        let together = if planned.moves.untag {
            MOVES_AT_ONCE
        } else {
            TAGS_AT_ONCE
        };
        let mut lots = tags.chunks(together);
        // Without a tag there is one lot all the same: the manifest.
        let mut lot = lots.next().unwrap_or_default();
        let (mut names_content, mut left) = (true, Vec::new());
        loop {
            let tags = lot.iter().copied().cloned().collect();
            let written = self.commit(planned, &tags).await?;
            names_content &= written.names_content;
            left.extend(written.left);
            match lots.next() {
                Some(next) => lot = next,
                None => return Ok((names_content, left)),
            }
        }
    }

    /// Writes the manifest, unless it is there, and `tags`.
    async fn commit(&self, planned: &Planned<'_>, tags: &BTreeSet<Tag>) -> Result<Plan, RegistryError> {
        let context = planned.grant.context();
        let forget = || self.cache.forget(context, Some(&planned.digest), tags);
        forget();
        let written = self
            .accounts
            .write(
                planned.grant.principal(),
                &context.owner,
                planned.moves.freshness,
                &|| self.plan_push(planned, tags).boxed(),
            )
            .await;
        // Also after an error: the commit may have been made and only its answer lost.
        forget();
        let written = written?;
        self.cache.forget(context, &written.removed, []);
        self.cache
            .keep_bytes(planned.digest.clone(), planned.manifest.bytes().clone());
        self.keep(&context.owner, &planned.digest, planned.manifest.bytes())
            .await;
        Ok(written)
    }

    async fn upload(&self, planned: &Planned<'_>) -> Result<BlobRef, RegistryError> {
        let upload = || {
            let (bytes, kind) = (
                planned.manifest.bytes().clone(),
                planned.manifest.media_type().as_str(),
            );
            async move {
                self.store
                    .upload_blob(planned.grant.principal(), bytes, kind)
                    .await
            }
        };
        planned.blob.get_or_try_init(upload).await.cloned()
    }

    /// What to write, given what the account has now.
    async fn plan_push(&self, planned: &Planned<'_>, moved: &BTreeSet<Tag>) -> Result<Plan, RegistryError> {
        let context = planned.grant.context();
        let (owner, repository) = (&context.owner, context.repository());
        let now = self.clock.now_datetime();
        let (shared, own, tags) = tokio::try_join!(
            self.store.find_manifest(owner, &planned.keys.shared),
            self.store.find_manifest(owner, &planned.keys.own),
            try_join_all(moved.iter().map(|tag| self.tag_places(context, tag))),
        )?;
        let mut plan = Plan::default();

        let existing = record_keys::find(repository, shared.as_ref(), own.as_ref());
        let known_blob = [&shared, &own]
            .into_iter()
            .flatten()
            .find_map(|record| record.manifest_blob.clone());
        let blob = match (planned.blob.get(), known_blob) {
            (Some(uploaded), _) => uploaded.clone(),
            (None, Some(known)) => known,
            (None, None) => self.upload(planned).await?,
        };
        let created_at = existing.map_or_else(|| now.clone(), |record| record.created_at.clone());
        let record = record::record(
            repository,
            &planned.digest,
            &planned.manifest,
            &planned.blob_children,
            &planned.hold,
            blob,
            created_at,
        );
        let placement = record_keys::place(&planned.keys, repository, shared.as_ref(), own.as_ref());
        if !existing.is_some_and(|stored| restates(stored, &record)) {
            plan.put_manifest(placement.rkey, record, placement.exists)?;
        }
        if let Some(surplus) = placement.surplus {
            plan.delete_manifest(surplus);
        }

        for (tag, places) in moved.iter().zip(tags) {
            match self
                .tag_turn(context, tag, &planned.digest, &planned.moving)
                .await?
            {
                TagTurn::Moves => {}
                TagTurn::IsThere => continue,
                TagTurn::Stays => {
                    plan.left.push(tag.clone());
                    continue;
                }
            }
            let record = TagRecord::new(
                &owner.did,
                repository,
                tag.as_str(),
                planned.digest.as_str(),
                now.clone(),
            )
            .map_err(internal)?;
            for place in places {
                plan.put_tag(place.rkey, record.clone(), place.exists)?;
            }
        }
        if planned.moves.untag {
            self.plan_untagging(context, &planned.digest, &planned.manifest, moved, &mut plan)
                .await?;
        }
        plan.fit()?;
        Ok(plan)
    }

    /// Adds the removal of manifests that lose their last tag to this push. Where the index is not complete, all of them stay.
    async fn plan_untagging(
        &self,
        context: &RequestContext,
        digest: &Digest,
        manifest: &Manifest,
        tags: &BTreeSet<Tag>,
        plan: &mut Plan,
    ) -> Result<(), RegistryError> {
        let (did, repository, index) = (&context.owner.did, context.repository(), self.accounts.index());
        if !self.accounts.is_whole(did).await? {
            tracing::warn!(%did, "untagged manifests stay: the account has more records than are listed");
            return Ok(());
        }
        let mut losing = BTreeSet::new();
        for tag in tags {
            let records = index.find_tag(did, repository, tag.as_str()).await?;
            losing.extend(records.into_iter().filter_map(|record| record.digest));
        }
        losing.remove(digest);
        for previous in losing {
            let moves = |tag: &str| tags.iter().any(|moved| moved.as_str() == tag);
            let kept = index.tags_of(did, repository, &previous).await?;
            let named_here = manifest.manifests().iter().any(|child| child.digest == previous);
            if kept.iter().any(|tag| !moves(&tag.tag))
                || named_here
                || !index.parents_of(did, repository, &previous).await?.is_empty()
            {
                continue;
            }
            self.plan_removal(context, &previous, plan).await?;
        }
        Ok(())
    }
}

impl Plan {
    /// Adds a manifest record, in place of another if one `exists`.
    ///
    /// # Errors
    /// Never: the record is one that can be written.
    pub(super) fn put_manifest(
        &mut self,
        rkey: RecordKey,
        record: ManifestRecord,
        exists: bool,
    ) -> Result<(), RegistryError> {
        self.writes.push(put(&rkey, &record, exists)?);
        self.change.manifests.push(Located { rkey, record });
        Ok(())
    }

    /// Adds a tag record, in place of another if one `exists`.
    ///
    /// # Errors
    /// Never: the record is one that can be written.
    pub(super) fn put_tag(
        &mut self,
        rkey: RecordKey,
        record: TagRecord,
        exists: bool,
    ) -> Result<(), RegistryError> {
        self.writes.push(put(&rkey, &record, exists)?);
        self.change.tags.push(Located { rkey, record });
        Ok(())
    }

    /// Adds the deletion of a manifest record.
    pub(super) fn delete_manifest(&mut self, rkey: RecordKey) {
        self.writes.push(Write::Delete {
            collection: ManifestRecord::NSID.to_owned(),
            rkey: rkey.clone(),
        });
        self.change.deleted_manifests.push(rkey);
    }

    /// Adds the deletion of a tag record.
    pub(super) fn delete_tag(&mut self, rkey: RecordKey) {
        self.writes.push(Write::Delete {
            collection: TagRecord::NSID.to_owned(),
            rkey: rkey.clone(),
        });
        self.change.deleted_tags.push(rkey);
    }
}

fn put<R: Record>(rkey: &RecordKey, record: &R, exists: bool) -> Result<Write, RegistryError> {
    let (collection, rkey, value) = (
        R::NSID.to_owned(),
        rkey.clone(),
        record.to_value().map_err(internal)?,
    );
    Ok(if exists {
        Write::Update {
            collection,
            rkey,
            value,
        }
    } else {
        Write::Create {
            collection,
            rkey: Some(rkey),
            value,
        }
    })
}

fn invalid(error: MalformedManifest) -> ManifestError {
    match error {
        MalformedManifest::TooLarge => ManifestError::TooLarge {
            limit: MANIFEST_LIMIT,
        },
        error => ManifestError::Invalid {
            reason: error.to_string(),
        },
    }
}
