//! Keeping the index of an account in step with the account.
//!
//! The account's own repository is the truth; its revision says whether the index still agrees. Answers that have to be
//! complete (tags, referrers, deletions) first compare revisions and list the account again if they differ. Our own writes
//! are conditional on the commit they were planned at, so that they can be carried over to the index in place, and to a listing
//! that is under way.
//!
//! An account may be a stranger's, so a listing goes page by page into rows that are not read until it is published, and within
//! [`ListingLimits`]. [`Coverage`] says what that leaves to be desired.

pub mod catalog;
pub mod coverage;
pub mod error;
mod listing;
pub mod listing_limits;
pub mod ports;
mod revisions;
mod write;

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::pds::CommitMeta;
use atcr_atproto::syntax::{Did, Tid};
use atcr_server::Shutdown;
use tokio::sync::OwnedMutexGuard;

use crate::account::coverage::Coverage;
use crate::account::listing::Running;
use crate::account::listing_limits::{ListingFor, ListingLimits};
use crate::account::ports::{AccountIndex, AccountRecords, RevisionStore};
use crate::account::revisions::Revisions;
pub use crate::account::write::{Freshness, Plan, Planner};
use crate::error::{AccountError, RegistryError};
use atcr_server::KeyedLocks;

/// How long a writer waits for an account to be listed that need not be.
const QUICK: Duration = Duration::from_secs(5);

/// How long an account that was not listed that quickly is not listed for such a writer.
const REMEMBER_SLOW: Duration = Duration::from_mins(10);

/// How long an account whose PDS has not gone back is not asked about again for a pull.
const STEADY: Duration = Duration::from_secs(10);

/// How long what the index of the network has of an account is served after the account's server was asked for its newest revision.
pub const CURRENT_FOR: Duration = Duration::from_mins(1);

/// How long a server that said nothing of an account is not asked again for what the index may answer.
const SILENT_FOR: Duration = Duration::from_secs(15);

/// Accounts whose newest commit is remembered.
const KNOWN_HEADS: u64 = 10_000;

/// Accounts, their index, and the one lane for writing to each.
pub struct Accounts {
    store: Arc<dyn AccountRecords>,
    index: Arc<dyn AccountIndex>,
    limits: ListingLimits,
    tasks: Shutdown,
    lanes: KeyedLocks<Did>,
    listings: KeyedLocks<Did>,
    running: Arc<Running>,
    /// Held while a listing is begun: nothing is swept in between.
    beginning: Arc<tokio::sync::Mutex<()>>,
    sweeping: Arc<tokio::sync::Mutex<()>>,
    heads: moka::sync::Cache<Did, CommitMeta>,
    revisions: Revisions,
    /// Accounts whose PDS did not go back a moment ago.
    steady: moka::sync::Cache<Did, ()>,
    /// The newest revision of accounts, as their servers said within [`CURRENT_FOR`].
    checked: moka::sync::Cache<Did, Tid>,
    /// One question for it at a time.
    checks: KeyedLocks<Did>,
    /// Accounts whose servers said nothing within [`SILENT_FOR`].
    silent: moka::sync::Cache<Did, RegistryError>,
    /// Accounts that could not be listed quickly for a writer.
    slow: moka::sync::Cache<Did, ()>,
}

impl Accounts {
    /// Lists accounts from `store` into `index` within `limits`; what a listing replaced is removed by a task of `tasks`.
    #[must_use]
    pub fn new(
        store: Arc<dyn AccountRecords>,
        index: Arc<dyn AccountIndex>,
        revisions: Arc<dyn RevisionStore>,
        clock: Arc<dyn Clock>,
        limits: ListingLimits,
        tasks: Shutdown,
    ) -> Self {
        Self {
            store,
            index,
            limits,
            tasks,
            lanes: KeyedLocks::default(),
            listings: KeyedLocks::default(),
            running: Arc::default(),
            beginning: Arc::default(),
            sweeping: Arc::default(),
            heads: moka::sync::Cache::new(KNOWN_HEADS),
            revisions: Revisions::new(revisions, clock),
            steady: moka::sync::Cache::builder()
                .max_capacity(KNOWN_HEADS)
                .time_to_live(STEADY)
                .build(),
            checked: moka::sync::Cache::builder()
                .max_capacity(KNOWN_HEADS)
                .time_to_live(CURRENT_FOR)
                .build(),
            checks: KeyedLocks::default(),
            silent: moka::sync::Cache::builder()
                .max_capacity(KNOWN_HEADS)
                .time_to_live(SILENT_FOR)
                .build(),
            slow: moka::sync::Cache::builder()
                .max_capacity(KNOWN_HEADS)
                .time_to_live(REMEMBER_SLOW)
                .build(),
        }
    }

