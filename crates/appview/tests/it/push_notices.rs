//! What holds are told of pushes, whatever happens to the hold or to this process in between.

use atcr_appview::adapters::sqlite::open_durable;
use atcr_appview::adapters::sqlite::push_notices::SqlitePushNotices;
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_registry::hold::notices::push_outbox::NoticeOutbox as _;
use chrono::{DateTime, TimeDelta};
use serde_json::json;

use crate::harness::{TestAppView, sha256};

const APP: &str = "alice.test/app";

/// Notices that wait on disk, in the order of their pushes.
async fn waiting(appview: &TestAppView) -> Vec<String> {
    let database = open_durable(&appview.data().join("data/ui.db")).await.unwrap();
    let waiting = sqlx::query_scalar("SELECT notice ->> 'tag' FROM push_notice ORDER BY id")
        .fetch_all(database.readers())
        .await
        .unwrap();
    database.close().await;
    waiting
}

#[tokio::test]
async fn a_hold_that_fails_for_a_moment_is_told_afterwards() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("moment");
    appview.hold.office().refuse(1);
    alice.push(APP, "v1", &image).await;
    appview.hold.office().refused(1).await;
    let notice = appview
        .hold
        .office()
        .notice("push", sha256(&image).as_str())
        .await;
    assert_eq!(notice["tag"], "v1");
    assert_eq!(
        notice["manifest"]["layers"][0]["digest"],
        image.layers()[0].digest.as_str()
    );
    assert_eq!(appview.hold.office().count("push"), 1);
}

#[tokio::test]
async fn a_process_that_ended_before_the_hold_knew_tells_it_when_it_starts_again() {
    let mut appview = TestAppView::start().await;
    let (one, two) = (appview.image("one"), appview.image("two"));
    appview.hold.office().refuse(1_000);
    {
        let alice = appview.sailor("alice.test", &[APP]).await;
        alice.push(APP, "v1", &one).await;
        alice.push(APP, "v2", &two).await;
    }
    appview.stop().await;
    assert_eq!(waiting(&appview).await, ["v1", "v2"]);
    appview.hold.office().refuse(0);
    appview.restart().await;
    for image in [&one, &two] {
        appview.hold.office().notice("push", sha256(image).as_str()).await;
    }
    appview.stop().await;
    assert_eq!(waiting(&appview).await, Vec::<String>::new());
    assert_eq!(appview.hold.office().count("push"), 2);
}

#[tokio::test]
async fn a_push_does_not_wait_for_its_hold_to_hear_of_it() {
    let appview = TestAppView::start().await;
    appview.hold.office().fall_silent();
    let alice = appview.sailor("alice.test", &[APP]).await;
    for tag in ["v1", "v2", "v3"] {
        alice.push(APP, tag, &appview.image(tag)).await;
    }
    assert_eq!(appview.hold.office().count("push"), 0);
}

#[tokio::test]
async fn a_notice_is_given_up_after_a_day() {
    let mut appview = TestAppView::start().await;
    appview.hold.office().refuse(1_000);
    let image = appview.image("old");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    for (hours, left) in [(23, 1), (2, 0)] {
        appview.stop().await;
        appview.clock.advance(TimeDelta::hours(hours));
        appview.restart().await;
        appview.stop().await;
        assert_eq!(waiting(&appview).await.len(), left);
    }
}

#[tokio::test]
async fn a_notice_whose_pusher_has_signed_out_is_given_up() {
    let mut appview = TestAppView::start().await;
    appview.hold.office().refuse(1_000);
    let image = appview.image("gone");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    appview.stop().await;
    appview.hold.office().refuse(0);
    appview.pds.end_sessions();
    appview.restart().await;
    appview.stop().await;
    assert_eq!(waiting(&appview).await, Vec::<String>::new());
    assert_eq!(appview.hold.office().count("push"), 0);
}

#[tokio::test]
async fn a_pds_that_is_down_makes_a_notice_wait_and_not_others() {
    let mut appview = TestAppView::start().await;
    appview.hold.office().refuse(1_000);
    let (one, two) = (appview.image("one"), appview.image("two"));
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &one)
        .await;
    appview.stop().await;
    appview.hold.office().refuse(0);
    // No token can be had for the first notice; by the second push it can, and the first goes along later.
    let fault = atcr_test_support::fakes::PdsFault::Status(503, "Unavailable");
    appview
        .pds
        .set_fault("com.atproto.server.getServiceAuth", Some(fault));
    appview.restart().await;
    appview.stop().await;
    assert_eq!(waiting(&appview).await, ["v1"]);
    appview.pds.set_fault("com.atproto.server.getServiceAuth", None);
    appview.restart().await;
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v2", &two)
        .await;
    for image in [&one, &two] {
        appview.hold.office().notice("push", sha256(image).as_str()).await;
    }
}

#[tokio::test]
async fn an_account_with_too_many_notices_loses_the_oldest_and_others_lose_none() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_durable(&folder.path().join("ui.db")).await.unwrap();
    for (did, count) in [("did:plc:alice", 2_000), ("did:plc:bob", 2)] {
        sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
             INSERT INTO push_notice (did, auth_method, hold_did, notice, pushed_at) \
             SELECT ?, 'oauth', 'did:web:hold.example.com', '{}', i FROM n",
        )
        .bind(count)
        .bind(did)
        .execute(database.writer())
        .await
        .unwrap();
    }
    let outbox = SqlitePushNotices::new(database.clone());
    let notice: NotifyManifestInput = serde_json::from_value(json!({
        "repository": "app", "userDid": "did:plc:alice", "manifestDigest": "sha256:0", "manifest": {},
    }))
    .unwrap();
    let principal = Principal::Sailor {
        did: "did:plc:alice".parse().unwrap(),
        auth_method: AuthMethod::OAuth,
    };
    let hold = "did:web:hold.example.com".parse().unwrap();
    for expected in [1, 1] {
        let crowded_out = outbox
            .add(&principal, &hold, &notice, DateTime::UNIX_EPOCH)
            .await
            .unwrap();
        assert_eq!(crowded_out, expected);
    }
    let left: Vec<(String, i64)> =
        sqlx::query_as("SELECT did, count(*) FROM push_notice GROUP BY did ORDER BY did")
            .fetch_all(database.readers())
            .await
            .unwrap();
    assert_eq!(
        left,
        [("did:plc:alice".to_owned(), 2_000), ("did:plc:bob".to_owned(), 2)]
    );
}
