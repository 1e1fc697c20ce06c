//! What is taken down, as the index has it from the labeler.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_index::ports::IndexReader;
use atcr_registry::access::Takedowns;
use atcr_registry::error::RegistryError;

/// Takedowns of the index.
pub struct IndexedTakedowns(pub Arc<dyn IndexReader>);

#[async_trait]
impl Takedowns for IndexedTakedowns {
    async fn is_taken_down(&self, did: &Did, repository: &str) -> Result<bool, RegistryError> {
        self.0
            .is_taken_down(did, repository)
            .await
            .map_err(|error| RegistryError::Database(Arc::new(error)))
    }
}
