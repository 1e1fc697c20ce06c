//! The table of upload sessions, observed.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_oci::UploadSessionId;
use atcr_registry::error::RegistryError;
use atcr_registry::upload::ports::UploadSessions;
use atcr_registry::upload::session::{RemoteUpload, UploadSession};
use atcr_server::port_call::PortCall;
use chrono::{DateTime, Utc};

/// [`UploadSessions`] with every call observed as port `database`.
#[derive(Clone)]
pub struct ObservedUploadSessions(Arc<dyn UploadSessions>);

impl ObservedUploadSessions {
    /// Observes `sessions`.
    #[must_use]
    pub fn new(sessions: Arc<dyn UploadSessions>) -> Self {
        Self(sessions)
    }
}

#[async_trait]
impl UploadSessions for ObservedUploadSessions {
    async fn insert(&self, session: &UploadSession, most: u32) -> Result<bool, RegistryError> {
        PortCall::database("insert_upload")
            .run(self.0.insert(session, most))
            .await
    }

    async fn get(&self, id: &UploadSessionId) -> Result<Option<UploadSession>, RegistryError> {
        PortCall::database("get_upload").run(self.0.get(id)).await
    }

    async fn begun(&self, id: &UploadSessionId, remote: &RemoteUpload) -> Result<bool, RegistryError> {
        PortCall::database("begin_upload")
            .run(self.0.begun(id, remote))
            .await
    }

    async fn advance(&self, session: &UploadSession) -> Result<bool, RegistryError> {
        PortCall::database("advance_upload")
            .run(self.0.advance(session))
            .await
    }

    async fn remove(&self, id: &UploadSessionId) -> Result<(), RegistryError> {
        PortCall::database("remove_upload").run(self.0.remove(id)).await
    }

    async fn expired(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<UploadSession>, RegistryError> {
        PortCall::database("list_expired_uploads")
            .run(self.0.expired(now, limit))
            .await
    }

    async fn existing(&self, ids: &[UploadSessionId]) -> Result<Vec<UploadSessionId>, RegistryError> {
        PortCall::database("list_existing_uploads")
            .run(self.0.existing(ids))
            .await
    }
}
