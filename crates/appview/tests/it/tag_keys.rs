//! Tags that another writer keeps under keys of its own.

use serde_json::{Value, json};

use crate::harness::{Sailor, TestAppView, sha256};

const APP: &str = "alice.test/app";
const THEIR_KEY: &str = "app:v1";

fn tag(appview: &TestAppView, digest: &str) -> Value {
    json!({
        "$type": "io.atcr.tag", "repository": "app", "tag": "v1", "manifestDigest": digest,
        "manifest": format!("at://{}/io.atcr.manifest/{}", appview.alice, digest.trim_start_matches("sha256:")),
        "updatedAt": "2026-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z",
    })
}

/// Another writer tags `digest`, and the index knows it.
async fn tag_under_their_key(appview: &TestAppView, alice: &Sailor<'_>, digest: &str) {
    let record = tag(appview, digest);
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", THEIR_KEY, record);
    alice
        .get(&format!("/v2/{APP}/tags/list"))
        .await
        .assert_status(200);
}

fn points_at(appview: &TestAppView, rkey: &str) -> Value {
    appview.pds.record(&appview.alice, "io.atcr.tag", rkey).unwrap()["manifestDigest"].clone()
}

async fn pulled(sailor: &Sailor<'_>) -> String {
    let answer = sailor.head(&format!("/v2/{APP}/manifests/v1")).await;
    answer.header("docker-content-digest").to_owned()
}

#[tokio::test]
async fn a_push_moves_the_tag_where_it_is() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (old, new) = (appview.image("old"), appview.image("new"));
    alice.push(APP, sha256(&old).as_str(), &old).await;
    appview.pds.put_record(
        &appview.alice,
        "io.atcr.tag",
        THEIR_KEY,
        tag(&appview, sha256(&old).as_str()),
    );
    assert_eq!(pulled(&alice).await, sha256(&old).as_str());
    alice.push(APP, "v1", &new).await;
    assert_eq!(appview.pds.rkeys(&appview.alice, "io.atcr.tag"), [THEIR_KEY]);
    assert_eq!(points_at(&appview, THEIR_KEY), sha256(&new).as_str());
    assert_eq!(pulled(&alice).await, sha256(&new).as_str());
}

#[tokio::test]
async fn a_tag_under_both_keys_moves_under_both() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (old, new) = (appview.image("old"), appview.image("new"));
    alice.push(APP, "v1", &old).await;
    tag_under_their_key(&appview, &alice, sha256(&old).as_str()).await;
    alice.push(APP, "v1", &new).await;
    for rkey in ["app_v1", THEIR_KEY] {
        assert_eq!(points_at(&appview, rkey), sha256(&new).as_str(), "{rkey}");
    }
}

#[tokio::test]
async fn a_record_that_went_away_meanwhile_is_no_place_for_a_tag() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (old, new) = (appview.image("old"), appview.image("new"));
    alice.push(APP, "v1", &old).await;
    tag_under_their_key(&appview, &alice, sha256(&old).as_str()).await;
    appview
        .pds
        .delete_record(&appview.alice, "io.atcr.tag", THEIR_KEY);
    alice.push(APP, "v1", &new).await;
    assert_eq!(appview.pds.rkeys(&appview.alice, "io.atcr.tag"), ["app_v1"]);
}
