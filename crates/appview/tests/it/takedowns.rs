//! What the labeler took down: nobody pulls it or pushes to it, and its owner may still delete it.

use atcr_atproto::clock::Clock as _;
use atcr_index::change::{Batch, Step, TakedownStep};
use atcr_index::ports::IndexWriter as _;
use atcr_index_sqlite::SqliteIndex;
use chrono::TimeDelta;
use http::Method;

use crate::harness::{Answer, Sailor, TestAppView};

const LABELER: &str = "did:plc:labeleraaaaaaaaaaaaaaaaa";

/// The labeler's word on one of alice's repositories, as it comes into the index; `minute` orders it.
async fn label(appview: &TestAppView, repository: &str, applies: bool, minute: i64) {
    let index = SqliteIndex::open(&appview.settings().paths.index).await.unwrap();
    let now = appview.clock.now();
    let step = TakedownStep {
        source: LABELER.parse().unwrap(),
        did: appview.alice.parse().unwrap(),
        repository: Some(repository.to_owned()),
        applies,
        at: now + TimeDelta::minutes(minute),
    };
    index.apply(&Batch::of(Step::Takedown(step)), now).await.unwrap();
    index.close().await;
}

#[tokio::test]
async fn what_the_labeler_took_down_is_neither_pulled_nor_pushed_to_until_it_is_lifted() {
    let appview = TestAppView::start_with(|config| {
        LABELER.clone_into(&mut config.labeler.did);
    })
    .await;
    let (app, other) = ("alice.test/app", "alice.test/other");
    let image = appview.image("one");
    let alice = appview.sailor("alice.test", &[app, other]).await;
    for name in [app, other] {
        alice.push(name, "1.0", &image).await;
        alice.push(name, "2.0", &image).await;
    }
    label(&appview, "app", true, 0).await;
    let manifest = |name: &str| format!("/v2/{name}/manifests/1.0");
    alice.get(&manifest(app)).await.assert_error(451, "DENIED");
    let pushed = alice.try_push(app, "3.0", &appview.image("two")).await;
    pushed.assert_error(451, "DENIED");
    alice.get(&manifest(other)).await.assert_status(200);
    alice
        .delete(&format!("/v2/{app}/manifests/2.0"))
        .await
        .assert_status(202);
    label(&appview, "app", false, 1).await;
    alice.get(&manifest(app)).await.assert_status(200);
}

#[tokio::test]
async fn a_blob_of_a_repository_that_is_taken_down_is_not_mounted() {
    let appview = TestAppView::start_with(|config| {
        LABELER.clone_into(&mut config.labeler.did);
    })
    .await;
    let (app, other) = ("alice.test/app", "bob.test/other");
    let image = appview.image("one");
    appview
        .sailor("alice.test", &[app])
        .await
        .push(app, "1.0", &image)
        .await;
    let scopes = [
        format!("repository:{other}:pull,push"),
        format!("repository:{app}:pull"),
    ];
    let bob = Sailor {
        appview: &appview,
        token: appview
            .token("bob.test", &scopes.each_ref().map(String::as_str))
            .await,
    };
    let digest = &image.layers()[0].digest;
    let mount = format!("/v2/{other}/blobs/uploads/?mount={digest}&from={app}");
    let post = async || Answer::of(bob.request(Method::POST, &mount)).await;
    post().await.assert_status(201);
    label(&appview, "app", true, 0).await;
    // It has to be uploaded.
    post().await.assert_status(202);
    label(&appview, "app", false, 1).await;
    post().await.assert_status(201);
}
