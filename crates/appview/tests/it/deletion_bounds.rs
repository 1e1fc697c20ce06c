//! What deletions may take of the server.

use atcr_oci::{Algorithm, Descriptor, Digest, ImageIndex, Manifest, MediaType};
use serde_json::json;

use crate::browser::Browser;
use crate::harness::{TestAppView, descriptor, sha256};

const NAME: &str = "alice.test/app";
const PAGE: &str = "/r/alice.test/app";

/// Children of an index that stay, since a tag points at each.
const STAYING: usize = 1_900;

#[tokio::test]
async fn a_deletion_that_looks_at_the_same_manifests_again_and_again_is_refused() {
    let appview = TestAppView::start_with(|config| {
        config.index.enabled = true;
        config.registry.allow_missing_content = true;
    })
    .await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let mut children = Vec::new();
    for number in 0..STAYING {
        let digest = Digest::of(Algorithm::Sha256, &number.to_le_bytes());
        let tag = json!({
            "$type": "io.atcr.tag", "repository": "app", "tag": format!("v{number}"), "createdAt": "2026-01-01T00:00:00Z",
            "manifestDigest": digest,
        });
        appview
            .pds
            .put_record(&appview.alice, "io.atcr.tag", &format!("app_v{number}"), tag);
        children.push(Descriptor::new(MediaType::OCI_IMAGE_MANIFEST, digest, 1_000));
    }
    // Each round takes one index, and finds the next one in it.
    let mut indexes: Vec<Manifest> = Vec::new();
    for depth in 0..6 {
        let inner = indexes.last().map(descriptor);
        let mut index = ImageIndex::new(inner.into_iter().collect());
        index.annotations.insert("depth".to_owned(), depth.to_string());
        indexes.push(Manifest::from_index(&index).unwrap());
    }
    let outermost = |inner: &Manifest| {
        let all = children.iter().cloned().chain([descriptor(inner)]);
        Manifest::from_index(&ImageIndex::new(all.collect())).unwrap()
    };
    let (few, many) = (outermost(&indexes[3]), outermost(&indexes[5]));
    let push = async |index: &Manifest| sailor.push(NAME, sha256(index).as_str(), index).await;
    for index in indexes.iter().chain([&many]) {
        push(index).await;
    }
    let alice = Browser::alice(&appview).await;
    let page = async |index: &Manifest| {
        let path = format!("{PAGE}/-/delete?digest={}&untagged=true", sha256(index));
        alice.get(&path).await
    };
    let refused = page(&many).await;
    assert!(
        refused.status.is_client_error() && refused.text().contains("more than one deletion takes"),
        "{}",
        refused.text()
    );
    // A round less, and it is taken.
    let delete = |index: &Manifest| format!("/v2/{NAME}/manifests/{}", sha256(index));
    for index in [&many, &indexes[5], &indexes[4]] {
        sailor.delete(&delete(index)).await.assert_status(202);
    }
    push(&few).await;
    let taken = page(&few).await;
    assert!(taken.text().contains("Delete 5 manifests?"), "{}", taken.text());
}
