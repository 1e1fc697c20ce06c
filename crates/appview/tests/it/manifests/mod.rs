//! Manifests: pushed, pulled, and what the account's records say of them.

mod large;
mod named_content;
mod reads;

use atcr_oci::{Algorithm, Digest, Manifest, MediaType};
use atcr_test_support::fakes::PdsFault;
use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::harness::{Answer, TestAppView, sha256};

const APP: &str = "alice.test/app";

#[tokio::test]
async fn a_pushed_manifest_comes_back_to_the_byte_by_tag_and_digest() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let pretty = {
        let image = appview.image("pretty");
        let value: serde_json::Value = serde_json::from_slice(image.bytes()).unwrap();
        let mut bytes = serde_json::to_vec_pretty(&value).unwrap();
        bytes.extend_from_slice(b"\n\n");
        Manifest::parse(Bytes::from(bytes), None).unwrap()
    };
    let digest = sha256(&pretty);
    let pushed = alice.push(APP, "v1", &pretty).await;
    assert_eq!(pushed.header("location"), format!("/v2/{APP}/manifests/{digest}"));
    assert_eq!(pushed.header("docker-content-digest"), digest.as_str());
    assert!(!pushed.has_header("oci-subject"));

    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/{APP}/manifests/{reference}");
        let got = alice.get(&path).await;
        got.assert_status(200);
        assert_eq!(got.body, pretty.bytes());
        assert_eq!(got.header("content-type"), MediaType::OCI_IMAGE_MANIFEST.as_str());
        assert_eq!(got.header("docker-content-digest"), digest.as_str());
        let head = alice.head(&path).await;
        head.assert_status(200);
        assert!(head.body.is_empty());
        for name in ["content-type", "content-length", "docker-content-digest"] {
            assert_eq!(head.header(name), got.header(name), "{name}");
        }
    }
}

#[tokio::test]
async fn the_records_say_what_the_manifest_says() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image_with("records", |image| {
        image
            .annotations
            .insert("org.opencontainers.image.title".to_owned(), "hello".to_owned());
    });
    let digest = sha256(&image);
    appview.pds.forget_calls();
    alice.push(APP, "v1", &image).await;
    assert_eq!(
        appview.pds.count("com.atproto.repo.applyWrites"),
        1,
        "manifest and tag are one commit"
    );

    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", digest.hex())
        .unwrap();
    assert_eq!(record["repository"], "app");
    assert_eq!(record["digest"], digest.as_str());
    assert_eq!(record["mediaType"], MediaType::OCI_IMAGE_MANIFEST.as_str());
    assert_eq!(record["schemaVersion"], 2);
    assert_eq!(record["holdDid"], appview.hold.did());
    assert_eq!(
        record["annotations"],
        json!({ "org.opencontainers.image.title": "hello" })
    );
    assert_eq!(record["layers"][0]["digest"], image.layers()[0].digest.as_str());
    assert_eq!(
        record["config"]["digest"],
        image.config().unwrap().digest.as_str()
    );
    assert_eq!(
        record["manifestBlob"]["mimeType"],
        MediaType::OCI_IMAGE_MANIFEST.as_str()
    );
    assert_eq!(record["manifestBlob"]["size"], image.size());
    assert!(record.get("artifactType").is_none(), "{record}");

    let tag = appview
        .pds
        .record(&appview.alice, "io.atcr.tag", "app_v1")
        .unwrap();
    assert_eq!(
        tag["manifest"],
        format!("at://{}/io.atcr.manifest/{}", appview.alice, digest.hex())
    );
    assert_eq!(tag["manifestDigest"], digest.as_str());
    assert_eq!((&tag["repository"], &tag["tag"]), (&json!("app"), &json!("v1")));
    assert!(tag["updatedAt"].is_string() && tag["createdAt"].is_string());
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing_behind_and_a_retry_succeeds() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("atomic");
    let fault = PdsFault::Status(500, "InternalServerError");
    appview.pds.set_fault("com.atproto.repo.applyWrites", Some(fault));
    alice
        .try_push(APP, "v1", &image)
        .await
        .assert_error(502, "UNAVAILABLE");
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.manifest").is_empty());
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.tag").is_empty());
    alice
        .get(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");

    appview.pds.set_fault("com.atproto.repo.applyWrites", None);
    alice.push(APP, "v1", &image).await;
    alice
        .get(&format!("/v2/{APP}/manifests/v1"))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_push_wins_against_other_writers_of_the_account() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &appview.image("one")).await;
    for (times, seed) in [(1, "two"), (3, "three"), (20, "four")] {
        appview.pds.overtake(times);
        alice.push(APP, "v1", &appview.image(seed)).await;
        let got = alice.get(&format!("/v2/{APP}/manifests/v1")).await;
        assert_eq!(got.body, appview.image(seed).bytes());
    }
    appview.pds.overtake(0);
    assert_eq!(
        alice.get(&format!("/v2/{APP}/tags/list")).await.json()["tags"],
        json!(["v1"])
    );
}

#[tokio::test]
async fn pushes_to_one_account_at_once_all_arrive() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let images: Vec<Manifest> = (0..12).map(|n| appview.image(&format!("image {n}"))).collect();
    let tags: Vec<String> = (0..12).map(|n| format!("v{n:02}")).collect();
    let pushes = images
        .iter()
        .zip(&tags)
        .map(|(image, tag)| alice.push(APP, tag, image));
    futures_util::future::join_all(pushes).await;
    assert_eq!(
        alice.get(&format!("/v2/{APP}/tags/list")).await.json()["tags"],
        json!(tags)
    );
}

