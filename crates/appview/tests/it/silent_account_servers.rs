//! Sessions that are not in use are ended whatever their account servers do.

use std::time::Duration;

use atcr_server::HumanDuration;
use atcr_test_support::fakes::{FakePds, PdsFault};
use chrono::TimeDelta;

use crate::browser::Browser;
use crate::harness::{PASSWORD, TestAppView};

#[tokio::test]
async fn a_silent_account_server_keeps_no_session_here_and_holds_up_no_other_server() {
    // A server may take as long as the test: whatever waits for it is seen to.
    let appview =
        TestAppView::start_with(|config| config.upstream.pds_timeout = HumanDuration::from_secs(3600)).await;
    let silent = FakePds::start().await.unwrap();
    let mut accounts = Vec::new();
    // Of these names the sweep comes by before it comes by alice.
    for handle in ["a.test", "b.test", "c.test"] {
        let did = appview.pds.add_account(handle, PASSWORD);
        assert_eq!(silent.add_account(handle, PASSWORD), did);
        appview.pds.move_account(&did, &silent.url());
        let browser = Browser::new(&appview);
        let started = browser.post("/auth/oauth/authorize", &[("handle", handle)]).await;
        started.assert_status(303);
        let answer = silent.approve(started.header("location"), &did).unwrap();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer.iter());
        let callback = format!("/auth/oauth/callback?{}", query.finish());
        browser.get(&callback).await.assert_status(303);
        accounts.push(did);
    }
    let _browser = Browser::alice(&appview).await;
    accounts.push(appview.alice.clone());
    assert_eq!((silent.oauth_sessions(), appview.pds.oauth_sessions()), (3, 1));

    silent.set_fault("oauth/revoke", Some(PdsFault::Silence));
    appview.clock.advance(TimeDelta::days(31));
    let told = async {
        while appview.pds.oauth_sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let sweep = async {
        tokio::select! {
            ended = appview.sign_in().end_unused() => assert_eq!(ended.unwrap(), 4),
            () = told => {}
        }
    };
    tokio::time::timeout(Duration::from_mins(1), sweep)
        .await
        .expect("the server that answers is told");
    assert_eq!(appview.pds.oauth_sessions(), 0);
    for did in accounts {
        let did = did.parse().unwrap();
        assert!(!appview.sign_in().is_live(&did).await.unwrap(), "{did}");
    }
}
