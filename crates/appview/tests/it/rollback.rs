//! A PDS that serves an older state of an account than it has served before.

use serde_json::json;

use crate::harness::{Sailor, TestAppView, sha256};

const APP: &str = "alice.test/app";

/// alice has pushed `v1` twice, and her PDS stands before the second push again.
async fn rolled_back() -> TestAppView {
    let mut appview = TestAppView::start().await;
    {
        let alice = appview.sailor("alice.test", &[APP]).await;
        alice.push(APP, "v1", &appview.image("one")).await;
        let before = appview.pds.snapshot(&appview.alice).unwrap();
        alice.push(APP, "v1", &appview.image("two")).await;
        appview.pds.roll_back(&appview.alice, &before);
    }
    appview.restart().await;
    appview
}

async fn reader(appview: &TestAppView) -> Sailor<'_> {
    let scope = format!("repository:{APP}:pull");
    Sailor {
        appview,
        token: appview.token("bob.test", &[&scope]).await,
    }
}

#[tokio::test]
async fn a_tag_that_goes_back_is_refused_and_the_reader_is_told() {
    let appview = rolled_back().await;
    let bob = reader(&appview).await;
    for path in ["manifests/v1", "tags/list"] {
        let answer = bob.get(&format!("/v2/{APP}/{path}")).await;
        answer.assert_error(502, "UNAVAILABLE");
        assert!(answer.message().contains("older"), "{}", answer.message());
    }
    // A digest names bytes, whatever the account says.
    let digest = sha256(&appview.image("one"));
    bob.get(&format!("/v2/{APP}/manifests/{digest}"))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_new_write_of_the_owner_mends_it() {
    let appview = rolled_back().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let three = appview.image("three");
    alice.push(APP, "v1", &three).await;
    let answer = reader(&appview)
        .await
        .get(&format!("/v2/{APP}/manifests/v1"))
        .await;
    answer.assert_status(200);
    assert_eq!(&answer.body, three.bytes());
}

#[tokio::test]
async fn a_revision_from_the_future_locks_nobody_out() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("now");
    alice.push(APP, "v1", &image).await;
    let now = appview.pds.rev(&appview.alice).unwrap();
    appview.pds.set_rev(&appview.alice, "7zzzzzzzzzzz2");
    let list = format!("/v2/{APP}/tags/list");
    reader(&appview).await.get(&list).await;
    appview.pds.set_rev(&appview.alice, &now);
    let answer = reader(&appview).await.get(&list).await;
    answer.assert_status(200);
    assert_eq!(answer.json()["tags"], json!(["v1"]));
}
