//! Deleting tags and manifests on pages, and undoing it.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::egress::{SharePermit, party};
use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, MAX_MANIFEST_BYTES, Tag};
use atcr_registry::Granted;
use atcr_registry::access::{Delete, Push};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::removal::{LeftAlone, MOST_BYTES, Removal, Selection};
use atcr_registry::manifest::way_back::{NotRestored, TagNow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::Manage;
use super::ports::{Deletion, DeletionSummary};
use crate::browse::Owner;

/// How long a deletion can be undone, if the hold keeps the layers that long.
const UNDO_FOR: TimeDelta = TimeDelta::hours(24);

/// Memory for the manifests of deletions that are worked out, made and undone, in bytes. The accounts whose servers are below one registered
/// name have a quarter, which is four of the largest: most accounts have servers below one name.
pub(super) const MEMORY: usize = 16 * MOST_BYTES;

/// How long it may take to work out a deletion: an account's server that is slow keeps the memory from others of its name only so long.
const WORKED_OUT_IN: Duration = Duration::from_mins(1);

/// How long a deletion waits for memory, and when one that found none is to be tried again.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(15);

/// A deletion that was worked out, in memory that is counted.
pub struct PlannedRemoval {
    /// What it does.
    pub removal: Removal,
    room: SharePermit,
}

impl Manage {
    /// What deleting `selection` from the repository does. The caller must not ask again while it holds the answer.
    ///
    /// # Errors
    /// [`AccessError::Denied`](atcr_registry::error::AccessError::Denied) for anyone but the owner; those of [`atcr_registry::manifest::Manifests::removal`];
    /// [`RegistryError::TooManyRequests`] while others are under way.
    pub async fn removal(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        selection: &Selection,
    ) -> Result<PlannedRemoval, RegistryError> {
        let grant = self
            .browse
            .grant::<Delete>(Some(visitor), owner, repository)
            .await?;
        let mut room = self.room(owner, MOST_BYTES).await?;
        let removal = self.manifests.removal(&grant, selection);
        let removal = tokio::time::timeout(WORKED_OUT_IN, removal).await;
        let removal = removal.map_err(|_| RegistryError::TooManyRequests { retry_after: AGAIN })??;
        let manifests = removal.removed.manifests.iter();
        room.shrink_to(manifests.map(|manifest| manifest.bytes.len()).sum());
        Ok(PlannedRemoval { removal, room })
    }

    async fn room(&self, owner: &Owner, bytes: usize) -> Result<SharePermit, RegistryError> {
        let server = owner.identity.pds.as_ref().and_then(|pds| pds.host_str());
        let party = party(server.unwrap_or_default());
        let room = self.memory.acquire(&party, bytes, PATIENCE).await;
        room.map_err(|_| RegistryError::TooManyRequests { retry_after: AGAIN })
    }

    /// Waits for its turn with the deletion `id`: one caller at a time makes, finishes or undoes it.
    async fn turn(&self, id: &str) -> Result<OwnedMutexGuard<()>, RegistryError> {
        let turn = tokio::time::timeout(PATIENCE, self.under_way.lock(id)).await;
        turn.map_err(|_| RegistryError::TooManyRequests { retry_after: AGAIN })
    }

    /// Deletes what `planned` says, but for what changed since. It goes on when the caller does not wait for it. It can be undone from the
    /// moment that anything is gone, and finished, also after an error.
    ///
    /// # Errors
    /// Those of [`atcr_registry::manifest::Manifests::remove`]; the database's.
    pub async fn delete(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        planned: PlannedRemoval,
    ) -> Result<LeftAlone, RegistryError> {
        let grant = self
            .browse
            .grant::<Delete>(Some(visitor), owner, repository)
            .await?;
        let now = self.clock.now();
        let deletion = Deletion {
            id: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
            repository: repository.to_owned(),
            removed: planned.removal.removed,
            is_finished: false,
            deleted_at: now,
            expires_at: now + UNDO_FOR,
        };
        let turn = self.under_way.lock(&deletion.id).await;
        self.deletions.keep(visitor, &deletion).await?;
        self.carry_out(grant, deletion, planned.room, turn).await
    }

    /// Goes on with the deletion `id` that broke off.
    ///
    /// # Returns
    /// What stays; `None` when there is no such deletion (any more), or it was finished already: what was pushed since is not its own to
    /// take.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn finish(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        id: &str,
    ) -> Result<Option<LeftAlone>, RegistryError> {
        let grant = self
            .browse
            .grant::<Delete>(Some(visitor), owner, repository)
            .await?;
        let turn = self.turn(id).await?;
        let room = self.room(owner, MOST_BYTES).await?;
        let found = self.deletions.find(visitor, id, self.clock.now()).await?;
        let is_open = |deletion: &Deletion| deletion.repository == repository && !deletion.is_finished;
        let Some(deletion) = found.filter(is_open) else {
            return Ok(None);
        };
        self.carry_out(grant, deletion, room, turn).await.map(Some)
    }

    /// Makes a deletion to its end, in a task of its own.
    async fn carry_out(
        &self,
        grant: Granted<Delete>,
        deletion: Deletion,
        room: SharePermit,
        turn: OwnedMutexGuard<()>,
    ) -> Result<LeftAlone, RegistryError> {
        let (manifests, deletions) = (Arc::clone(&self.manifests), Arc::clone(&self.deletions));
        let (told, outcome) = oneshot::channel();
        self.tasks.spawn(async move {
            let _held = (room, turn);
            let did = &grant.context().owner.did;
            let made = async {
                let left = manifests.remove(&grant, &deletion.removed).await?;
                deletions.finish(did, &deletion.id).await?;
                Ok(left)
            };
            let made: Result<LeftAlone, RegistryError> = made.await;
            if let Err(error) = &made {
                tracing::warn!(%did, error = error as &dyn std::error::Error, "a deletion is not finished");
            }
            // The visitor may have left; the deletion is done all the same.
            let _ = told.send(made);
        });
        outcome.await.unwrap_or_else(|_| {
            Err(RegistryError::internal(
                "the server stopped before a deletion was finished",
            ))
        })
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
        let _room = self.room(owner, MAX_MANIFEST_BYTES).await?;
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

    /// Undoes the deletion `id`. It is kept while tags of it wait for an image that is not there: the image's own deletion may be undone
    /// after it.
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
        // The undo waits for a deletion that is still running, and takes memory only afterwards.
        let _turn = self.turn(id).await?;
        let _room = self.room(owner, MOST_BYTES).await?;
        let found = self.deletions.find(visitor, id, self.clock.now()).await?;
        let Some(deletion) = found.filter(|deletion| deletion.repository == repository) else {
            return Ok(None);
        };
        let missed = self.manifests.restore(&grant, &deletion.removed).await?;
        if missed.without_manifest.is_empty() {
            self.deletions.forget(visitor, id).await?;
        }
        Ok(Some(missed))
    }
}
