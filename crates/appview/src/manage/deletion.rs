//! Deleting tags and manifests on pages, and undoing it.

use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, Tag};
use atcr_registry::access::{Delete, Push};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::removal::{LeftAlone, Removal, Selection};
use atcr_registry::manifest::way_back::{NotRestored, TagNow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use super::Manage;
use super::ports::{Deletion, DeletionSummary};
use crate::browse::Owner;

/// How long a deletion can be undone, if the hold keeps the layers that long.
const UNDO_FOR: TimeDelta = TimeDelta::hours(24);

impl Manage {
    /// What deleting `selection` from the repository does.
    ///
    /// # Errors
    /// [`AccessError::Denied`](atcr_registry::error::AccessError::Denied) for anyone but the owner; those of [`atcr_registry::manifest::Manifests::removal`].
    pub async fn removal(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        selection: &Selection,
    ) -> Result<Removal, RegistryError> {
        let grant = self
            .browse
            .grant::<Delete>(Some(visitor), owner, repository)
            .await?;
        self.manifests.removal(&grant, selection).await
    }

    /// Deletes what `removal` says, but for what changed since. It can be undone from the moment that anything is gone, also after an error.
    ///
    /// # Errors
    /// Those of [`atcr_registry::manifest::Manifests::remove`]; the database's.
    pub async fn delete(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        removal: &Removal,
    ) -> Result<LeftAlone, RegistryError> {
        let grant = self
            .browse
            .grant::<Delete>(Some(visitor), owner, repository)
            .await?;
        let now = self.clock.now();
        let deletion = Deletion {
            id: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
            repository: repository.to_owned(),
            removed: removal.removed.clone(),
            deleted_at: now,
            expires_at: now + UNDO_FOR,
        };
        self.deletions.keep(visitor, &deletion).await?;
        self.manifests.remove(&grant, &removal.removed).await
    }

    /// Points `tag` at the manifest `digest` of the repository, if it is where `now` says.
    ///
    /// # Returns
    /// Whether it points there.
    ///
    /// # Errors
    /// [`RegistryError::Denied`] for anyone but the owner; those of [`atcr_registry::manifest::Manifests::set_tag`].
    pub async fn set_tag(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        tag: Tag,
        digest: &Digest,
        now: TagNow,
    ) -> Result<bool, RegistryError> {
        let grant = self
            .browse
            .grant::<Push>(Some(visitor), owner, repository)
            .await?;
        self.manifests.set_tag(&grant, tag, digest, now).await
    }

    /// The deletions of `did` that can be undone; of one repository only with `repository`.
    ///
    /// # Errors
    /// The database's.
    pub async fn deletions(
        &self,
        did: &Did,
        repository: Option<&str>,
    ) -> Result<Vec<DeletionSummary>, RegistryError> {
        let mut all = self.deletions.list(did, self.clock.now()).await?;
        if let Some(repository) = repository {
            all.retain(|deletion| deletion.repository == repository);
        }
        Ok(all)
    }

    /// Undoes the deletion `id`.
    ///
    /// # Returns
    /// The tags that did not come back; `None` when there is no such deletion (any more).
    ///
    /// # Errors
    /// Those of [`atcr_registry::manifest::Manifests::restore`]; the database's.
    pub async fn undo(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        id: &str,
    ) -> Result<Option<NotRestored>, RegistryError> {
        let grant = self
            .browse
            .grant::<Push>(Some(visitor), owner, repository)
            .await?;
        let found = self.deletions.find(visitor, id, self.clock.now()).await?;
        let Some(deletion) = found.filter(|deletion| deletion.repository == repository) else {
            return Ok(None);
        };
        let missed = self.manifests.restore(&grant, &deletion.removed).await?;
        self.deletions.forget(visitor, id).await?;
        Ok(Some(missed))
    }
}
