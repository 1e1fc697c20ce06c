//! Deleting manifests, tags and blobs.

use atcr_atproto::lexicon::manifest;
use atcr_oci::Manifest;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestAppView, index_of, sha256};

const APP: &str = "alice.test/app";

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest_and_other_tags() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("tags");
    alice.push(APP, "v1", &image).await;
    alice.push(APP, "v2", &image).await;
    alice
        .delete(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_status(202);
    alice
        .head(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_status(404);
    alice
        .delete(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    alice
        .get(&format!("/v2/{APP}/manifests/v2"))
        .await
        .assert_status(200);
    assert_eq!(
        alice.get(&format!("/v2/{APP}/tags/list")).await.json()["tags"],
        json!(["v2"])
    );
}

#[tokio::test]
async fn deleting_a_manifest_takes_its_tags_along_in_one_commit() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (image, other) = (appview.image("gone"), appview.image("stays"));
    for tag in ["v1", "v2"] {
        alice.push(APP, tag, &image).await;
    }
    alice.push(APP, "other", &other).await;
    appview.pds.forget_calls();
    let path = format!("/v2/{APP}/manifests/{}", sha256(&image));
    alice.delete(&path).await.assert_status(202);
    assert_eq!(appview.pds.count("com.atproto.repo.applyWrites"), 1);
    for reference in ["v1", "v2", sha256(&image).as_str()] {
        alice
            .get(&format!("/v2/{APP}/manifests/{reference}"))
            .await
            .assert_error(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(appview.pds.rkeys(&appview.alice, "io.atcr.tag"), ["app_other"]);
    alice.delete(&path).await.assert_error(404, "MANIFEST_UNKNOWN");
}

/// Tags the manifest as another client of the account would.
fn tag_elsewhere(appview: &TestAppView, tag: &str, manifest: &Manifest) {
    let digest = sha256(manifest);
    let record = json!({
        "$type": "io.atcr.tag", "repository": "app", "tag": tag, "manifestDigest": digest.as_str(),
        "manifest": format!("at://{}/io.atcr.manifest/{}", appview.alice, digest.hex()),
        "updatedAt": "2026-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z",
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", &format!("app_{tag}"), record);
}

#[tokio::test]
async fn more_tags_than_one_commit_takes_go_before_their_manifest_does() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (image, other) = (appview.image("many tags"), appview.image("stays"));
    alice.push(APP, "other", &other).await;
    alice.push(APP, "v0", &image).await;
    for n in 1..450 {
        tag_elsewhere(&appview, &format!("v{n}"), &image);
    }
    let path = format!("/v2/{APP}/manifests/{}", sha256(&image));
    appview.pds.forget_calls();
    alice.delete(&path).await.assert_status(202);
    assert_eq!(appview.pds.count("com.atproto.repo.applyWrites"), 3);
    assert_eq!(appview.pds.rkeys(&appview.alice, "io.atcr.tag"), ["app_other"]);
    assert_eq!(
        appview.pds.rkeys(&appview.alice, "io.atcr.manifest"),
        [sha256(&other).hex()]
    );
    alice.get(&path).await.assert_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_manifest_that_an_index_names_stays_until_the_index_is_gone() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP, "alice.test/other"]).await;
    let child = appview.image("child");
    let index = index_of(&[&child]);
    alice.push(APP, sha256(&child).as_str(), &child).await;
    alice.push(APP, "multi", &index).await;
    let child_path = format!("/v2/{APP}/manifests/{}", sha256(&child));
    let refused = alice.delete(&child_path).await;
    refused.assert_error(405, "UNSUPPORTED");
    assert!(
        refused.message().contains(sha256(&index).as_str()),
        "{}",
        refused.message()
    );
    alice.get(&child_path).await.assert_status(200);

    // Another repository's index is none of its business.
    alice
        .push("alice.test/other", sha256(&child).as_str(), &child)
        .await;
    alice
        .delete(&format!("/v2/alice.test/other/manifests/{}", sha256(&child)))
        .await
        .assert_status(202);

    alice
        .delete(&format!("/v2/{APP}/manifests/{}", sha256(&index)))
        .await
        .assert_status(202);
    alice.delete(&child_path).await.assert_status(202);
    alice.get(&child_path).await.assert_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_deletion_knows_what_others_wrote_meanwhile() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("seen");
    alice.push(APP, "v1", &image).await;
    // Another client tags the manifest; the index here has not heard of it.
    let tag = json!({
        "$type": "io.atcr.tag", "repository": "app", "tag": "theirs",
        "manifest": format!("at://{}/io.atcr.manifest/{}", appview.alice, sha256(&image).hex()),
        "updatedAt": "2026-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z",
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", "app_theirs", tag);
    alice
        .delete(&format!("/v2/{APP}/manifests/{}", sha256(&image)))
        .await
        .assert_status(202);
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.tag").is_empty());
}

#[tokio::test]
async fn blobs_cannot_be_deleted() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("blob");
    alice.push(APP, "v1", &image).await;
    let blob = format!("/v2/{APP}/blobs/{}", image.layers()[0].digest);
    alice.delete(&blob).await.assert_error(405, "UNSUPPORTED");
}

#[tokio::test]
async fn deleting_needs_its_own_right() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &appview.image("right")).await;
    let push_only = appview
        .token("alice.test", &[&format!("repository:{APP}:pull,push")])
        .await;
    let path = format!("/v2/{APP}/manifests/v1");
    let answer = Answer::of(appview.request(Method::DELETE, &path).bearer_auth(push_only)).await;
    answer.assert_error(401, "UNAUTHORIZED");
    let any = appview
        .token("alice.test", &[&format!("repository:{APP}:*")])
        .await;
    let answer = Answer::of(appview.request(Method::DELETE, &path).bearer_auth(any)).await;
    answer.assert_status(202);
}

#[tokio::test]
async fn an_account_may_want_untagged_manifests_removed() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (one, two, three) = (appview.image("one"), appview.image("two"), appview.image("three"));
    let has = async |image| {
        alice
            .head(&format!("/v2/{APP}/manifests/{}", sha256(image)))
            .await
            .status
            == 200
    };
    // Not wanted: what a tag leaves stays.
    alice.push(APP, "v1", &one).await;
    alice.push(APP, "v1", &two).await;
    assert!(has(&one).await);

    let profile = json!({
        "$type": "io.atcr.sailor.profile", "createdAt": "2026-01-01T00:00:00Z",
        "defaultHold": appview.hold.did(), "autoRemoveUntagged": true,
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", profile);
    alice.push(APP, "v1", &three).await;
    assert!(!has(&two).await, "its last tag moved away");
    assert!(has(&one).await, "it lost its tag before");

    // Another tag, or an index, keeps it.
    alice.push(APP, "keep", &three).await;
    alice.push(APP, "v1", &one).await;
    assert!(has(&three).await);
    alice.push(APP, "multi", &index_of(&[&one])).await;
    alice.push(APP, "v1", &three).await;
    assert!(has(&one).await);
    // Becoming a child of what takes its tag keeps it as well.
    alice.push(APP, "keep", &index_of(&[&three])).await;
    assert!(has(&three).await);
}

#[tokio::test]
async fn many_tags_that_move_at_once_take_what_they_leave_along() {
    const TAGS: usize = 90;
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let profile = json!({
        "$type": "io.atcr.sailor.profile", "createdAt": "2026-01-01T00:00:00Z",
        "defaultHold": appview.hold.did(), "autoRemoveUntagged": true,
    });
    let put = |collection: &str, rkey: &str, record| {
        appview.pds.put_record(&appview.alice, collection, rkey, record);
    };
    put("io.atcr.sailor.profile", "self", profile);
    let first = appview.image("0");
    alice.push(APP, "v0", &first).await;
    let mut record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&first).hex())
        .unwrap();
    // Each is in another repository too, whose record takes the place of the one that goes: three writes for each tag.
    for n in 0..TAGS {
        let digest = sha256(&appview.image(&n.to_string()));
        record["digest"] = json!(digest);
        record["repository"] = json!("app");
        put("io.atcr.manifest", digest.hex(), record.clone());
        record["repository"] = json!("other");
        let rkey = manifest::rkey_in_repository(digest.as_str(), "other").unwrap();
        put("io.atcr.manifest", rkey.as_str(), record.clone());
        tag_elsewhere(&appview, &format!("v{n}"), &appview.image(&n.to_string()));
    }
    let image = appview.image("takes them all");
    let tags: Vec<String> = (0..TAGS).map(|n| format!("tag=v{n}")).collect();
    let path = format!("/v2/{APP}/manifests/{}?{}", sha256(&image), tags.join("&"));
    let request = alice.request(Method::PUT, &path).body(image.bytes().clone());
    Answer::of(request).await.assert_status(201);
    let repositories: Vec<Value> = appview
        .pds
        .rkeys(&appview.alice, "io.atcr.manifest")
        .iter()
        .filter(|rkey| *rkey != sha256(&image).hex())
        .map(|rkey| {
            appview
                .pds
                .record(&appview.alice, "io.atcr.manifest", rkey)
                .unwrap()["repository"]
                .clone()
        })
        .collect();
    assert_eq!(repositories, vec![json!("other"); TAGS]);
    let path = format!("/v2/{APP}/manifests/v{}", TAGS - 1);
    assert_eq!(alice.get(&path).await.body, image.bytes());
}
