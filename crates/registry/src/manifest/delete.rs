//! Deleting manifests and tags.

use std::collections::BTreeSet;

use atcr_atproto::pds::MAX_WRITES;
use atcr_oci::{Digest, Reference, Tag};
use futures_util::FutureExt as _;

use crate::access::{Delete, Granted};
use crate::account::coverage::Coverage;
use crate::account::{Freshness, Plan};
use crate::context::RequestContext;
use crate::error::{ManifestError, RegistryError};
use crate::manifest::Manifests;
use crate::manifest::pull::internal;
use crate::manifest::record_keys::{self, ManifestKeys};
use crate::manifest::removal::RemovedTag;

/// Tags deleted in one commit: beside them it has room for what letting go of a manifest takes.
const TAGS_AT_ONCE: usize = MAX_WRITES - 10;

impl Manifests {
    /// Deletes a tag, or a manifest with every tag that points at it. Blobs stay until the hold collects them.
    ///
    /// It is one commit, unless there are more tags than one can take: then the manifest goes with the last of them, and a
    /// deletion that was interrupted is finished by repeating it.
    ///
    /// A manifest that an index of the repository names stays: its platform would vanish from an image that is still there.
    /// Another repository of the account that has the same manifest keeps it.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`], [`ManifestError::Referenced`]; [`RegistryError::Unsupported`] for a manifest of an
    /// account that has more records than are listed; the PDS's.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-9.
    #[tracing::instrument(
        name = "registry.manifest.delete",
        skip_all,
        fields(repo.name = %grant.context().name, %reference)
    )]
    pub async fn delete(&self, grant: &Granted<Delete>, reference: &Reference) -> Result<(), RegistryError> {
        let context = grant.context();
        let mut goes_on = false;
        loop {
            self.cache.forget(context, reference.digest(), reference.tag());
            let deleted = self
                .accounts
                .write(grant.principal(), &context.owner, Freshness::Required, &|| {
                    self.plan_delete(context, reference).boxed()
                })
                .await;
            // Also after an error: the commit may have been made and only its answer lost.
            self.cache.forget(context, reference.digest(), reference.tag());
            let plan = match deleted {
                // Another client has deleted the rest.
                Err(RegistryError::Manifest(ManifestError::Unknown { .. })) if goes_on => return Ok(()),
                deleted => deleted?,
            };
            self.cache.forget(context, &plan.removed, &plan.moved);
            goes_on = reference.digest().is_some() && plan.removed.is_empty();
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Deletes tags that are still where `tags` says, some hundred in a commit. Tags that are not there are passed over.
    ///
    /// # Returns
    /// The tags that point elsewhere by now. They stay.
    ///
    /// # Errors
    /// The PDS's.
    pub(super) async fn delete_tags(
        &self,
        grant: &Granted<Delete>,
        tags: &[RemovedTag],
    ) -> Result<BTreeSet<Tag>, RegistryError> {
        let context = grant.context();
        let mut left = BTreeSet::new();
        for lot in tags.chunks(TAGS_AT_ONCE) {
            loop {
                let forget = || {
                    self.cache
                        .forget(context, [], lot.iter().map(|removed| &removed.tag));
                };
                forget();
                let deleted = self
                    .accounts
                    .write(grant.principal(), &context.owner, Freshness::Required, &|| {
                        self.plan_delete_tags(context, lot).boxed()
                    })
                    .await;
                // Also after an error: the commit may have been made and only its answer lost.
                forget();
                let deleted = deleted?;
                left.extend(deleted.left);
                // Writers that keep a tag under several keys can make more of it than one commit takes.
                if deleted.change.deleted_tags.len() < TAGS_AT_ONCE {
                    break;
                }
            }
        }
        Ok(left)
    }

    async fn plan_delete_tags(
        &self,
        context: &RequestContext,
        tags: &[RemovedTag],
    ) -> Result<Plan, RegistryError> {
        let mut plan = Plan::default();
        for RemovedTag { tag, digest } in tags {
            let index = self.accounts.index();
            let mut records = index
                .find_tag(&context.owner.did, context.repository(), tag.as_str())
                .await?;
            if records.first().is_some_and(|record| record.digest != *digest) {
                plan.left.push(tag.clone());
                continue;
            }
            // What tells that the tag has not moved goes last, for the commit may end in between.
            records.sort_by_key(|record| record.digest == *digest);
            for record in records {
                if plan.writes.len() < TAGS_AT_ONCE {
                    plan.delete_tag(record.rkey);
                }
            }
        }
        Ok(plan)
    }

    /// Deletes a manifest that nothing names.
    ///
    /// # Returns
    /// Whether it is gone. It stays if a tag or an index names it by now.
    ///
    /// # Errors
    /// Those of [`Manifests::delete`].
    pub(super) async fn delete_unnamed(
        &self,
        grant: &Granted<Delete>,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let context = grant.context();
        self.cache.forget(context, [digest], []);
        let deleted = self
            .accounts
            .write(grant.principal(), &context.owner, Freshness::Required, &|| {
                self.plan_delete_unnamed(context, digest).boxed()
            })
            .await;
        // Also after an error: the commit may have been made and only its answer lost.
        self.cache.forget(context, [digest], []);
        match deleted {
            Ok(plan) => {
                self.cache.forget(context, &plan.removed, &plan.moved);
                Ok(!plan.removed.is_empty())
            }
            Err(RegistryError::Manifest(ManifestError::Unknown { .. })) => Ok(true),
            Err(RegistryError::Manifest(ManifestError::Referenced { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn plan_delete_unnamed(
        &self,
        context: &RequestContext,
        digest: &Digest,
    ) -> Result<Plan, RegistryError> {
        let index = self.accounts.index();
        let records = index
            .tags_of(&context.owner.did, context.repository(), digest)
            .await?;
        // A record whose name is no tag keeps nothing: no client can ask for it.
        if records.iter().any(|record| record.tag.parse::<Tag>().is_ok()) {
            return Ok(Plan::default());
        }
        self.plan_delete(context, &Reference::Digest(digest.clone()))
            .await
    }

    /// What to write so that `reference` is gone. The index is as complete as it gets.
    async fn plan_delete(
        &self,
        context: &RequestContext,
        reference: &Reference,
    ) -> Result<Plan, RegistryError> {
        let (did, repository, index) = (&context.owner.did, context.repository(), self.accounts.index());
        let mut plan = Plan::default();
        let coverage = Coverage::of(self.accounts.is_whole(did).await?);
        match reference {
            Reference::Digest(_) if coverage != Coverage::Whole => {
                return Err(RegistryError::Unsupported {
                    reason: "the account has more records than this registry lists, so it cannot tell what still names the \
                             manifest; delete tags, or records by other means, first"
                        .to_owned(),
                });
            }
            Reference::Tag(tag) => {
                for record in index.find_tag(did, repository, tag.as_str()).await? {
                    plan.delete_tag(record.rkey);
                }
            }
            Reference::Digest(digest) => {
                let parents = index.parents_of(did, repository, digest).await?;
                if let Some(parent) = parents.into_iter().next() {
                    return Err(RegistryError::Manifest(ManifestError::Referenced {
                        digest: digest.clone(),
                        index: parent,
                    }));
                }
                let mut tags = index.tags_of(did, repository, digest).await?;
                let is_last = tags.len() <= TAGS_AT_ONCE;
                for record in tags.drain(..tags.len().min(TAGS_AT_ONCE)) {
                    plan.moved.extend(record.tag.parse::<Tag>());
                    plan.delete_tag(record.rkey);
                }
                if is_last {
                    self.plan_removal(context, digest, &mut plan).await?;
                }
            }
        }
        if plan.writes.is_empty() {
            coverage.require_absence(did)?;
            return Err(RegistryError::Manifest(ManifestError::Unknown {
                name: context.name.to_string(),
                reference: reference.to_string(),
            }));
        }
        plan.fit()?;
        Ok(plan)
    }

    /// Adds to `plan` that the repository lets go of `digest`; nothing if it does not have it. The index is complete.
    pub(super) async fn plan_removal(
        &self,
        context: &RequestContext,
        digest: &Digest,
        plan: &mut Plan,
    ) -> Result<(), RegistryError> {
        let (owner, repository) = (&context.owner, context.repository());
        let keys = ManifestKeys::new(digest, repository).map_err(internal)?;
        let copies = self.accounts.index().copies(&owner.did, digest).await?;
        let copies: Vec<_> = copies
            .into_iter()
            .map(|copy| (copy.rkey, copy.repository))
            .collect();
        let Some(removal) = record_keys::remove(&keys.shared, repository, &copies) else {
            return Ok(());
        };
        if let Some(heir) = &removal.move_from {
            match self.store.find_manifest(owner, heir).await? {
                Some(record) => {
                    let (record, _room) = self.completed(context, digest, record).await?;
                    plan.put_manifest(keys.shared.clone(), record.conforming(), true)?;
                }
                None => return Err(internal("the heir of a shared manifest record is gone")),
            }
        }
        for rkey in removal.delete {
            plan.delete_manifest(rkey);
        }
        plan.removed.push(digest.clone());
        Ok(())
    }
}
