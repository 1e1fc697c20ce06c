//! What a manifest names has to be there, with some exceptions.

use atcr_oci::{Algorithm, Descriptor, Digest, MediaType};

use super::APP;
use crate::harness::{TestAppView, descriptor, index_of, sha256};

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
