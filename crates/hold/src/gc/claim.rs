//! Whose the store is: of two holds in one store, each would remove what only the other one knows.

use std::sync::atomic::Ordering;
use std::time::Duration;

use atcr_server::Shutdown;
use atcr_server::supervise::Task;

use super::{Gc, GcError, Inner};
use crate::blobs::{ObjectKey, StoreError};

/// The task that claims a store which could not be asked at the start.
const CLAIMING: Task = Task::new("claim_store");

const ASK_EVERY: Duration = Duration::from_mins(1);

impl Gc {
    /// Makes the store this hold's if it is nobody's; the DID of another hold if it is that one's.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim_store(&self) -> Result<Option<String>, StoreError> {
        let other = self.inner.owner.claim().await?;
        self.inner.is_claimed.store(other.is_none(), Ordering::Relaxed);
        Ok(other)
    }

    /// Asks until the store says that it is this hold's. The process ends if it is another hold's.
    pub(super) fn claim_until_done(&self, shutdown: &Shutdown) {
        if self.inner.is_claimed.load(Ordering::Relaxed) {
            return;
        }
        let (gc, stopping) = (self.clone(), shutdown.clone());
        CLAIMING.every(ASK_EVERY, shutdown, move || {
            let (gc, stopping) = (gc.clone(), stopping.clone());
            async move {
                if gc.inner.is_claimed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if let Some(other) = gc.claim_store().await? {
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
