//! Keeping the index of an account in step with the account.
//!
//! The account's own repository is the truth; its revision says whether the index still agrees. Answers that have to be
//! complete (tags, referrers, deletions) first compare revisions and list the account again if they differ. Our own writes
//! are conditional on the commit they were planned at, so that they can be carried over to the index in place.

use std::sync::Arc;

use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::pds::{CommitMeta, Write};
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::{Digest, Tag};
use futures_util::future::BoxFuture;
use tokio::sync::OwnedMutexGuard;

use super::error::RegistryError;
use super::keyed_locks::KeyedLocks;
use super::ports::{AccountChange, AccountIndex, CommitOutcome, ManifestStore};

/// Times a write is planned anew because somebody else wrote to the account meanwhile. After that it is written as planned
/// last: an account that is written to all the time must still take a push.
const CONDITIONAL_ATTEMPTS: usize = 4;

/// Times an account is listed anew because it changed during the listing, before the listing is used as it is.
const LISTING_ATTEMPTS: usize = 3;

/// Accounts whose newest commit is remembered.
const KNOWN_HEADS: u64 = 10_000;

/// Writes to make in one commit, and what they mean for the index and the caches.
#[derive(Debug, Default)]
pub struct Plan {
    /// The writes; none means that nothing is to be done.
    pub writes: Vec<Write>,
    /// The same for the index.
    pub change: AccountChange,
    /// Manifests that the repository no longer has.
    pub removed: Vec<Digest>,
    /// Tags that no longer point where they did.
    pub moved: Vec<Tag>,
}

/// Says what to write, given what the account has when it is asked.
pub type Planner<'p> = &'p (dyn Fn() -> BoxFuture<'p, Result<Plan, RegistryError>> + Send + Sync + 'p);

/// Accounts, their index, and the one lane for writing to each.
pub struct Accounts {
    store: Arc<dyn ManifestStore>,
    index: Arc<dyn AccountIndex>,
    lanes: KeyedLocks<Did>,
    listings: KeyedLocks<Did>,
    heads: moka::sync::Cache<Did, CommitMeta>,
}

impl Accounts {
    /// Lists accounts from `store` into `index`.
    #[must_use]
    pub fn new(store: Arc<dyn ManifestStore>, index: Arc<dyn AccountIndex>) -> Self {
        Self {
            store,
            index,
            lanes: KeyedLocks::default(),
            listings: KeyedLocks::default(),
            heads: moka::sync::Cache::new(KNOWN_HEADS),
        }
    }

    /// The index; complete for `owner` after [`Accounts::ensure_synced`].
    #[must_use]
    pub fn index(&self) -> &dyn AccountIndex {
        self.index.as_ref()
    }

    /// Brings the index up to the account's newest commit, which is returned; `None` when there is no repository yet.
    ///
    /// Callers that come at once share one listing.
    ///
    /// # Errors
    /// The PDS's, the database's.
    pub async fn ensure_synced(&self, owner: &ResolvedIdentity) -> Result<Option<CommitMeta>, RegistryError> {
        let Some(head) = self.store.head(owner).await? else {
            return Ok(None);
        };
        self.sync_to(owner, head, None).await.map(Some)
    }

    /// Lists the account until the listing is of one revision. `lane` is held by a caller that writes.
    async fn sync_to(
        &self,
        owner: &ResolvedIdentity,
        mut head: CommitMeta,
        lane: Option<&OwnedMutexGuard<()>>,
    ) -> Result<CommitMeta, RegistryError> {
        let did = &owner.did;
        if self.is_synced(did, &head).await? {
            return Ok(head);
        }
        // A writer lists for itself: it holds the lane, which a listing that is under way waits for at its end.
        let _listing = match lane {
            Some(_) => None,
            None => Some(self.listings.lock(did).await),
        };
        for attempt in 1.. {
            if self.is_synced(did, &head).await? {
                return Ok(head);
            }
            tracing::debug!(%did, rev = head.rev.as_str(), attempt, "listing an account");
            let listing = self.store.list(owner).await?;
            // Our own write must not fall between this check and the replacement, or it would be lost from the index.
            let _lane = match lane {
                Some(_) => None,
                None => Some(self.lanes.lock(did).await),
            };
            let Some(newest) = self.store.head(owner).await? else {
                return Ok(head);
            };
            if newest == head || attempt >= LISTING_ATTEMPTS {
                self.index.replace(did, head.rev.as_str(), &listing).await?;
                return Ok(head);
            }
            head = newest;
        }
        Ok(head)
    }

    async fn is_synced(&self, did: &Did, head: &CommitMeta) -> Result<bool, RegistryError> {
        Ok(self.index.synced_rev(did).await?.as_deref() == Some(head.rev.as_str()))
    }

    /// Plans and makes one commit to the account of `owner`, who is `principal`.
    ///
    /// Returns the plan that was carried out, its writes taken out.
    ///
    /// Writers to one account queue here. `plan` reads what it needs and says what to write; it is asked again if somebody
    /// else wrote meanwhile. With `synced` the index is complete for the account when it is asked.
    ///
    /// # Errors
    /// What `plan` says, the PDS's, the database's. The index failing after the commit is logged and mended by the next
    /// listing.
    ///
    /// # Cancel safety
    /// The commit is one call: it was made or not. If the future is dropped after it, the index is behind until the next
    /// listing.
    pub async fn write(
        &self,
        principal: &Principal,
        owner: &ResolvedIdentity,
        synced: bool,
        plan: Planner<'_>,
    ) -> Result<Plan, RegistryError> {
        let did = &owner.did;
        let lane = self.lanes.lock(did).await;
        let mut known = self.heads.get(did);
        for attempt in 1.. {
            let head = match known.take() {
                Some(head) => Some(head),
                None => self.store.head(owner).await?,
            };
            let head = match head {
                Some(head) if synced => Some(self.sync_to(owner, head, Some(&lane)).await?),
                head => head,
            };
            let mut planned = plan().await?;
            let writes = std::mem::take(&mut planned.writes);
            if writes.is_empty() {
                return Ok(planned);
            }
            let expected = head.as_ref().filter(|_| attempt <= CONDITIONAL_ATTEMPTS);
            self.heads.invalidate(did);
            match self.store.commit(principal, writes, expected).await? {
                CommitOutcome::Moved => {
                    tracing::debug!(%did, attempt, "the account was written to meanwhile");
                }
                CommitOutcome::Committed(commit) => {
                    let from = expected.map_or("", |head| head.rev.as_str());
                    if let Err(error) = self
                        .index
                        .apply(did, &planned.change, from, commit.rev.as_str())
                        .await
                    {
                        tracing::error!(%did, error = &error as &dyn std::error::Error, "the index missed a write");
                    }
                    self.heads.insert(did.clone(), commit);
                    return Ok(planned);
                }
            }
        }
        Ok(Plan::default())
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}
