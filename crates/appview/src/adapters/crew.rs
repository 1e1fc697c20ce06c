//! `Crew` over the registry's choice of hold.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_auth::principal::Principal;
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
