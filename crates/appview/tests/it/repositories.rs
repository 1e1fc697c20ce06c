//! One manifest in several repositories of one account.

use atcr_atproto::lexicon::manifest;
use atcr_oci::Manifest;

use crate::harness::{Sailor, TestAppView, sha256};

const APP: &str = "alice.test/app";
const WEB: &str = "alice.test/web";
const API: &str = "alice.test/api";

/// The manifest records of alice as (key, repository).
fn layout(appview: &TestAppView) -> Vec<(String, String)> {
    let keys = appview.pds.rkeys(&appview.alice, "io.atcr.manifest");
    let repository = |rkey: &str| {
        let record = appview
            .pds
            .record(&appview.alice, "io.atcr.manifest", rkey)
            .unwrap();
        record["repository"].as_str().unwrap().to_owned()
    };
    keys.into_iter()
        .map(|rkey| (rkey.clone(), repository(&rkey)))
        .collect()
}

fn own_key(image: &Manifest, repository: &str) -> String {
    manifest::rkey_in_repository(sha256(image).as_str(), repository)
        .unwrap()
        .to_string()
}

async fn assert_has(sailor: &Sailor<'_>, name: &str, image: &Manifest, has: bool) {
    let answer = sailor
        .get(&format!("/v2/{name}/manifests/{}", sha256(image)))
        .await;
    assert_eq!(answer.status, if has { 200 } else { 404 }, "{name}");
}

#[tokio::test]
async fn the_same_manifest_works_in_each_and_deleting_one_leaves_the_others() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP, WEB, API]).await;
    let image = appview.image("shared");
    let digest = sha256(&image);
    let hex = digest.hex().to_owned();
    for name in [APP, WEB, API] {
        assert_has(&alice, name, &image, false).await;
        alice.push(name, "v1", &image).await;
        assert_has(&alice, name, &image, true).await;
    }
    let mut expected = vec![
        (hex.clone(), "app".to_owned()),
        (own_key(&image, "web"), "web".to_owned()),
        (own_key(&image, "api"), "api".to_owned()),
    ];
    expected.sort();
    assert_eq!(layout(&appview), expected);
    // Every tag names the record that all readers know.
    for tag in ["app_v1", "web_v1", "api_v1"] {
        let record = appview.pds.record(&appview.alice, "io.atcr.tag", tag).unwrap();
        assert_eq!(
            record["manifest"],
            format!("at://{}/io.atcr.manifest/{hex}", appview.alice)
        );
    }

    // The owner of the shared key lets go: the next repository in order moves there, in one commit.
    appview.pds.forget_calls();
    alice
        .delete(&format!("/v2/{APP}/manifests/{digest}"))
        .await
        .assert_status(202);
    assert_eq!(appview.pds.count("com.atproto.repo.applyWrites"), 1);
    let mut expected = vec![
        (hex.clone(), "api".to_owned()),
        (own_key(&image, "web"), "web".to_owned()),
    ];
    expected.sort();
    assert_eq!(layout(&appview), expected);
    assert_has(&alice, APP, &image, false).await;
    assert_has(&alice, WEB, &image, true).await;
    assert_has(&alice, API, &image, true).await;
    alice
        .get(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    alice
        .get(&format!("/v2/{API}/manifests/v1"))
        .await
        .assert_status(200);

    // One that has a key of its own lets go: the shared one stays.
    alice
        .delete(&format!("/v2/{WEB}/manifests/{digest}"))
        .await
        .assert_status(202);
    assert_eq!(layout(&appview), [(hex, "api".to_owned())]);
    assert_has(&alice, API, &image, true).await;
    alice
        .delete(&format!("/v2/{API}/manifests/{digest}"))
        .await
        .assert_status(202);
    assert_eq!(layout(&appview), []);
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.tag").is_empty());
}

#[tokio::test]
async fn a_repository_that_comes_back_gets_a_key_of_its_own() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP, WEB]).await;
    let image = appview.image("back");
    alice.push(APP, "v1", &image).await;
    alice.push(WEB, "v1", &image).await;
    alice
        .delete(&format!("/v2/{APP}/manifests/{}", sha256(&image)))
        .await
        .assert_status(202);
    alice.push(APP, "v1", &image).await;
    let mut expected = vec![
        (sha256(&image).hex().to_owned(), "web".to_owned()),
        (own_key(&image, "app"), "app".to_owned()),
    ];
    expected.sort();
    assert_eq!(layout(&appview), expected);
    assert_has(&alice, APP, &image, true).await;
    assert_has(&alice, WEB, &image, true).await;
}

#[tokio::test]
async fn one_repository_pushed_twice_keeps_one_record() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP, WEB]).await;
    let image = appview.image("twice");
    for tag in ["v1", "v2", "v1"] {
        alice.push(APP, tag, &image).await;
        alice.push(WEB, tag, &image).await;
    }
    assert_eq!(layout(&appview).len(), 2);
}

#[tokio::test]
async fn the_layout_survives_a_move_that_others_interfere_with() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP, WEB]).await;
    let image = appview.image("interfere");
    alice.push(APP, "v1", &image).await;
    alice.push(WEB, "v1", &image).await;
    // Another client deletes the copy of `web` while `app` is being deleted.
    appview
        .pds
        .delete_record(&appview.alice, "io.atcr.manifest", &own_key(&image, "web"));
    appview.pds.overtake(2);
    alice
        .delete(&format!("/v2/{APP}/manifests/{}", sha256(&image)))
        .await
        .assert_status(202);
    assert_eq!(layout(&appview), []);
}
