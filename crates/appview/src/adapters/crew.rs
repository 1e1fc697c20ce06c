//! `Crew` over the registry's choice of hold, and what else a sign-in sets off.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_auth::principal::Principal;
use atcr_index::change::Lane;
use atcr_ingest::schedule::Scheduler;
use atcr_registry::hold::discovery::HoldDiscovery;
use atcr_sessions::oauth::ports::Crew;

/// Becoming crew of the hold that the registry would push to.
#[derive(Debug)]
pub struct CrewOfPushes(pub Arc<HoldDiscovery>);

#[async_trait]
impl Crew for CrewOfPushes {
    async fn join(&self, principal: &Principal, sailor: &ResolvedIdentity) {
        self.0.join(principal, sailor).await;
    }
}

/// The same, with the account of a new sailor read into the index at once.
pub struct IndexedSailors {
    crew: Arc<dyn Crew>,
    scheduler: Scheduler,
}

impl IndexedSailors {
    /// Makes sailors crew through `crew`, and queues their accounts in `scheduler`.
    #[must_use]
    pub fn new(crew: Arc<dyn Crew>, scheduler: Scheduler) -> Self {
        Self { crew, scheduler }
    }
}

#[async_trait]
impl Crew for IndexedSailors {
    async fn join(&self, principal: &Principal, sailor: &ResolvedIdentity) {
        if let Err(error) = self.scheduler.queue(&sailor.did, Lane::Asked).await {
            tracing::warn!(did = %sailor.did, %error, "an account that signed in is not queued for the index");
        }
        self.crew.join(principal, sailor).await;
    }
}
