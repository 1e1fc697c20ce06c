//! The hold in front of a real S3 server.

use std::path::Path;
use std::process::Command;

use atcr_test_support::network::HoldStorage;
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use atcr_test_support::s3_server::start_versitygw;

use crate::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_many_parts_goes_to_s3_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (gateway, storage) = start_versitygw(folder.path()).await.expect("versitygw starts");
    let world = World::start_with(|options| options.storage = HoldStorage::S3(storage)).await;
    let name = "alice.test/s3";
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(name, "pull,push").await.expect("a token");
    let config = client.push_blob(name, b"{}".to_vec()).await.expect("a config");
    // Not a multiple of any part size.
    let big: Vec<u8> = (0..40_000_003_u32)
        .map(|n| u8::try_from(n % 251).expect("below 256"))
        .collect();
    let size = big.len();
    let layer = client
        .push_blob(name, big.clone())
        .await
        .expect("a layer of several parts");
    let manifest = image_manifest((&config, 2), &[(layer.clone(), size)]);
    client
        .push_manifest(name, "1", IMAGE_MANIFEST, manifest.clone())
        .await
        .expect("a manifest");

    let mut anonymous = RegistryClient::anonymous(world.appview()).expect("a client");
    anonymous.authorize(name, "pull").await.expect("a token");
    assert_eq!(
        anonymous.manifest(name, "1").await.expect("an answer"),
        Some(manifest)
    );
    let back = anonymous
        .blob(name, &layer)
        .await
        .expect("an answer")
        .expect("the layer");
    assert!(back == big, "the layer came back changed");
    let hex = layer.trim_start_matches("sha256:");
    let key = format!(
        "data/atcr/docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    );
    assert!(
        folder.path().join(key).is_file(),
        "the object has its content-addressed key"
    );
    let left = files_below(&folder.path().join("data/atcr/docker/registry/v2/uploads"));
    assert_eq!(left, "", "no temporary object is left");
    drop(world);
    gateway.stop().await.expect("versitygw stops");
}

fn files_below(folder: &Path) -> String {
    if !folder.exists() {
        return String::new();
    }
    crate::succeed(Command::new("find").arg(folder).args(["-type", "f"]))
}
