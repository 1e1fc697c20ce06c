//! Manifests that are as large as they may be.

use atcr_oci::{Algorithm, Descriptor, Digest, ImageIndex, Manifest, MediaType, Platform};
use http::Method;
use serde_json::json;

use super::APP;
use crate::harness::{Answer, TestAppView, descriptor, sha256};

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
async fn the_pds_own_limit_is_reported_as_such() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    appview.pds.set_blob_limit(100);
    let answer = alice.try_push(APP, "v1", &appview.image("limit")).await;
    answer.assert_error(413, "SIZE_INVALID");
    assert!(answer.message().contains("PDS"), "{}", answer.message());
}
