//! What owners' changes need from outside.

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::repo_page::RepoPageRecord;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::removal::Removed;
use chrono::{DateTime, Utc};

/// A deletion, as it is kept for the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its name, which nobody can guess.
    pub id: String,
    /// The repository, without the owner.
    pub repository: String,
    /// What was deleted.
    pub removed: Removed,
    /// All of it is gone, or was left alone.
    pub is_finished: bool,
    /// When.
    pub deleted_at: DateTime<Utc>,
    /// Until when it is kept.
    pub expires_at: DateTime<Utc>,
}

/// A deletion in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionSummary {
    /// Its name.
    pub id: String,
    /// The repository, without the owner.
    pub repository: String,
    /// How many tags went.
    pub tags: u64,
    /// How many manifests went.
    pub manifests: u64,
    /// All of it is gone, or was left alone. One that broke off goes on when its owner says so.
    pub is_finished: bool,
    /// When.
    pub deleted_at: DateTime<Utc>,
    /// Until when it is kept.
    pub expires_at: DateTime<Utc>,
}

/// Deletions that can be undone. Errors are the database's.
#[async_trait]
pub trait DeletionStore: Send + Sync {
    /// Keeps a deletion of `did`, which is not finished, durable when it returns. The account's oldest go when it has too many. When all
    /// together are too large, the oldest of the account that has most go: no account takes away another's way back with many of its own.
    async fn keep(&self, did: &Did, deletion: &Deletion) -> Result<(), RegistryError>;

    /// A deletion of `did` that is kept at `now`.
    async fn find(&self, did: &Did, id: &str, now: DateTime<Utc>) -> Result<Option<Deletion>, RegistryError>;

    /// The deletions of `did` that are kept at `now`, the last one first.
    async fn list(&self, did: &Did, now: DateTime<Utc>) -> Result<Vec<DeletionSummary>, RegistryError>;

    /// A deletion of `did` is finished.
    async fn finish(&self, did: &Did, id: &str) -> Result<(), RegistryError>;

    /// Forgets a deletion that was undone.
    async fn forget(&self, did: &Did, id: &str) -> Result<(), RegistryError>;

    /// Forgets every deletion of `did`.
    async fn forget_all(&self, did: &Did) -> Result<(), RegistryError>;
}

/// Records at the owner's PDS that only pages are about. Reads ask it without credentials; errors are those that begin with `Pds`.
#[async_trait]
pub trait OwnRecords: Send + Sync {
    /// The page record under `rkey`; a record that is not of its form counts as none.
    async fn find_page(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<RepoPageRecord>, RegistryError>;

    /// Whether there is a record under `rkey`, of whatever form.
    async fn has_record(
        &self,
        owner: &ResolvedIdentity,
        collection: &str,
        rkey: &RecordKey,
    ) -> Result<bool, RegistryError>;

    /// The keys of at most `limit` records of a collection.
    async fn record_keys(
        &self,
        owner: &ResolvedIdentity,
        collection: &str,
        limit: usize,
    ) -> Result<Vec<RecordKey>, RegistryError>;
}
