//! The newest revision that was seen of each account, so that a PDS which goes back to an older state is found out.
//!
//! Nothing signed is looked at: this finds a server that was restored from an old backup, or that answers one reader with the past, and
//! not one that lies consistently. A revision is compared with what was known before it was asked for, since a write of ours may
//! overtake the question.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::revision::Revision;
use atcr_atproto::syntax::{Did, Tid};
use moka::sync::Cache;

use crate::account::ports::RevisionStore;
use crate::error::{AccountError, RegistryError};

/// Accounts whose newest revision is kept in memory.
const IN_MEMORY: u64 = 20_000;

/// The newest revisions.
pub(super) struct Revisions {
    store: Arc<dyn RevisionStore>,
    clock: Arc<dyn Clock>,
    newest: Cache<Did, Tid>,
}

impl Revisions {
    /// Remembers in `store`.
    pub(super) fn new(store: Arc<dyn RevisionStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            newest: Cache::new(IN_MEMORY),
        }
    }

    /// The newest revision of `did` seen so far.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn newest(&self, did: &Did) -> Result<Option<Tid>, RegistryError> {
        if let Some(newest) = self.newest.get(did) {
            return Ok(Some(newest));
        }
        let newest = self.store.newest(did).await?;
        if let Some(newest) = &newest {
            self.newest.insert(did.clone(), newest.clone());
        }
        Ok(newest)
    }

    /// Compares `seen` with the `newest` revision that was known before `seen` was asked for, and remembers a newer one.
    ///
    /// # Errors
    /// [`AccountError::RolledBack`]; the database's.
    pub(super) async fn check(
        &self,
        did: &Did,
        seen: &Tid,
        newest: Option<&Tid>,
    ) -> Result<(), RegistryError> {
        match (Revision::judge(seen, newest, self.clock.now()), newest) {
            (Revision::Same, _) => Ok(()),
            (Revision::Newer, _) => self.remember(did, seen).await,
            (Revision::FromTheFuture, _) => {
                tracing::warn!(%did, rev = seen.as_str(), "a revision from the future is not remembered");
                Ok(())
            }
            (Revision::RolledBack, newest) => {
                let newest = newest.map(Tid::as_str).unwrap_or_default();
                metrics::counter!("atcr_appview_accounts_rolled_back_total").increment(1);
                tracing::error!(%did, rev = seen.as_str(), newest, "a PDS serves an older state of an account than before");
                Err(RegistryError::Account(AccountError::RolledBack {
                    did: did.clone(),
                    rev: seen.as_str().to_owned(),
                    newest: newest.to_owned(),
                }))
            }
        }
    }

    /// Remembers a revision, unless a newer one is known.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn remember(&self, did: &Did, seen: &Tid) -> Result<(), RegistryError> {
        let known = self.newest.get(did);
        if known.is_some_and(|known| known >= *seen) {
            return Ok(());
        }
        self.newest.insert(did.clone(), seen.clone());
        self.store.remember(did, seen).await
    }
}
