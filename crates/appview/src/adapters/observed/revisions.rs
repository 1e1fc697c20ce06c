//! The newest revisions of accounts, observed.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Tid};
use atcr_registry::account::ports::RevisionStore;
use atcr_registry::error::RegistryError;
use atcr_server::port_call::PortCall;

/// [`RevisionStore`] with every call observed as port `database`.
#[derive(Clone)]
pub struct ObservedRevisions(Arc<dyn RevisionStore>);

impl ObservedRevisions {
    /// Observes `revisions`.
    #[must_use]
    pub fn new(revisions: Arc<dyn RevisionStore>) -> Self {
        Self(revisions)
    }
}

#[async_trait]
impl RevisionStore for ObservedRevisions {
    async fn newest(&self, did: &Did) -> Result<Option<Tid>, RegistryError> {
        PortCall::database("find_revision").run(self.0.newest(did)).await
    }

    async fn remember(&self, did: &Did, rev: &Tid) -> Result<(), RegistryError> {
        PortCall::database("remember_revision")
            .run(self.0.remember(did, rev))
            .await
    }
}
