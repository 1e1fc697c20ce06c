//! Whose the store is: of two holds in one store, each would remove what only the other one knows.

use std::sync::atomic::Ordering;
use std::time::Duration;

use atcr_server::Shutdown;
use atcr_server::supervise::Task;

use super::{Gc, GcError, Inner};
use crate::blobs::{ObjectKey, StoreError};

/// The task that asks whose the store is.
const CLAIMING: Task = Task::new("claim_store");

const ASK_EVERY: Duration = Duration::from_mins(1);
/// Seconds after which a store that was this hold's is asked again: another one that started at the same time may have claimed it last.
const ASK_AGAIN_AFTER: u64 = 60 * 60;
/// The uptime of a claim that there was none of yet.
pub(super) const NEVER: u64 = u64::MAX;

impl Gc {
    /// Makes the store this hold's if it is nobody's; the DID of another hold if it is that one's.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim_store(&self) -> Result<Option<String>, StoreError> {
        let other = self.inner.owner.claim().await?;
        let claimed_at = if other.is_none() {
            self.inner.uptime.now()
        } else {
            NEVER
        };
        self.inner.claimed_at.store(claimed_at, Ordering::Relaxed);
        Ok(other)
    }

    /// As [`claim_store`](Self::claim_store), if the store did not say within the last hour that it is this hold's.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim_store_again(&self) -> Result<Option<String>, StoreError> {
        let claimed_at = self.inner.claimed_at.load(Ordering::Relaxed);
        if claimed_at != NEVER && self.inner.uptime.now().saturating_sub(claimed_at) < ASK_AGAIN_AFTER {
            return Ok(None);
        }
        self.claim_store().await
    }

    /// Asks until the store says that it is this hold's, and every hour after that. The process ends if it is another hold's.
    pub(super) fn keep_claiming(&self, shutdown: &Shutdown) {
        let (gc, stopping) = (self.clone(), shutdown.clone());
        CLAIMING.every(ASK_EVERY, shutdown, move || {
            let (gc, stopping) = (gc.clone(), stopping.clone());
            async move {
                if let Some(other) = gc.claim_store_again().await? {
                    tracing::error!(other, "THE OBJECT STORE BELONGS TO ANOTHER HOLD: this one ends, before either removes the other's blobs");
                    stopping.begin();
                }
                Ok::<_, StoreError>(())
            }
        });
    }
}

impl Inner {
    /// Another hold's store is not looked at.
    pub(super) async fn require_own_store(&self) -> Result<(), GcError> {
        match self.owner.claim().await? {
            None => Ok(()),
            Some(other) => Err(GcError::NotNow(format!(
                "the store belongs to {other}: of two holds in one store, each would remove what only the other one knows. If that \
                 one is no more, remove the object {}",
                ObjectKey::owner()
            ))),
        }
    }
}
