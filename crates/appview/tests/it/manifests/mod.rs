//! Pushing and pulling manifests.

use atcr_oci::{Algorithm, Descriptor, Digest, ImageIndex, Manifest, MediaType, Platform};
use atcr_test_support::fakes::PdsFault;
use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::harness::{Answer, TestAppView, descriptor, index_of, sha256};

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
async fn a_manifest_beyond_4_mib_is_refused_whether_announced_or_not() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let path = format!("/v2/{APP}/manifests/v1");
    let big = vec![b' '; 4 * 1024 * 1024 + 1];
    let announced = alice.request(Method::PUT, &path).body(big.clone());
    Answer::of(announced).await.assert_error(413, "SIZE_INVALID");
    let pieces = big
        .chunks(64 * 1024)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    Answer::of(alice.request(Method::PUT, &path).body(stream))
        .await
        .assert_error(413, "SIZE_INVALID");
}

#[tokio::test]
async fn a_large_manifest_is_kept_whole_while_its_record_stays_small() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image_with("large", |image| {
        for n in 0..390 {
            image.annotations.insert(format!("large-{n}"), "A".repeat(10_000));
        }
    });
    alice.push(APP, "large", &image).await;
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex())
        .unwrap();
    assert!(record.to_string().len() < 120 * 1024);
    assert!(record.get("layers").is_some() && record.get("annotations").is_none());
    let got = alice.get(&format!("/v2/{APP}/manifests/large")).await;
    assert_eq!(got.body, image.bytes());
}

/// An image of so many layers, all in the hold.
fn wide(appview: &TestAppView, layers: usize) -> Manifest {
    appview.image_with("wide", |image| {
        image.layers = (0..layers).map(|n| appview.blob(&format!("layer {n}"))).collect();
    })
}

#[tokio::test]
async fn an_image_of_2000_layers_comes_back_to_the_byte_and_its_blobs_are_found() {
    let mut appview = TestAppView::start().await;
    let names = [APP, "alice.test/other"];
    let image = wide(&appview, 2000);
    let digest = sha256(&image);
    let alice = appview.sailor("alice.test", &names).await;
    alice.push(APP, "wide", &image).await;
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", digest.hex())
        .unwrap();
    assert_eq!(
        record["config"]["digest"],
        image.config().unwrap().digest.as_str()
    );
    assert!(record.get("layers").is_none(), "they are in the bytes");
    let notice = appview.hold.office().notice("push", digest.as_str()).await;
    assert_eq!(notice["manifest"]["layers"].as_array().unwrap().len(), 2000);

    appview.pds.forget_calls();
    alice.push(APP, digest.as_str(), &image).await;
    assert_eq!(
        appview.pds.count("com.atproto.repo.applyWrites"),
        0,
        "nothing is new"
    );
    alice.push(names[1], "wide", &image).await;

    // The first repository lets go, so that the other one's record moves: also in one request.
    appview.pds.forget_calls();
    alice
        .delete(&format!("/v2/{APP}/manifests/{digest}"))
        .await
        .assert_status(202);
    assert_eq!(appview.pds.count("com.atproto.repo.applyWrites"), 1);
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", digest.hex())
        .unwrap();
    assert_eq!(record["repository"], "other");

    appview.restart().await;
    let alice = appview.sailor("alice.test", &names).await;
    let got = alice.get("/v2/alice.test/other/manifests/wide").await;
    assert_eq!(got.body, image.bytes());
    // What one repository names is mounted into another, if it is known to name it.
    let layer = &image.layers()[1999].digest;
    let mount = format!("/v2/{APP}/blobs/uploads/?mount={layer}&from=alice.test/other");
    Answer::of(alice.request(Method::POST, &mount))
        .await
        .assert_status(201);
}