    /// The index; as complete for `owner` as [`Accounts::ensure_synced`] says.
    #[must_use]
    pub fn index(&self) -> &dyn AccountIndex {
        self.index.as_ref()
    }

    /// Whether every record of the account was listed, when it was listed last.
    ///
    /// # Errors
    /// The database's.
    pub async fn is_whole(&self, did: &Did) -> Result<bool, RegistryError> {
        let listed = self.index.listed_as(did).await?;
        Ok(listed.is_none_or(|listed| listed.is_whole))
    }

    /// Brings the index up to the account's newest commit for `requester`, as far as the limits of listing allow.
    ///
    /// Callers that come at once share one listing.
    ///
    /// # Errors
    /// [`RegistryError::TooManyRequests`] when the account may not be listed now and never was, or too many others are being
    /// listed; the PDS's, the database's.
    pub async fn ensure_synced(
        &self,
        owner: &ResolvedIdentity,
        requester: &str,
    ) -> Result<Coverage, RegistryError> {
        let Some(head) = self.head(owner).await? else {
            return Ok(Coverage::Whole);
        };
        if let Some(coverage) = self.coverage_at(&owner.did, &head).await? {
            return Ok(coverage);
        }
        let _listing = self.listings.lock(&owner.did).await;
        if let Some(coverage) = self.coverage_at(&owner.did, &head).await? {
            return Ok(coverage);
        }
        if let Some(retry_after) = self.limits.pause(&owner.did) {
            return match self.index.listed_as(&owner.did).await? {
                Some(_) => Ok(Coverage::Stale { retry_after }),
                None => Err(RegistryError::TooManyRequests { retry_after }),
            };
        }
        let _permit = self
            .limits
            .permit(ListingFor::Reader(requester), owner.pds.as_ref())
            .await?;
        let (_, coverage) = self.list(owner, head, None).await?;
        Ok(coverage)
    }

    /// How many accounts are being listed now.
    #[must_use]
    pub fn being_listed(&self) -> usize {
        self.running.lock().len()
    }

    /// The account's newest commit; `None` when its PDS has no repository for it.
    ///
    /// # Errors
    /// [`AccountError::RolledBack`] when it is older than one that was seen before; the PDS's, the database's.
    async fn head(&self, owner: &ResolvedIdentity) -> Result<Option<CommitMeta>, RegistryError> {
        let newest = self.revisions.newest(&owner.did).await?;
        let head = self.store.head(owner).await?;
        if let Some(head) = &head {
            self.revisions
                .check(&owner.did, &head.rev, newest.as_ref())
                .await?;
            self.steady.insert(owner.did.clone(), ());
            self.checked.insert(owner.did.clone(), head.rev.clone());
            self.silent.invalidate(&owner.did);
        }
        Ok(head)
    }

