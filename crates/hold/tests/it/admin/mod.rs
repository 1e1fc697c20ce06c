//! The admin site as a browser meets it: who gets in, what a form may do, and what every page says.

mod browser;
mod crew;
mod pages;
mod sign_in;

use std::sync::Arc;

use atcr_atproto::crypto::Curve;
use atcr_hold::config::HoldConfig;
use atcr_test_support::fakes::FakePds;

use crate::harness::identities::Account;
use crate::harness::{Setup, TestHold};

/// A hold whose captain and others have accounts at a server that signs in.
pub(super) struct Site {
    pub(super) hold: TestHold,
    pub(super) pds: FakePds,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut HoldConfig)) -> Self {
        let pds = FakePds::start().await.expect("a PDS");
        let hold = TestHold::start_with(Setup::default(), |config| {
            // Sessions are for one network: tests come from several.
            config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
            change(config);
        })
        .await;
        hold.identities.publish_at(&hold.captain, Some(&pds.url()));
        hold.identities.name(&hold.captain.did, "captain.test");
        Self { hold, pds }
    }

    /// An account at the server, under this handle.
    pub(super) fn account(&self, handle: &str) -> Account {
        let did = self.pds.add_account(handle, "password");
        let account = Account::elsewhere(&did, Curve::K256);
        self.hold.identities.publish_at(&account, Some(&self.pds.url()));
        self.hold.identities.name(&account.did, handle);
        account
    }

    pub(super) async fn stop(self) {
        self.hold.stop().await;
    }

    pub(super) fn repo(&self) -> Arc<atcr_hold_pds::HoldRepo> {
        Arc::new(self.hold.hold.repo().clone())
    }
}