#[tokio::test]
async fn an_index_of_1000_children_protects_them_also_when_it_was_read_from_the_account() {
    let appview = TestAppView::start_with(|config| config.registry.allow_missing_content = true).await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let child = appview.image("child");
    let children = (0..999)
        .map(|n: u32| {
            let digest = Digest::of(Algorithm::Sha256, &n.to_be_bytes());
            let mut child = Descriptor::new(MediaType::OCI_IMAGE_MANIFEST, digest, 500);
            child.platform = Some(Platform::new("linux", "amd64"));
            child
        })
        .chain([descriptor(&child)]);
    let index = Manifest::from_index(&ImageIndex::new(children.collect())).unwrap();
    alice.push(APP, sha256(&child).as_str(), &child).await;
    alice.push(APP, "all", &index).await;
    let path = format!("/v2/{APP}/manifests/{}", sha256(&child));
    alice.delete(&path).await.assert_error(405, "UNSUPPORTED");

    // Another client writes to the account, which is listed again.
    let tag = json!({
        "$type": "io.atcr.tag", "repository": "app", "tag": "theirs", "manifestDigest": sha256(&index).as_str(),
        "createdAt": "2026-01-01T00:00:00Z",
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", "app_theirs", tag);
    alice.delete(&path).await.assert_error(405, "UNSUPPORTED");
    let got = alice.get(&format!("/v2/{APP}/manifests/all")).await;
    assert_eq!(got.body, index.bytes());
}

#[tokio::test]
async fn tags_annotations_and_layers_that_are_too_much_together_fit_into_one_commit() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image_with("together", |image| {
        image.layers = (0..400).map(|n| appview.blob(&format!("layer {n}"))).collect();
        for layer in &mut image.layers {
            layer.annotations.insert("org.example".to_owned(), "x".repeat(40));
        }
        image
            .annotations
            .insert("org.example.kept".to_owned(), "y".repeat(20_000));
    });
    let tags: Vec<String> = (0..90).map(|n| format!("tag={n:0128}")).collect();
    appview.pds.forget_calls();
    let path = format!("/v2/{APP}/manifests/{}?{}", sha256(&image), tags.join("&"));
    let request = alice.request(Method::PUT, &path).body(image.bytes().clone());
    Answer::of(request).await.assert_status(201);
    assert_eq!(appview.pds.count("com.atproto.repo.applyWrites"), 1);
    assert_eq!(appview.pds.rkeys(&appview.alice, "io.atcr.tag").len(), 90);
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex())
        .unwrap();
    assert!(record.get("annotations").is_none() && record.get("artifactType").is_none());
    assert_eq!(record["layers"].as_array().unwrap().len(), 400);
    assert!(record["layers"][0].get("annotations").is_none());
}

#[tokio::test]
async fn what_a_record_cannot_hold_is_left_to_the_bytes() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let long = |len: usize| format!("application/{}", "x".repeat(len - 12));
    let long_type = format!("application/{};a={}", "x".repeat(100), "y".repeat(300));
    let image = appview.image_with("odd", |image| {
        image.artifact_type = Some(long(300));
        image.layers.push(appview.blob("odd layer"));
        image.layers[0].media_type = long_type.parse().unwrap();
        image.layers[1].media_type = long(139).parse().unwrap();
        image.annotations.insert("$link".to_owned(), "none".to_owned());
        image.annotations.insert("plain".to_owned(), "kept".to_owned());
    });
    alice.push(APP, "odd", &image).await;
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex())
        .unwrap();
    assert_eq!(record["layers"][0]["mediaType"], long(112));
    assert_eq!(record["layers"][1]["mediaType"], "application/octet-stream");
    assert_eq!(record["annotations"], json!({ "plain": "kept" }));
    assert!(record.get("artifactType").is_none());
    let notice = appview
        .hold
        .office()
        .notice("push", sha256(&image).as_str())
        .await;
    assert_eq!(
        notice["manifest"]["layers"][1]["mediaType"],
        "application/octet-stream"
    );

    // A media type that the record has no room for is served from the bytes, or from what they were uploaded as.
    let stated: serde_json::Value = serde_json::from_slice(image.bytes()).unwrap();
    for (n, is_stated) in [true, false].into_iter().enumerate() {
        let mut document = stated.clone();
        document["annotations"] = json!({ "n": n.to_string() });
        if is_stated {
            document["mediaType"] = json!(long(139));
        } else {
            document.as_object_mut().unwrap().remove("mediaType");
        }
        let bytes = serde_json::to_vec(&document).unwrap();
        let request = alice
            .request(Method::PUT, &format!("/v2/{APP}/manifests/long"))
            .header("content-type", long(139))
            .body(bytes.clone());
        Answer::of(request).await.assert_status(201);
        let got = alice.get(&format!("/v2/{APP}/manifests/long")).await;
        assert_eq!(got.body, bytes);
        assert_eq!(got.header("content-type"), long(139));
    }
}

