//! Sessions that nobody finished.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::RegistryError;
use crate::upload::Uploads;

/// Sessions taken at once.
const BATCH: u32 = 100;

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
    /// Sweeps now and then every ten minutes until `stop`.
    pub async fn sweep_until(&self, stop: CancellationToken) {
        loop {
            match self.sweep().await {
                Ok(swept) if swept == Swept::default() => {}
                Ok(swept) => tracing::info!(swept.expired, swept.orphans, "unfinished uploads removed"),
                Err(error) => tracing::warn!(%error, "unfinished uploads could not be removed"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Removes the sessions whose time has ended, aborting them at their holds, and spooled bytes without a session. Sessions that
    /// a request is working on are left alone.
    ///
    /// # Errors
    /// The database's and the disk's. A hold that cannot be told is no error.
    pub async fn sweep(&self) -> Result<Swept, RegistryError> {
        let mut swept = Swept::default();
        loop {
            let expired = self.sessions.expired(self.clock.now(), BATCH).await?;
            let before = swept.expired;
            for session in &expired {
                if let Some(_guard) = self.guards.claim(&session.id) {
                    self.discard(session).await;
                    swept.expired += 1;
                }
            }
            if expired.len() < BATCH as usize || swept.expired == before {
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
        Ok(swept)
    }
}