#[tokio::test]
async fn the_digest_in_the_url_must_be_the_contents() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("digest");
    let other = Digest::of(Algorithm::Sha256, b"other");
    alice
        .try_push(APP, other.as_str(), &image)
        .await
        .assert_error(400, "DIGEST_INVALID");
    alice
        .try_push(APP, "sha256:baddigeststring", &image)
        .await
        .assert_error(400, "DIGEST_INVALID");
    alice.push(APP, sha256(&image).as_str(), &image).await;
    assert_eq!(
        alice.get(&format!("/v2/{APP}/tags/list")).await.json()["tags"],
        json!([])
    );
}

#[tokio::test]
async fn sha512_works_like_sha256_and_is_another_name() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("sha512");
    let digest = image.digest(Algorithm::Sha512);
    let request = alice
        .request(
            Method::PUT,
            &format!("/v2/{APP}/manifests/{digest}?tag=big&tag=long"),
        )
        .body(image.bytes().clone());
    let pushed = Answer::of(request).await;
    pushed.assert_status(201);
    assert_eq!(pushed.header("docker-content-digest"), digest.as_str());
    assert_eq!(pushed.header("oci-tag"), "big, long");
    let rkey = digest.to_string();
    assert_eq!(
        appview.pds.rkeys(&appview.alice, "io.atcr.manifest"),
        [rkey.as_str()]
    );
    for reference in ["big", "long", rkey.as_str()] {
        let got = alice.get(&format!("/v2/{APP}/manifests/{reference}")).await;
        got.assert_status(200);
        assert_eq!(got.header("docker-content-digest"), digest.as_str());
    }
    alice
        .get(&format!("/v2/{APP}/manifests/{}", sha256(&image)))
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn content_type_and_body_must_agree() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("types");
    let put = |content_type: &str| {
        let request = alice.request(Method::PUT, &format!("/v2/{APP}/manifests/v1"));
        Answer::of(
            request
                .header("content-type", content_type)
                .body(image.bytes().clone()),
        )
    };
    put(MediaType::OCI_IMAGE_INDEX.as_str())
        .await
        .assert_error(400, "MANIFEST_INVALID");
    put("text").await.assert_error(400, "MANIFEST_INVALID");
    put(&format!("{}; charset=utf-8", MediaType::OCI_IMAGE_MANIFEST))
        .await
        .assert_status(201);
    put("application/json").await.assert_status(201);
    for body in ["", "{}", "[]", "nonsense", "{\"schemaVersion\":1}"] {
        let request = alice
            .request(Method::PUT, &format!("/v2/{APP}/manifests/v1"))
            .body(body);
        Answer::of(request).await.assert_error(400, "MANIFEST_INVALID");
    }
}

#[tokio::test]
async fn foreign_media_types_are_kept_and_served_whatever_accept_says() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let docker = appview.image_with("docker", |image| image.media_type = MediaType::DOCKER_MANIFEST);
    alice.push(APP, "docker", &docker).await;
    let request = alice
        .request(Method::GET, &format!("/v2/{APP}/manifests/docker"))
        .header("accept", MediaType::OCI_IMAGE_INDEX.as_str());
    let got = Answer::of(request).await;
    got.assert_status(200);
    assert_eq!(got.header("content-type"), MediaType::DOCKER_MANIFEST.as_str());
}

#[tokio::test]
async fn pushing_the_same_again_writes_the_tag_only() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("again");
    alice.push(APP, "v1", &image).await;
    let before = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex());
    appview.pds.forget_calls();
    alice.push(APP, "v1", &image).await;
    assert_eq!(appview.pds.count("com.atproto.repo.uploadBlob"), 0);
    assert_eq!(
        appview
            .pds
            .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex()),
        before
    );
    // By digest there is nothing left to write.
    appview.pds.forget_calls();
    alice.push(APP, sha256(&image).as_str(), &image).await;
    assert_eq!(appview.pds.count("com.atproto.repo.applyWrites"), 0);
}

#[tokio::test]
async fn tags_whose_keys_collide_are_kept_apart() {
    let appview = TestAppView::start().await;
    // `a_b` + `c` and `a` + `b_c` both have the key `a_b_c`.
    let names = ["alice.test/a_b", "alice.test/a"];
    let alice = appview.sailor("alice.test", &names).await;
    let (one, two) = (appview.image("one"), appview.image("two"));
    alice.push(names[0], "c", &one).await;
    alice.push(names[1], "b_c", &two).await;
    assert_eq!(appview.pds.rkeys(&appview.alice, "io.atcr.tag").len(), 2);
    for _ in 0..2 {
        assert_eq!(
            alice.get("/v2/alice.test/a_b/manifests/c").await.body,
            one.bytes()
        );
        assert_eq!(
            alice.get("/v2/alice.test/a/manifests/b_c").await.body,
            two.bytes()
        );
        alice.push(names[1], "b_c", &two).await;
    }
    alice
        .delete("/v2/alice.test/a/manifests/b_c")
        .await
        .assert_status(202);
    alice
        .get("/v2/alice.test/a_b/manifests/c")
        .await
        .assert_status(200);
    alice
        .get("/v2/alice.test/a/manifests/b_c")
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
}