#[tokio::test]
async fn a_blob_is_as_long_as_its_manifest_says() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image_with("sizes", |image| image.layers[0].size += 1);
    let answer = alice.try_push(APP, "v1", &image).await;
    answer.assert_error(400, "MANIFEST_INVALID");
    assert!(
        answer.message().contains(image.layers()[0].digest.as_str()),
        "{}",
        answer.message()
    );
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.manifest").is_empty());
}

#[tokio::test]
async fn the_pds_own_limit_is_reported_as_such() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    appview.pds.set_blob_limit(100);
    let answer = alice.try_push(APP, "v1", &appview.image("limit")).await;
    answer.assert_error(413, "SIZE_INVALID");
    assert!(answer.message().contains("PDS"), "{}", answer.message());
}

#[tokio::test]
async fn content_must_be_there_before_its_manifest() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let missing = Digest::of(Algorithm::Sha256, b"never pushed");
    let image = appview.image_with("missing", |image| {
        image
            .layers
            .push(Descriptor::new(MediaType::OCI_LAYER_TAR, missing.clone(), 12));
    });
    let answer = alice.try_push(APP, "v1", &image).await;
    answer.assert_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert!(answer.message().contains(missing.as_str()));
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.manifest").is_empty());

    let child = appview.image("child");
    let index = index_of(&[&child]);
    alice
        .try_push(APP, "multi", &index)
        .await
        .assert_error(404, "MANIFEST_BLOB_UNKNOWN");
    alice.push(APP, sha256(&child).as_str(), &child).await;
    alice.push(APP, "multi", &index).await;
    alice.push(APP, "nested", &index_of(&[&index])).await;
}

#[tokio::test]
async fn foreign_layers_need_not_be_there() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image_with("foreign", |image| {
        let digest = Digest::of(Algorithm::Sha256, b"elsewhere");
        let mut layer = Descriptor::new(MediaType::DOCKER_FOREIGN_LAYER, digest, 12);
        layer.urls = vec!["https://example.com/layer".to_owned()];
        image.layers.insert(0, layer);
    });
    alice.push(APP, "v1", &image).await;
}

#[tokio::test]
async fn an_operator_may_allow_sparse_manifests() {
    let appview = TestAppView::start_with(|config| config.registry.allow_missing_content = true).await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image_with("sparse", |image| {
        let digest = Digest::of(Algorithm::Sha256, b"nowhere");
        image
            .layers
            .push(Descriptor::new(MediaType::OCI_LAYER_TAR, digest, 12));
    });
    alice.push(APP, "image", &image).await;
    alice
        .push(APP, "index", &index_of(&[&appview.image("not pushed")]))
        .await;
}

#[tokio::test]
async fn a_subject_is_acknowledged_and_need_not_exist() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let subject = appview.image("subject");
    let signature = appview.image_with("signature", |image| image.subject = Some(descriptor(&subject)));
    let pushed = alice.push(APP, "sig", &signature).await;
    assert_eq!(pushed.header("oci-subject"), sha256(&subject).as_str());
}

#[tokio::test]
async fn damaged_bytes_are_never_served() {
    let mut appview = TestAppView::start().await;
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
