//! Removes upload sessions that no client finished.

use std::sync::Arc;
use std::time::Duration;

use atcr_server::Shutdown;
use atcr_server::host_calls::{HostCallBounds, call_hosts};
use atcr_server::supervise::Task;

use crate::error::RegistryError;
use crate::upload::Uploads;

/// The task, in logs and metrics.
const SWEEP: Task = Task::new("sweep_uploads");

/// Sessions taken at once.
const BATCH: u32 = 100;

/// Uploads that holds are told of in one sweep, at most.
const MAX_ABORTS: usize = 1_000;

/// Pause between two sweeps.
const PAUSE: Duration = Duration::from_mins(10);

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions whose time had ended.
    pub expired: usize,
    /// Spooled bytes that belonged to no session.
    pub orphans: usize,
}

impl Uploads {
    /// Sweeps now, and every ten minutes until the soft shutdown.
    pub fn start_sweeping(self: &Arc<Self>, shutdown: &Shutdown) {
        let uploads = Arc::clone(self);
        SWEEP.every(PAUSE, shutdown, move || {
            let uploads = Arc::clone(&uploads);
            async move {
                let swept = uploads.sweep().await?;
                if swept != Swept::default() {
                    tracing::info!(swept.expired, swept.orphans, "unfinished uploads removed");
                }
                Ok::<_, RegistryError>(())
            }
        });
    }

    /// Removes the sessions whose time has ended and spooled bytes without a session. Sessions that a request is working on are
    /// left alone. Holds are told at the end and within bounds: what a hold is not told it expires by itself.
    ///
    /// # Errors
    /// The database's and the disk's. A hold that cannot be told is no error.
    pub async fn sweep(&self) -> Result<Swept, RegistryError> {
        let mut swept = Swept::default();
        let mut aborts = Vec::new();
        loop {
            let expired = self.sessions.expired(self.clock.now(), BATCH).await?;
            let (before, is_last) = (swept.expired, expired.len() < BATCH as usize);
            for session in expired {
                if let Some(_guard) = self.guards.claim(&session.id) {
                    self.forget(&session.id).await;
                    swept.expired += 1;
                    if session.remote.is_some() && aborts.len() < MAX_ABORTS {
                        aborts.push(session);
                    }
                }
            }
            if is_last || swept.expired == before {
                break;
            }
        }
        let spooled = self.spool.sessions().await?;
        let existing = self.sessions.existing(&spooled).await?;
        for orphan in spooled.iter().filter(|id| !existing.contains(id)) {
            if let Some(_guard) = self.guards.claim(orphan) {
                self.spool.discard(orphan).await?;
                swept.orphans += 1;
            }
        }
        let calls = aborts.into_iter().map(|session| {
            let hold = session.hold.did.clone();
            (hold, async move { self.abort(&session).await })
        });
        let told = call_hosts(calls, HostCallBounds::default()).await;
        if told.given_up > 0 {
            tracing::info!(told.given_up, "holds were not told of expired uploads in time");
        }
        Ok(swept)
    }
}
