//! The quota that an original hold keeps, looked at before a manifest is written.

use serde_json::json;

use crate::harness::{TestAppView, sha256};

const APP: &str = "alice.test/app";

#[tokio::test]
async fn what_would_be_too_much_is_refused_before_anything_is_written() {
    let appview = TestAppView::start().await;
    appview
        .hold
        .office()
        .set_quota(json!({ "uniqueBlobs": 3, "totalSize": 990, "limit": 1000, "tier": "deckhand" }));
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("a layer of more than ten bytes");
    let answer = alice.try_push(APP, "v1", &image).await;
    answer.assert_error(403, "DENIED");
    for part in [appview.hold.did().as_str(), "990", "1000"] {
        assert!(answer.message().contains(part), "{}", answer.message());
    }
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex());
    assert_eq!(record, None);
    assert_eq!(appview.hold.office().quota_asked(), [appview.alice.as_str()]);
}

#[tokio::test]
async fn what_fits_is_taken() {
    let appview = TestAppView::start().await;
    let image = appview.image("fits");
    let size = image.layers()[0].size;
    appview
        .hold
        .office()
        .set_quota(json!({ "uniqueBlobs": 0, "totalSize": 1000 - size, "limit": 1000 }));
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &image).await;
}

#[tokio::test]
async fn layers_that_are_counted_already_are_pushed_again_at_the_limit() {
    let mut appview = TestAppView::start().await;
    let image = appview.image("counted");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    appview.restart().await;
    appview
        .hold
        .office()
        .set_quota(json!({ "uniqueBlobs": 1, "totalSize": 1000, "limit": 1000 }));
    let again = appview.image_with("counted", |image| {
        image.annotations.insert("version".to_owned(), "2".to_owned());
    });
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v2", &again).await;
    let other = appview.image("not counted yet");
    alice
        .try_push(APP, "v3", &other)
        .await
        .assert_error(403, "DENIED");
}

#[tokio::test]
async fn a_hold_without_limits_or_without_an_answer_keeps_nobody_from_pushing() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &appview.image("no answer")).await;
    alice
        .push(APP, "v2", &appview.image("not asked again at once"))
        .await;
    assert_eq!(appview.hold.office().quota_asked().len(), 1);

    let appview = TestAppView::start().await;
    appview
        .hold
        .office()
        .set_quota(json!({ "uniqueBlobs": 1, "totalSize": 1_000_000_000_000_u64 }));
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &appview.image("no limit")).await;
}
