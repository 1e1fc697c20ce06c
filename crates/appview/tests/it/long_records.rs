//! Manifests that are too long for their records.

use atcr_oci::Manifest;

use crate::harness::{TestAppView, sha256};

const APP: &str = "alice.test/app";

fn image_of(appview: &TestAppView, layers: usize) -> Manifest {
    appview.image_with("many", |image| {
        image.layers = (0..layers).map(|n| appview.blob(&format!("layer {n}"))).collect();
    })
}

#[tokio::test]
async fn a_record_names_its_layers_as_long_as_digests_and_sizes_fit() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = image_of(&appview, 1_000);
    let answer = alice.push(APP, "v1", &image).await;
    assert!(!answer.has_header("warning"), "{}", answer.header("warning"));
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex())
        .unwrap();
    let layers = record["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1_000);
    for (layer, named) in image.layers().iter().zip(layers) {
        assert_eq!(
            (layer.digest.as_str(), Some(layer.size)),
            (named["digest"].as_str().unwrap(), named["size"].as_u64())
        );
    }
    // What the index knows is not cut: the layers are found at the hold of the manifest.
    alice.push(APP, "v2", &image).await;
}

#[tokio::test]
async fn a_push_whose_record_cannot_name_its_layers_says_so() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = image_of(&appview, 1_500);
    let answer = alice.push(APP, "v1", &image).await;
    assert!(
        answer.header("warning").contains("may remove its blobs"),
        "{}",
        answer.header("warning")
    );
    let pulled = alice.get(&format!("/v2/{APP}/manifests/v1")).await;
    assert_eq!(&pulled.body, image.bytes());
}

#[tokio::test]
async fn a_record_tells_older_readers_where_its_hold_is() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("endpoint");
    alice.push(APP, "v1", &image).await;
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", sha256(&image).hex())
        .unwrap();
    assert_eq!(record["holdEndpoint"], appview.hold.url());
}