    /// Whether a revision of the account after `rev` was seen here: its server's word, or a write of ours.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn has_seen_newer(&self, did: &Did, rev: &Tid) -> Result<bool, RegistryError> {
        let newest = self.revisions.newest(did).await?;
        Ok(newest.is_some_and(|newest| newest > *rev))
    }

    /// Whether what is known of the account at `rev` is what it has, or had within [`CURRENT_FOR`]. No write of ours is missing from it.
    ///
    /// # Errors
    /// The PDS's, when it had to be asked; for a while the same again without asking, when it said nothing. The database's.
    pub(crate) async fn is_current(
        &self,
        owner: &ResolvedIdentity,
        rev: &Tid,
    ) -> Result<bool, RegistryError> {
        let did = &owner.did;
        if self.has_seen_newer(did, rev).await? {
            return Ok(false);
        }
        if let Some(head) = self.checked.get(did) {
            return Ok(head <= *rev);
        }
        let _check = self.checks.lock(did).await;
        if let Some(head) = self.checked.get(did) {
            return Ok(head <= *rev);
        }
        if let Some(error) = self.silent.get(did) {
            return Err(error);
        }
        match self.head(owner).await {
            Ok(head) => Ok(head.is_some_and(|head| head.rev <= *rev)),
            Err(error) => {
                if error.is_silence() {
                    self.silent.insert(did.clone(), error.clone());
                }
                Err(error)
            }
        }
    }

    /// The same for the account's owner, whose next write makes it newer than anything that was seen. One that has to be planned by
    /// what the account has is refused all the same.
    async fn head_for_write(
        &self,
        owner: &ResolvedIdentity,
        freshness: Freshness,
    ) -> Result<Option<CommitMeta>, RegistryError> {
        match self.head(owner).await {
            Err(RegistryError::Account(AccountError::RolledBack { .. }))
                if freshness != Freshness::Required =>
            {
                self.store.head(owner).await
            }
            head => head,
        }
    }

    /// Checks that the account's PDS has not gone back to an older state than it served before. What keeps this from being found out is
    /// no reason to refuse.
    ///
    /// # Errors
    /// [`AccountError::RolledBack`].
    pub async fn require_steady(&self, owner: &ResolvedIdentity) -> Result<(), RegistryError> {
        if self.steady.contains_key(&owner.did) {
            return Ok(());
        }
        match self.head(owner).await {
            Ok(_) => Ok(()),
            Err(error @ RegistryError::Account(AccountError::RolledBack { .. })) => Err(error),
            Err(error) => {
                tracing::debug!(did = %owner.did, %error, "whether a PDS has gone back is not known");
                Ok(())
            }
        }
    }

    /// [`Accounts::ensure_synced`] for a writer, which holds the account's `lane`. A writer makes its own listing, since one
    /// that is under way waits for the lane at its end. It does not wait for the allowance either: a write must know what
    /// is there.
    async fn sync_for_write(
        &self,
        owner: &ResolvedIdentity,
        head: CommitMeta,
        lane: &OwnedMutexGuard<()>,
    ) -> Result<CommitMeta, RegistryError> {
        if self.coverage_at(&owner.did, &head).await?.is_some() {
            return Ok(head);
        }
        let _permit = self
            .limits
            .permit(ListingFor::Writer(owner.did.as_str()), owner.pds.as_ref())
            .await?;
        self.list(owner, head, Some(lane)).await.map(|(head, _)| head)
    }

    /// The same for a writer who can do without. An account that is being listed, or took too long, or could not be listed, is left alone
    /// for a while.
    async fn sync_if_quick(
        &self,
        owner: &ResolvedIdentity,
        head: CommitMeta,
        lane: &OwnedMutexGuard<()>,
    ) -> Result<CommitMeta, RegistryError> {
        let did = &owner.did;
        if self.slow.contains_key(did) || self.running.is_listed(did) {
            return Ok(head);
        }
        let synced = self.sync_for_write(owner, head.clone(), lane);
        let reason = match tokio::time::timeout(QUICK, synced).await {
            Ok(Ok(head)) => return Ok(head),
            Ok(Err(
                error
                @ (RegistryError::Database(_) | RegistryError::Account(AccountError::RolledBack { .. })),
            )) => {
                return Err(error);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::info!(%did, reason, "an account is written to without being listed first");
        self.slow.insert(did.clone(), ());
        Ok(head)
    }

    /// What the index is worth if the account is at `head`; `None` when it is of another revision.
    async fn coverage_at(&self, did: &Did, head: &CommitMeta) -> Result<Option<Coverage>, RegistryError> {
        let listed = self.index.listed_as(did).await?;
        let current = listed.filter(|listed| listed.rev == head.rev.as_str());
        Ok(current.map(|listed| Coverage::of(listed.is_whole)))
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}
