//! The table of uploads, observed.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_server::port_call::PortCall;
use chrono::{DateTime, Utc};

use crate::blobs::{
    FinishedUpload, IdleUpload, ObjectKey, Promise, PromiseLimits, PromisedBlob, SessionsError,
    UploadSession, UploadSessions,
};

/// [`UploadSessions`] with every statement observed as port `database`.
#[derive(Clone, Debug)]
pub struct ObservedUploads(Arc<dyn UploadSessions>);

impl ObservedUploads {
    /// Observes `sessions`.
    #[must_use]
    pub fn new(sessions: Arc<dyn UploadSessions>) -> Self {
        Self(sessions)
    }
}

#[async_trait]
impl UploadSessions for ObservedUploads {
    async fn insert(&self, session: &UploadSession) -> Result<(), SessionsError> {
        PortCall::database("insert_upload")
            .run(self.0.insert(session))
            .await
    }

    async fn get(&self, id: &str) -> Result<Option<UploadSession>, SessionsError> {
        PortCall::database("get_upload").run(self.0.get(id)).await
    }

    async fn touch(&self, id: &str, now: DateTime<Utc>) -> Result<(), SessionsError> {
        PortCall::database("touch_upload")
            .run(self.0.touch(id, now))
            .await
    }

    async fn finish(
        &self,
        id: &str,
        finished: &FinishedUpload,
        now: DateTime<Utc>,
    ) -> Result<(), SessionsError> {
        PortCall::database("finish_upload")
            .run(self.0.finish(id, finished, now))
            .await
    }

    async fn remove(&self, id: &str) -> Result<(), SessionsError> {
        PortCall::database("remove_upload").run(self.0.remove(id)).await
    }

    async fn idle_since(
        &self,
        before: DateTime<Utc>,
        after: Option<&IdleUpload>,
        limit: u32,
    ) -> Result<Vec<IdleUpload>, SessionsError> {
        PortCall::database("list_idle_uploads")
            .run(self.0.idle_since(before, after, limit))
            .await
    }

    async fn is_running(&self, key: &ObjectKey) -> Result<bool, SessionsError> {
        PortCall::database("is_upload_running")
            .run(self.0.is_running(key))
            .await
    }

    async fn promise(&self, promise: &Promise, limits: PromiseLimits) -> Result<bool, SessionsError> {
        PortCall::database("promise_upload")
            .run(self.0.promise(promise, limits))
            .await
    }

    async fn promise_of(&self, upload_id: &str) -> Result<Option<Promise>, SessionsError> {
        PortCall::database("get_promise")
            .run(self.0.promise_of(upload_id))
            .await
    }

    async fn promised(&self, owner: &Did, digest: &Digest) -> Result<Option<PromisedBlob>, SessionsError> {
        PortCall::database("find_promise")
            .run(self.0.promised(owner, digest))
            .await
    }

    async fn is_promised(&self, digest: &Digest) -> Result<bool, SessionsError> {
        PortCall::database("is_blob_promised")
            .run(self.0.is_promised(digest))
            .await
    }

    async fn promised_digests(&self, owner: &Did) -> Result<Vec<Digest>, SessionsError> {
        PortCall::database("list_promised_digests")
            .run(self.0.promised_digests(owner))
            .await
    }

    async fn promised_uploads(&self) -> Result<Vec<String>, SessionsError> {
        PortCall::database("list_promises")
            .run(self.0.promised_uploads())
            .await
    }
}
