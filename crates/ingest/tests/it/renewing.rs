//! Identities that events have looked up anew.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::identity::{IdentityError, IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did, Handle};
use atcr_ingest::adapters::pds::PdsSource;
use atcr_ingest::source::AccountSource as _;

use crate::host::{alice, bob};

/// Notes whose cached identity is dropped.
#[derive(Default)]
struct Dropped(Mutex<Vec<Did>>);

#[async_trait]
impl IdentityResolver for Dropped {
    async fn resolve(&self, _identifier: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        self.resolve_did(&bob()).await
    }

    async fn resolve_did(&self, did: &Did) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        Err(IdentityError::DidNotFound { did: did.clone() })
    }

    async fn invalidate_did(&self, did: &Did) {
        self.0.lock().unwrap().push(did.clone());
    }

    async fn invalidate_handle(&self, _handle: &Handle) {}
}

#[tokio::test]
async fn events_have_one_accounts_identity_looked_up_so_often_and_no_more() {
    let identities = Arc::new(Dropped::default());
    let egress = EgressClient::new(EgressPolicy::default()).unwrap();
    let source = PdsSource::new(Arc::clone(&identities) as _, egress);
    for _ in 0..200 {
        source.forget_identity(&alice()).await;
    }
    source.forget_identity(&bob()).await;
    let dropped = identities.0.lock().unwrap();
    let of = |did: &Did| dropped.iter().filter(|dropped| *dropped == did).count();
    // The allowance grows by one in three minutes.
    assert!((20..40).contains(&of(&alice())), "{}", of(&alice()));
    assert_eq!(of(&bob()), 1, "another account has an allowance of its own");
}
