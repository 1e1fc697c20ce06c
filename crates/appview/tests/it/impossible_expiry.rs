//! Service tokens whose expiry is a time that no clock shows.

use std::time::Duration;

use crate::harness::{TestAppView, sha256};

#[tokio::test]
async fn an_impossible_expiry_of_one_accounts_token_does_not_stop_the_notices_of_others() {
    for exp in [i64::MIN, -8_334_601_228_800, i64::MAX] {
        let appview = TestAppView::start().await;
        let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
        let bob = appview.sailor("bob.test", &["bob.test/app"]).await;
        appview.pds.set_service_token_exp(Some(exp));
        let hers = appview.image("hers");
        // Whatever becomes of her own push: she gets an answer.
        let _ = alice.try_push("alice.test/app", "v1", &hers).await;
        appview.pds.set_service_token_exp(None);
        let his = appview.image("his");
        bob.push("bob.test/app", "v1", &his).await;
        let digest = sha256(&his);
        let told = appview.hold.office().notice("push", digest.as_str());
        tokio::time::timeout(Duration::from_mins(1), told)
            .await
            .expect("the hold is told of his push");
    }
}
