//! Which hold a push goes to.

use atcr_test_support::fakes::{FakeHold, StoreKind};
use serde_json::{Value, json};

use crate::harness::{Sailor, TestAppView, open_captain, sha256};

const APP: &str = "alice.test/app";

/// The hold that a push of alice is recorded with.
async fn pushed_to(appview: &TestAppView, seed: &str) -> Value {
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image(seed);
    alice.push(APP, "v1", &image).await;
    appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex())
        .unwrap()["holdDid"]
        .clone()
}

fn profile(hold: Option<&str>) -> Value {
    let mut profile = json!({ "$type": "io.atcr.sailor.profile", "createdAt": "2026-01-01T00:00:00Z" });
    if let Some(hold) = hold {
        profile["defaultHold"] = json!(hold);
    }
    profile
}

/// Copies what the test image needs to another hold.
fn stock(appview: &TestAppView, hold: &FakeHold, seed: &str) {
    let image = appview.image(seed);
    for blob in image.blobs() {
        hold.put_blob(appview.hold.blob(blob.digest.as_str()).unwrap());
    }
}

#[tokio::test]
async fn the_owners_profile_comes_first() {
    let appview = TestAppView::start().await;
    let own = FakeHold::start(StoreKind::Streaming).await.unwrap();
    stock(&appview, &own, "profile");
    appview.pds.put_record(
        &appview.alice,
        "io.atcr.sailor.profile",
        "self",
        profile(Some(&own.did())),
    );
    assert_eq!(pushed_to(&appview, "profile").await, own.did());
}

#[tokio::test]
async fn a_url_in_an_old_profile_means_the_hold_there() {
    let appview = TestAppView::start().await;
    let own = FakeHold::start(StoreKind::Streaming).await.unwrap();
    stock(&appview, &own, "url");
    appview.pds.put_record(
        &appview.alice,
        "io.atcr.sailor.profile",
        "self",
        profile(Some(&own.url())),
    );
    assert_eq!(pushed_to(&appview, "url").await, own.did());
}

#[tokio::test]
async fn an_announced_hold_comes_second_and_the_default_third() {
    let appview = TestAppView::start().await;
    let own = FakeHold::start(StoreKind::Streaming).await.unwrap();
    stock(&appview, &own, "legacy");
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", profile(None));
    let announced = json!({
        "$type": "io.atcr.hold", "endpoint": own.url(), "owner": appview.alice, "createdAt": "2025-10-01T00:00:00Z",
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.hold", "old.example.com", announced);
    assert_eq!(pushed_to(&appview, "legacy").await, own.did());

    let plain = TestAppView::start().await;
    assert_eq!(pushed_to(&plain, "default").await, plain.hold.did());
}

#[tokio::test]
async fn who_wants_no_hold_cannot_push_and_is_told_what_to_do() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", profile(None));
    let alice = appview.sailor("alice.test", &[APP]).await;
    let answer = alice.try_push(APP, "v1", &appview.image("none")).await;
    answer.assert_error(403, "DENIED");
    assert!(answer.message().contains("hold"), "{}", answer.message());
}

#[tokio::test]
async fn a_successor_takes_over_and_circles_end() {
    let appview = TestAppView::start().await;
    let next = FakeHold::start(StoreKind::Streaming).await.unwrap();
    stock(&appview, &next, "successor");
    let captain = |successor: &str| {
        let mut captain = open_captain();
        captain["successor"] = json!(successor);
        captain
    };
    appview.hold.office().set_captain(captain(&next.did()));
    next.office().set_captain(captain(&appview.hold.did()));
    assert_eq!(pushed_to(&appview, "successor").await, next.did());
}

#[tokio::test]
async fn whoever_may_become_crew_is_made_crew_before_the_first_push_and_once() {
    let appview = TestAppView::start().await;
    appview.hold.office().set_captain(open_captain());
    let alice = appview.sailor("alice.test", &[APP]).await;
    for seed in ["one", "two"] {
        alice.push(APP, "v1", &appview.image(seed)).await;
    }
    let service = format!("Bearer service:{}:{}", appview.alice, appview.hold.did());
    assert_eq!(appview.hold.office().crew(), [service]);
}

#[tokio::test]
async fn a_hold_that_chooses_its_crew_is_not_asked() {
    let appview = TestAppView::start().await;
    let mut captain = open_captain();
    captain["allowAllCrew"] = json!(false);
    appview.hold.office().set_captain(captain);
    pushed_to(&appview, "closed").await;
    assert!(appview.hold.office().crew().is_empty());
}

#[tokio::test]
async fn a_hold_that_does_not_resolve_is_named() {
    let appview = TestAppView::start().await;
    let gone = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz";
    appview.pds.put_record(
        &appview.alice,
        "io.atcr.sailor.profile",
        "self",
        profile(Some(gone)),
    );
    let alice = appview.sailor("alice.test", &[APP]).await;
    let answer = alice.try_push(APP, "v1", &appview.image("gone")).await;
    answer.assert_error(502, "UNAVAILABLE");
    assert!(answer.message().contains(gone), "{}", answer.message());
}

#[tokio::test]
async fn a_pull_asks_the_hold_of_the_manifest_also_after_the_default_has_changed() {
    let mut appview = TestAppView::start().await;
    let image = appview.image("kept");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    let elsewhere = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let changed = profile(Some(&elsewhere.did()));
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", changed);
    appview.restart().await;

    let scope = format!("repository:{APP}:pull");
    let bob = Sailor {
        appview: &appview,
        token: appview.token("bob.test", &[&scope]).await,
    };
    let blob = format!("/v2/{APP}/blobs/{}", image.layers()[0].digest);
    let answer = bob.get(&blob).await;
    answer.assert_status(307);
    assert!(
        answer.header("location").starts_with(&appview.hold.url()),
        "{}",
        answer.header("location")
    );
}
