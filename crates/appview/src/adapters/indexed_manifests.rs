//! What the index of the network knows of manifests and tags, for pulls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::ports::PullIndex;
use atcr_ingest::schedule::Scheduler;
use atcr_oci::{Digest, Tag};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::ports::{KnownManifest, KnownManifests, KnownStanding};

/// Manifests and tags of the index.
pub struct IndexedManifests {
    index: Arc<dyn PullIndex>,
    scheduler: Scheduler,
}

impl IndexedManifests {
    /// Reads `index`; accounts that have moved on are due at `scheduler`.
    #[must_use]
    pub fn new(index: Arc<dyn PullIndex>, scheduler: Scheduler) -> Self {
        Self { index, scheduler }
    }
}

fn failed(error: IndexError) -> RegistryError {
    RegistryError::Database(Arc::new(error))
}

#[async_trait]
impl KnownManifests for IndexedManifests {
    async fn standing(&self, did: &Did) -> Result<Option<KnownStanding>, RegistryError> {
        let standing = self.index.standing(did).await.map_err(failed)?;
        Ok(standing
            .filter(atcr_index::view::Standing::is_visible)
            .map(|standing| KnownStanding {
                rev: standing.rev,
                is_behind: standing.is_behind,
            }))
    }

    async fn tag(&self, did: &Did, repository: &str, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let target = self.index.tag_target(did, repository, tag.as_str()).await;
        target.map_err(failed)
    }

    async fn manifest(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<KnownManifest>, RegistryError> {
        let found = self.index.pulled_manifest(did, repository, digest).await;
        Ok(found.map_err(failed)?.map(|manifest| KnownManifest {
            media_type: manifest.media_type,
            blob: manifest.blob,
            hold: manifest.hold,
            odd_rkey: manifest.odd_rkey,
        }))
    }

    async fn is_behind(&self, did: &Did) {
        // It is listed: nothing is waited for.
        self.scheduler.looked_at(did, true, Duration::ZERO).await;
    }
}
