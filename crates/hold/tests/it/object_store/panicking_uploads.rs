//! A table of uploads that panics at one of them.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use atcr_hold::adapters::sqlite::SqliteUploads;
use atcr_hold::blobs::{FinishedUpload, IdleUpload, ObjectKey, SessionsError, UploadSession, UploadSessions};
use chrono::{DateTime, Utc};

#[derive(Debug)]
pub(crate) struct PanickingUploads {
    uploads: SqliteUploads,
    poisoned: String,
    panics: AtomicU32,
}

impl PanickingUploads {
    pub(crate) fn new(uploads: SqliteUploads, poisoned: &str) -> Self {
        Self {
            uploads,
            poisoned: poisoned.to_owned(),
            panics: AtomicU32::new(0),
        }
    }

    pub(crate) fn panics(&self) -> u32 {
        self.panics.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl UploadSessions for PanickingUploads {
    async fn insert(&self, session: &UploadSession) -> Result<(), SessionsError> {
        self.uploads.insert(session).await
    }

    async fn get(&self, id: &str) -> Result<Option<UploadSession>, SessionsError> {
        if id == self.poisoned {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("a poisoned upload");
        }
        self.uploads.get(id).await
    }

    async fn touch(&self, id: &str, now: DateTime<Utc>) -> Result<(), SessionsError> {
        self.uploads.touch(id, now).await
    }

    async fn finish(
        &self,
        id: &str,
        finished: &FinishedUpload,
        now: DateTime<Utc>,
    ) -> Result<(), SessionsError> {
        self.uploads.finish(id, finished, now).await
    }

    async fn remove(&self, id: &str) -> Result<(), SessionsError> {
        self.uploads.remove(id).await
    }

    async fn idle_since(
        &self,
        before: DateTime<Utc>,
        after: Option<&IdleUpload>,
        limit: u32,
    ) -> Result<Vec<IdleUpload>, SessionsError> {
        self.uploads.idle_since(before, after, limit).await
    }

    async fn is_running(&self, key: &ObjectKey) -> Result<bool, SessionsError> {
        self.uploads.is_running(key).await
    }
}
