//! A table of uploads that panics at one of them.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_hold::adapters::sqlite::SqliteUploads;
use atcr_hold::blobs::{
    FinishedUpload, IdleUpload, ObjectKey, Promise, PromiseLimits, PromisedBlob, SessionsError,
    UploadSession, UploadSessions,
};
use atcr_oci::Digest;
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

    async fn promise(&self, promise: &Promise, limits: PromiseLimits) -> Result<bool, SessionsError> {
        self.uploads.promise(promise, limits).await
    }

    async fn promise_of(&self, upload_id: &str) -> Result<Option<Promise>, SessionsError> {
        self.uploads.promise_of(upload_id).await
    }

    async fn promised(&self, owner: &Did, digest: &Digest) -> Result<Option<PromisedBlob>, SessionsError> {
        self.uploads.promised(owner, digest).await
    }

    async fn is_promised(&self, digest: &Digest) -> Result<bool, SessionsError> {
        self.uploads.is_promised(digest).await
    }

    async fn promised_digests(&self, owner: &Did) -> Result<Vec<Digest>, SessionsError> {
        self.uploads.promised_digests(owner).await
    }

    async fn promised_uploads(&self) -> Result<Vec<String>, SessionsError> {
        self.uploads.promised_uploads().await
    }
}
