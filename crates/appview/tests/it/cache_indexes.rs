//! Indexes whose children are blobs, as BuildKit exports its cache (`--export-cache type=registry`).

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use atcr_oci::{Algorithm, Descriptor, Digest, MediaType};

use crate::harness::{Answer, Sailor, TestAppView, descriptor, sha256};

const APP: &str = "alice.test/cache";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

fn child(media_type: &str, blob: &Descriptor) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

/// What BuildKit writes with `image-manifest=false`: layers, then the cache config.
fn cache_index(layers: &[&Descriptor], config: &Descriptor) -> Bytes {
    let mut manifests: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let mut child = child(LAYER, layer);
            child["annotations"] = json!({
                "buildkit/createdat": "2026-11-29T10:00:00.123456789Z",
                "containerd.io/uncompressed": layer.digest,
            });
            child
        })
        .collect();
    manifests.push(child(CACHE_CONFIG, config));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    serde_json::to_vec(&index).unwrap().into()
}

async fn put(sailor: &Sailor<'_>, tag: &str, kind: &str, bytes: Bytes) -> Answer {
    let request = sailor
        .request(Method::PUT, &format!("/v2/{APP}/manifests/{tag}"))
        .header("content-type", kind)
        .body(bytes);
    Answer::of(request).await
}

#[tokio::test]
async fn a_cache_index_is_kept_and_its_blobs_are_found_again() {
    let mut appview = TestAppView::start().await;
    let (one, two) = (appview.blob("layer one"), appview.blob("layer two"));
    let config = appview.blob(r#"{"layers":[],"records":[]}"#);
    let index = cache_index(&[&one, &two], &config);
    let digest = Digest::of(Algorithm::Sha256, &index);
    let token = {
        let alice = appview.sailor("alice.test", &[APP]).await;
        put(&alice, "buildcache", INDEX, index.clone())
            .await
            .assert_status(201);
        alice.token
    };

    // The hold counts the blobs as layers, so that nothing there takes them for garbage.
    let notice = appview.hold.office().notice("push", digest.as_str()).await;
    let told: Vec<&str> = notice["manifest"]["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap())
        .collect();
    assert_eq!(
        told,
        [one.digest.as_str(), two.digest.as_str(), config.digest.as_str()]
    );
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", digest.hex())
        .unwrap();
    for list in ["layers", "manifests"] {
        assert_eq!(record[list].as_array().unwrap().len(), 3, "{list}: {record}");
    }

    // What a later build does, at a server that has to look everything up, and after the account chose another hold.
    let elsewhere = atcr_test_support::fakes::FakeHold::start(atcr_test_support::fakes::StoreKind::Streaming)
        .await
        .unwrap();
    let profile = json!({
        "$type": "io.atcr.sailor.profile", "createdAt": "2026-01-01T00:00:00Z", "defaultHold": elsewhere.did(),
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", profile);
    appview.restart().await;
    let bob = appview
        .token("bob.test", &[&format!("repository:{APP}:pull")])
        .await;
    let pulled = Answer::of(
        appview
            .get(&format!("/v2/{APP}/manifests/buildcache"))
            .bearer_auth(&bob),
    )
    .await;
    pulled.assert_status(200);
    assert_eq!((pulled.header("content-type"), &pulled.body), (INDEX, &index));
    for blob in [&one, &two, &config] {
        let path = format!("/v2/{APP}/blobs/{}", blob.digest);
        let answer = Answer::of(appview.get(&path).bearer_auth(&bob)).await;
        answer.assert_status(307);
        assert!(answer.header("location").starts_with(&appview.hold.url()));
    }
    let delete = appview
        .request(Method::DELETE, &format!("/v2/{APP}/manifests/{digest}"))
        .bearer_auth(token);
    Answer::of(delete).await.assert_status(202);
}

#[tokio::test]
async fn the_form_as_an_image_manifest_is_taken_too() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let (layer, config) = (
        appview.blob("layer"),
        appview.blob(r#"{"layers":[],"records":[]}"#),
    );
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": child(CACHE_CONFIG, &config), "layers": [child(LAYER, &layer)],
    });
    let bytes: Bytes = serde_json::to_vec(&manifest).unwrap().into();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    put(&alice, "buildcache", kind, bytes.clone())
        .await
        .assert_status(201);
    let pulled = alice.get(&format!("/v2/{APP}/manifests/buildcache")).await;
    assert_eq!(pulled.body, bytes);
}

#[tokio::test]
async fn a_blob_that_is_not_there_or_not_as_long_is_refused() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let config = appview.blob(r#"{"layers":[],"records":[]}"#);
    let digest = Digest::of(Algorithm::Sha256, b"never pushed");
    let missing = Descriptor::new(MediaType::OCI_LAYER_TAR_GZIP, digest, 12);
    let answer = put(&alice, "buildcache", INDEX, cache_index(&[&missing], &config)).await;
    answer.assert_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert!(
        answer.message().contains(missing.digest.as_str()),
        "{}",
        answer.message()
    );

    let mut short = appview.blob("layer");
    short.size += 1;
    let answer = put(&alice, "buildcache", INDEX, cache_index(&[&short], &config)).await;
    answer.assert_error(400, "MANIFEST_INVALID");
}

#[tokio::test]
async fn a_child_of_a_type_that_does_not_tell_is_what_it_is_found_as() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let kind: MediaType = "application/vnd.example.thing".parse().unwrap();
    let (blob, image) = (appview.blob("a blob"), appview.image("an image"));
    alice.push(APP, sha256(&image).as_str(), &image).await;
    let mut child_image = descriptor(&image);
    child_image.media_type = kind.clone();
    let index = |children: &[&Descriptor]| {
        let children: Vec<Value> = children.iter().map(|blob| child(kind.as_str(), blob)).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        Bytes::from(serde_json::to_vec(&index).unwrap())
    };
    let both = index(&[&blob, &child_image]);
    put(&alice, "both", INDEX, both.clone()).await.assert_status(201);
    let digest = Digest::of(Algorithm::Sha256, &both);
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", digest.hex())
        .unwrap();
    let layers: Vec<&Value> = record["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| &layer["digest"])
        .collect();
    assert_eq!(layers, [blob.digest.as_str()]);
    // The child that is a manifest stays as long as the index names it.
    let answer = alice
        .delete(&format!("/v2/{APP}/manifests/{}", sha256(&image)))
        .await;
    answer.assert_error(405, "UNSUPPORTED");
    let nowhere = Descriptor::new(kind.clone(), Digest::of(Algorithm::Sha256, b"nowhere"), 7);
    put(&alice, "nowhere", INDEX, index(&[&nowhere]))
        .await
        .assert_error(404, "MANIFEST_BLOB_UNKNOWN");
}
