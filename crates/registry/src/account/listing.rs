//! One listing of an account: begun, read page by page, brought up to our own writes, published, and what it replaced removed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::pds::CommitMeta;
use atcr_atproto::pds::PdsFailure;
use atcr_atproto::syntax::Did;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Accounts;
use crate::account::coverage::Coverage;
use crate::account::ports::{AccountChange, ListedAs, ListingId, ListingPosition};
use crate::error::RegistryError;

/// How much longer than its time a page may take before it is given up instead of cut.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Times an account is listed anew because it changed during the listing, before the listing is used as it is.
const LISTING_ATTEMPTS: usize = 3;

/// A write of ours to an account that is being listed.
pub(super) struct OwnWrite {
    pub(super) change: AccountChange,
    pub(super) from: String,
    pub(super) to: String,
}

/// Listings under way, each with our own writes to its account since it began.
#[derive(Default)]
pub(super) struct Running(Mutex<HashMap<ListingId, (Did, Vec<OwnWrite>)>>);

impl Running {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<ListingId, (Did, Vec<OwnWrite>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_listed(&self, did: &Did) -> bool {
        self.lock().values().any(|(listed, _)| listed == did)
    }

    pub(super) fn note(&self, did: &Did, write: impl Fn() -> OwnWrite) {
        for (listed, writes) in self.lock().values_mut() {
            if listed == did {
                writes.push(write());
            }
        }
    }
}

/// A listing under way. Dropped before it is published, the next sweep removes it.
struct RunningListing<'a> {
    running: &'a Running,
    id: ListingId,
}

impl Drop for RunningListing<'_> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

impl Accounts {
    /// Lists the account until the listing is of one revision, and publishes it. Returns the commit it is of and what it covers.
    pub(super) async fn list(
        &self,
        owner: &ResolvedIdentity,
        mut head: CommitMeta,
        lane: Option<&OwnedMutexGuard<()>>,
    ) -> Result<(CommitMeta, Coverage), RegistryError> {
        let did = &owner.did;
        let mut coverage = Coverage::Whole;
        self.sweep_soon();
        for attempt in 1.. {
            tracing::debug!(%did, rev = head.rev.as_str(), attempt, "listing an account");
            let listing = self.begin(did).await?;
            let Some((size_bytes, is_whole)) = self.stage(owner, listing.id).await? else {
                return Err(gone());
            };
            // Our own write must not fall between this check and the publication, or it would be lost from the index.
            let _lane = match lane {
                Some(_) => None,
                None => Some(self.lanes.lock(did).await),
            };
            let Some(newest) = self.store.head(owner).await? else {
                break;
            };
            let rev = self.catch_up(listing.id, head.rev.as_str()).await?;
            let is_last = attempt >= LISTING_ATTEMPTS || self.limits.pause(did).is_some();
            if newest.rev.as_str() == rev || is_last {
                let listed_as = ListedAs { rev, is_whole };
                if !self.index.publish(listing.id, &listed_as, size_bytes).await? {
                    return Err(gone());
                }
                if newest.rev.as_str() == listed_as.rev {
                    head = newest;
                }
                coverage = Coverage::of(is_whole);
                break;
            }
            head = newest;
        }
        self.sweep_soon();
        Ok((head, coverage))
    }

    async fn begin(&self, did: &Did) -> Result<RunningListing<'_>, RegistryError> {
        let _beginning = self.beginning.lock().await;
        let id = self.index.begin_listing(did).await?;
        self.running.lock().insert(id, (did.clone(), Vec::new()));
        Ok(RunningListing {
            running: &self.running,
            id,
        })
    }

    /// Reads the account page by page into a listing. Returns its size in bytes and whether that is all the account has; `None` when
    /// the listing is gone.
    async fn stage(
        &self,
        owner: &ResolvedIdentity,
        listing: ListingId,
    ) -> Result<Option<(u64, bool)>, RegistryError> {
        let mut meter = self.limits.meter(&owner.did);
        let mut is_whole = true;
        let mut position = Some(ListingPosition::default());
        while let Some(at) = position {
            let until = Instant::now() + self.limits.page_time();
            let page = self.store.list_page(owner, &at, until);
            let page = tokio::time::timeout_at(until + LAST_CALL, page).await;
            meter.charge();
            let page = page.map_err(|_| {
                RegistryError::Pds(PdsFailure::Timeout {
                    host: pds_host(owner),
                })
            })??;
            meter.count(page.manifests.len() + page.tags.len(), page.size_bytes);
            is_whole &= !page.is_cut;
            if !self.index.stage(listing, &page).await? {
                return Ok(None);
            }
            position = page.next;
            if position.is_some() && meter.is_used_up() {
                is_whole = false;
                break;
            }
        }
        if !is_whole {
            tracing::warn!(
                did = %owner.did,
                records = meter.records(),
                size_bytes = meter.bytes(),
                "an account has more than is listed of one"
            );
        }
        Ok(Some((meter.bytes(), is_whole)))
    }

    /// Carries our own writes since the listing began over to it, whose pages may be from before or after each. Returns the revision
    /// that it is of then, if it was of `rev`: ours, as long as no other client wrote in between. The lane is held.
    async fn catch_up(&self, listing: ListingId, rev: &str) -> Result<String, RegistryError> {
        let writes = self
            .running
            .lock()
            .get_mut(&listing)
            .map(|(_, writes)| std::mem::take(writes))
            .unwrap_or_default();
        let mut rev = rev.to_owned();
        for write in writes {
            if !self.index.stage_change(listing, &write.change).await? {
                return Err(gone());
            }
            if write.from == rev {
                rev = write.to;
            }
        }
        Ok(rev)
    }

    /// Removes in the background what listings have replaced or left.
    fn sweep_soon(&self) {
        let Ok(sweeping) = Arc::clone(&self.sweeping).try_lock_owned() else {
            return;
        };
        let (index, running) = (Arc::clone(&self.index), Arc::clone(&self.running));
        let beginning = Arc::clone(&self.beginning);
        self.tasks.spawn(async move {
            let _sweeping = sweeping;
            let sweep = async {
                let left = {
                    let _beginning = beginning.lock().await;
                    let staged = index.staged().await?;
                    let running = running.lock();
                    staged
                        .into_iter()
                        .filter(|id| !running.contains_key(id))
                        .collect::<Vec<_>>()
                };
                index.sweep(&left).await
            };
            if let Err(error) = sweep.await {
                tracing::warn!(%error, "replaced listings stay until the next sweep");
            }
        });
    }
}

/// Another process removed a listing that was under way.
fn gone() -> RegistryError {
    RegistryError::Internal {
        what: "a listing was removed while it was made".to_owned(),
    }
}

/// The server that has the account, as its document names it.
fn pds_host(owner: &ResolvedIdentity) -> String {
    let host = owner.pds.as_ref().map(|pds| pds.authority().to_owned());
    host.unwrap_or_default()
}
