//! Removing uploads that were never finished.

use std::fmt;

use atcr_server::supervise::{Quarantine, Task};
use chrono::{DateTime, Utc};

use super::ports::StoreUpload;
use super::{BlobError, BlobService, Shared};

/// Rows read at once.
const BATCH: u32 = 500;
/// Leftovers of the store that one sweep checks; the next sweep checks the rest.
const MAX_LEFTOVERS: usize = 10_000;

/// The task that sweeps, in logs and metrics.
pub(crate) const SWEEP: Task = Task::new("sweep_uploads");

/// Sweeps that fail with an upload before it is skipped for a day.
const TRIES: u32 = 10;

/// An upload that a sweep could not remove.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum FailedUpload {
    /// By its session's name, which only its owner may know: the log has only the beginning.
    Session(String),
    /// By the key of what is left of it in the store.
    Leftover(String),
}

impl fmt::Display for FailedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "{id:.8}…"),
            Self::Leftover(key) => f.write_str(key),
        }
    }
}

/// Uploads that sweeps keep failing with.
pub(super) fn quarantine() -> Quarantine<FailedUpload> {
    Quarantine::new(SWEEP, TRIES)
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Idle uploads removed, with their bytes.
    pub uploads: u64,
    /// Finished uploads forgotten; their blobs stay.
    pub forgotten: u64,
    /// Uploads that only the store knew of, removed.
    pub leftovers: u64,
    /// What could not be removed this time.
    pub failed: u64,
}

/// How an idle upload ended.
enum Ended {
    Removed,
    Forgotten,
}

impl Shared {
    /// Ends the session `id` if it is still idle.
    async fn sweep_session(&self, id: &str, before: DateTime<Utc>) -> Result<Option<Ended>, BlobError> {
        let _ending = self.endings.lock(id).await;
        // It may have been used or finished since it was listed.
        let Some(session) = self.sessions.get(id).await? else {
            return Ok(None);
        };
        if session.last_used_at >= before {
            return Ok(None);
        }
        if self.sessions.promise_of(id).await?.is_some() {
            return Ok(None);
        }
        if session.finished.is_some() {
            self.sessions.remove(id).await?;
            return Ok(Some(Ended::Forgotten));
        }
        self.forget(&session).await?;
        Ok(Some(Ended::Removed))
    }

    async fn sweep_leftover(&self, upload: &StoreUpload) -> Result<bool, BlobError> {
        if self.sessions.is_running(&upload.key).await? {
            return Ok(false);
        }
        self.store.discard(upload).await?;
        Ok(true)
    }
}

impl BlobService {
    /// Removes uploads that were idle for [`BlobOptions::idle_limit`](super::BlobOptions), forgets the finished ones of that age, and
    /// removes uploads that only the store knows (after a crash between the two writes), if they are as old.
    ///
    /// An upload that cannot be removed is logged, counted and left for the next sweep; the others are still removed. After ten
    /// failed sweeps it is skipped for a day.
    ///
    /// # Errors
    /// `Store`, `Sessions`: nothing could be listed.
    pub async fn sweep_expired(&self) -> Result<Swept, BlobError> {
        let shared = &*self.shared;
        let before = shared.clock.now() - shared.options.idle_limit;
        let mut swept = Swept::default();
        let mut after = None;
        loop {
            let idle = shared.sessions.idle_since(before, after.as_ref(), BATCH).await?;
            let Some(last) = idle.last() else { break };
            after = Some(last.clone());
            for upload in &idle {
                let name = FailedUpload::Session(upload.id.clone());
                let sweeping = shared.sweep_session(&upload.id, before);
                match shared.unsweepable.attempt(&name, sweeping).await {
                    Some(Ok(Some(Ended::Removed))) => swept.uploads += 1,
                    Some(Ok(Some(Ended::Forgotten))) => swept.forgotten += 1,
                    Some(Ok(None)) => {}
                    Some(Err(_)) | None => swept.failed += 1,
                }
            }
        }
        for leftover in shared.store.list_unfinished(MAX_LEFTOVERS).await? {
            if leftover.since >= before {
                continue;
            }
            let name = FailedUpload::Leftover(leftover.upload.key.to_string());
            let sweeping = shared.sweep_leftover(&leftover.upload);
            match shared.unsweepable.attempt(&name, sweeping).await {
                Some(Ok(removed)) => swept.leftovers += u64::from(removed),
                Some(Err(_)) | None => swept.failed += 1,
            }
        }
        if swept != Swept::default() {
            tracing::info!(?swept, "expired uploads removed");
        }
        Ok(swept)
    }
}
