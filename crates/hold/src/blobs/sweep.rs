//! Removing what nobody finished.

use super::{BlobError, BlobService};

/// Rows read at once.
const BATCH: u32 = 500;
/// Leftovers of the store looked at in one sweep; the next sweep sees the rest.
const MAX_LEFTOVERS: usize = 10_000;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Idle uploads removed, with their bytes.
    pub uploads: u64,
    /// Finished uploads forgotten; their blobs stay.
    pub forgotten: u64,
    /// Uploads that only the store knew of, removed.
    pub leftovers: u64,
}

impl BlobService {
    /// Removes uploads that nobody has touched for 24 hours, forgets the finished ones of that age, and removes what the
    /// store holds without the hold knowing of it (a crash between the two), if it is as old.
    ///
    /// # Errors
    /// `Store`, `Sessions`: the rest is left for the next sweep.
    pub async fn sweep_expired(&self) -> Result<Swept, BlobError> {
        let shared = &*self.shared;
        let before = shared.clock.now() - shared.options.idle_limit;
        let mut swept = Swept::default();
        loop {
            let idle = shared.sessions.idle_since(before, BATCH).await?;
            if idle.is_empty() {
                break;
            }
            for session in idle {
                let _ending = shared.endings.lock(&session.id).await;
                // It may have been used or finished since it was listed.
                let Some(session) = shared.sessions.get(&session.id).await? else {
                    continue;
                };
                if session.last_used_at >= before {
                    continue;
                }
                if session.finished.is_some() {
                    shared.sessions.remove(&session.id).await?;
                    swept.forgotten += 1;
                } else {
                    shared.forget(&session).await?;
                    swept.uploads += 1;
                }
            }
        }
        for leftover in shared.store.list_unfinished(MAX_LEFTOVERS).await? {
            if leftover.since < before && !shared.sessions.is_running(&leftover.upload.key).await? {
                shared.store.discard(&leftover.upload).await?;
                swept.leftovers += 1;
            }
        }
        if swept != Swept::default() {
            tracing::info!(?swept, "expired uploads removed");
        }
        Ok(swept)
    }
}
