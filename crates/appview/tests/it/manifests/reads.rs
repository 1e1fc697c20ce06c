//! Reading manifests: the cache, damaged bytes, records of other writers, notices of pulls.

use serde_json::json;

use super::APP;
use crate::harness::{Answer, TestAppView, sha256};

#[tokio::test]
async fn damaged_bytes_are_never_served() {
    let mut appview = TestAppView::start_with(|config| config.registry.kept_manifest_bytes = 0).await;
    let image = appview.image("damaged");
    let digest = sha256(&image);
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", digest.hex())
        .unwrap();
    let cid = record["manifestBlob"]["ref"]["$link"]
        .as_str()
        .unwrap()
        .to_owned();
    appview.pds.damage_blob(&appview.alice, &cid, "something else");
    // A new process has nothing in its caches.
    appview.restart().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let answer = alice.get(&format!("/v2/{APP}/manifests/{digest}")).await;
    answer.assert_error(502, "UNAVAILABLE");

    // A record that points at other, intact bytes is found out by the manifest's own digest.
    let other = appview.image("other");
    alice.push(APP, "other", &other).await;
    let mut forged = record.clone();
    let other_record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&other).hex())
        .unwrap();
    forged["manifestBlob"] = other_record["manifestBlob"].clone();
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.manifest", digest.hex(), forged);
    appview.restart().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let answer = alice.get(&format!("/v2/{APP}/manifests/{digest}")).await;
    answer.assert_error(502, "UNAVAILABLE");
    assert!(answer.message().contains(digest.as_str()));
}

#[tokio::test]
async fn a_cached_manifest_costs_the_pds_nothing() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("warm");
    alice.push(APP, "v1", &image).await;
    let path = format!("/v2/{APP}/manifests/{}", sha256(&image));
    alice.get(&path).await.assert_status(200);
    appview.pds.forget_calls();
    for _ in 0..5 {
        alice.head(&path).await.assert_status(200);
    }
    // The hold may still be told of the push and the pull, with a token of the PDS.
    let mut calls = appview.pds.calls();
    calls.retain(|call| call != "com.atproto.server.getServiceAuth");
    assert!(calls.is_empty(), "{calls:?}");
}

#[tokio::test]
async fn what_is_written_here_is_seen_at_once() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (one, two) = (appview.image("one"), appview.image("two"));
    let path = format!("/v2/{APP}/manifests/v1");
    for image in [&one, &two, &one] {
        alice.push(APP, "v1", image).await;
        assert_eq!(alice.get(&path).await.body, image.bytes());
    }
    alice.delete(&path).await.assert_status(202);
    alice.get(&path).await.assert_error(404, "MANIFEST_UNKNOWN");
    alice
        .get(&format!("/v2/{APP}/manifests/{}", sha256(&one)))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn records_of_other_writers_are_read() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP, "alice.test/team/web"]).await;
    let image = appview.image("foreign");
    let digest = sha256(&image);
    alice.push(APP, "v1", &image).await;
    // Another writer: an old tag under a key of its own, naming the digest only; the manifest's one record says `app`.
    let tag = json!({
        "$type": "io.atcr.tag", "repository": "team/web", "tag": "old", "manifestDigest": digest.as_str(),
        "createdAt": "2025-11-01T00:00:00Z",
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", "3kabcdefghi2x", tag);
    for reference in ["old", digest.as_str()] {
        let got = alice
            .get(&format!("/v2/alice.test/team/web/manifests/{reference}"))
            .await;
        got.assert_status(200);
        assert_eq!(got.body, image.bytes());
    }
    let tags = alice.get("/v2/alice.test/team/web/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["old"]));
    // Deleting it finds the key, too.
    alice
        .delete("/v2/alice.test/team/web/manifests/old")
        .await
        .assert_status(202);
    assert_eq!(appview.pds.rkeys(&appview.alice, "io.atcr.tag"), ["app_v1"]);
}

#[tokio::test]
async fn the_hold_is_told_of_pushes_and_of_pulls_by_people() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("told");
    let digest = sha256(&image);
    alice.push(APP, "v1", &image).await;
    let notice = appview.hold.office().notice("push", digest.as_str()).await;
    assert_eq!(notice["repository"], "app");
    assert_eq!(notice["userDid"], appview.alice.as_str());
    assert_eq!(notice["tag"], "v1");
    assert_eq!(
        notice["manifest"]["layers"][0]["digest"],
        image.layers()[0].digest.as_str()
    );

    let bob = crate::harness::Sailor {
        appview: &appview,
        token: appview
            .token("bob.test", &[&format!("repository:{APP}:pull")])
            .await,
    };
    bob.get(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_status(200);
    let notice = appview.hold.office().notice("pull", digest.as_str()).await;
    assert_eq!(
        notice["userDid"],
        appview.alice.as_str(),
        "the owner is named, the token says who pulls"
    );
}

#[tokio::test]
async fn one_pull_is_counted_once_however_often_the_client_asks() {
    let mut appview = TestAppView::start().await;
    let images = [appview.image("one"), appview.image("two")];
    let alice = appview.sailor("alice.test", &[APP]).await;
    for image in &images {
        let path = format!("/v2/{APP}/manifests/{}", sha256(image));
        alice.push(APP, "v1", image).await;
        for path in [path.as_str(), path.as_str(), &format!("/v2/{APP}/manifests/v1")] {
            alice.head(path).await.assert_status(200);
            alice.get(path).await.assert_status(200);
        }
    }
    let scope = [("scope", format!("repository:{APP}:pull"))];
    let nobody = Answer::of(appview.get("/auth/token").query(&scope)).await.json();
    let path = format!("/v2/{APP}/manifests/v1");
    let token = nobody["token"].as_str().unwrap();
    Answer::of(appview.get(&path).bearer_auth(token))
        .await
        .assert_status(200);
    // Everything that was to be told has been told when the process has stopped.
    appview.stop().await;
    assert_eq!(appview.hold.office().count("pull"), 2);
    assert_eq!(appview.hold.office().count("push"), 2);
}
