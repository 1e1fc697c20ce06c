//! Which hold a push goes to.

use std::time::Duration;

use atcr_oci::Digest;
use atcr_server::HumanDuration;
use atcr_test_support::fakes::{FakeHold, PdsFault, StoreKind};
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Sailor, TestAppView, open_captain, sha256};

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

fn blob_path(digest: &Digest) -> String {
    format!("/v2/{APP}/blobs/{digest}")
}

/// A user who may only pull.
async fn reader(appview: &TestAppView) -> Sailor<'_> {
    let scope = format!("repository:{APP}:pull");
    Sailor {
        appview,
        token: appview.token("bob.test", &[&scope]).await,
    }
}

#[tokio::test]
async fn after_a_change_of_holds_shared_layers_are_sent_again_and_old_tags_still_pull() {
    let mut appview = TestAppView::start().await;
    let old = appview.image("old");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "old", &old)
        .await;
    let next = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let changed = profile(Some(&next.did()));
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", changed);
    appview.restart().await;

    // What Docker does: ask for each blob, send those that are not there, then the manifest.
    let alice = appview.sailor("alice.test", &[APP, "alice.test/other"]).await;
    let new = appview.image_with("old", |image| {
        image.annotations.insert("version".to_owned(), "2".to_owned());
    });
    for blob in new.blobs() {
        let path = blob_path(&blob.digest);
        alice.head(&path).await.assert_status(404);
        let mount = format!(
            "/v2/alice.test/other/blobs/uploads/?mount={}&from={APP}",
            blob.digest
        );
        let mounted = Answer::of(alice.request(Method::POST, &mount)).await;
        mounted.assert_status(202);
        let bytes = appview.hold.blob(blob.digest.as_str()).unwrap();
        let upload = format!("/v2/{APP}/blobs/uploads/?digest={}", blob.digest);
        let sent = Answer::of(alice.request(Method::POST, &upload).body(bytes)).await;
        sent.assert_status(201);
        alice.head(&path).await.assert_status(200);
    }
    alice.push(APP, "new", &new).await;

    // Readers, and pulls of the owner, find what is at the old hold.
    let bob = reader(&appview).await;
    let layer = blob_path(&appview.blob("only at the old hold").digest);
    bob.head(&layer).await.assert_status(200);
    alice.head(&layer).await.assert_status(404);
    for sailor in [&alice, &bob] {
        sailor
            .get(&format!("/v2/{APP}/manifests/old"))
            .await
            .assert_status(200);
        let answer = sailor.get(&layer).await;
        answer.assert_status(307);
        assert!(answer.header("location").starts_with(&appview.hold.url()));
    }
}

#[tokio::test]
async fn a_hold_of_pushes_that_is_silent_keeps_nobody_from_the_blobs_of_another() {
    let mut appview = TestAppView::start().await;
    let healthy = FakeHold::start(StoreKind::Streaming).await.unwrap();
    stock(&appview, &healthy, "silent");
    let put_profile = |hold: &str| {
        appview.pds.put_record(
            &appview.alice,
            "io.atcr.sailor.profile",
            "self",
            profile(Some(hold)),
        );
    };
    put_profile(&healthy.did());
    assert_eq!(pushed_to(&appview, "silent").await, healthy.did());
    put_profile(&appview.hold.did());
    appview.restart().await;
    let bob = reader(&appview).await;
    let image = appview.image("silent");
    appview.hold.set_silent(true);
    let methods = ["com.atproto.repo.getRecord", "com.atproto.repo.listRecords"];
    for method in methods {
        appview.pds.set_fault(method, Some(PdsFault::Silence));
    }
    appview.pds.forget_calls();
    for blob in image.blobs() {
        let answer = bob.get(&blob_path(&blob.digest)).await;
        answer.assert_status(307);
        assert!(answer.header("location").starts_with(&healthy.url()));
        bob.head(&blob_path(&blob.digest)).await.assert_status(200);
    }
    assert_eq!(appview.hold.unanswered(), Vec::<String>::new());
    assert_eq!(methods.map(|method| appview.pds.count(method)), [0, 0]);
}

#[tokio::test]
async fn a_hold_that_is_silent_is_named_after_one_wait_and_not_asked_again_at_once() {
    let appview = TestAppView::start_with(|config| {
        config.upstream.hold_timeout = HumanDuration(Duration::from_secs(1));
    })
    .await;
    let image = appview.image("nobody listens");
    let alice = appview.sailor("alice.test", &[APP]).await;
    appview.hold.set_silent(true);
    for _ in 0..2 {
        let begin = alice.request(Method::POST, &format!("/v2/{APP}/blobs/uploads/"));
        let head = alice.head(&blob_path(&image.layers()[0].digest)).await;
        assert_eq!(head.status, 504);
        for answer in [Answer::of(begin).await, alice.try_push(APP, "v1", &image).await] {
            answer.assert_error(504, "UNAVAILABLE");
            assert!(
                answer.message().contains(&appview.hold.did()),
                "{}",
                answer.message()
            );
        }
    }
    assert_eq!(appview.hold.unanswered(), ["/xrpc/com.atproto.repo.getRecord"]);
}

#[tokio::test]
async fn a_successor_that_is_silent_is_the_one_that_is_named() {
    let appview = TestAppView::start_with(|config| {
        config.upstream.hold_timeout = HumanDuration(Duration::from_secs(1));
    })
    .await;
    let next = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let mut captain = open_captain();
    captain["successor"] = json!(next.did());
    appview.hold.office().set_captain(captain);
    next.set_silent(true);
    let alice = appview.sailor("alice.test", &[APP]).await;
    for _ in 0..2 {
        let begin = alice.request(Method::POST, &format!("/v2/{APP}/blobs/uploads/"));
        let answer = Answer::of(begin).await;
        answer.assert_error(504, "UNAVAILABLE");
        assert!(answer.message().contains(&next.did()), "{}", answer.message());
    }
    assert_eq!(next.unanswered().len(), 1);
}
