//! Uploads and pushes outlive a process that is killed, and a server that is down for a while.

use atcr_test_support::network::Part;
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, digest, image_manifest};

use crate::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_on_after_the_appview_was_killed_between_two_chunks() {
    let mut world = World::start().await;
    let name = "alice.test/resumed";
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(name, "pull,push").await.expect("a token");

    let (first, second) = (vec![1_u8; 700_000], vec![2_u8; 900_000]);
    let at = client.start_upload(name).await.expect("a session");
    let at = client
        .patch_upload(&at, first.clone())
        .await
        .expect("the first chunk");
    world.network.kill(Part::AppView).await.expect("killed");
    world.network.start_appview().await.expect("it starts again");
    let at = client
        .patch_upload(&at, second.clone())
        .await
        .expect("the second chunk, with the same token");
    let whole = [first, second].concat();
    client
        .finish_upload(&at, &digest(&whole))
        .await
        .expect("finished");
    assert_eq!(
        client.blob(name, &digest(&whole)).await.expect("a pull"),
        Some(whole)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_named_and_the_push_succeeds_once_it_is_back() {
    let mut world = World::start().await;
    let name = "alice.test/patient";
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(name, "pull,push").await.expect("a token");
    let config = client.push_blob(name, b"{}".to_vec()).await.expect("a config");
    let manifest = image_manifest((&config, 2), &[]);
    let push = async |client: &RegistryClient| {
        client
            .push_manifest(name, "1", IMAGE_MANIFEST, manifest.clone())
            .await
    };

    world.network.stop(Part::AtProtocol).await.expect("stopped");
    let refused = push(&client).await.expect_err("no PDS").to_string();
    let pds = world
        .network
        .file()
        .pds
        .url
        .trim_start_matches("http://")
        .to_owned();
    assert!(
        refused.contains("502 Bad Gateway") && refused.contains(&pds),
        "{refused}"
    );
    world.network.start_at_protocol().await.expect("it starts again");
    push(&client).await.expect("a retry succeeds");

    world.network.stop(Part::Hold).await.expect("stopped");
    let layer = b"a layer".to_vec();
    let refused = client
        .push_blob(name, layer.clone())
        .await
        .expect_err("no hold")
        .to_string();
    let hold = &world.network.file().hold.did;
    assert!(
        refused.contains("502 Bad Gateway") && refused.contains(hold),
        "{refused}"
    );
    world.network.start_hold().await.expect("it starts again");
    client.push_blob(name, layer).await.expect("a retry succeeds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_bytes_do_not_match_is_refused_and_stays_unknown() {
    let world = World::start().await;
    let name = "alice.test/poison";
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(name, "pull,push").await.expect("a token");
    let claimed = digest(b"what it should be");
    let at = client.start_upload(name).await.expect("a session");
    let at = client.patch_upload(&at, "something else").await.expect("bytes");
    let refused = client
        .finish_upload(&at, &claimed)
        .await
        .expect_err("it is refused")
        .to_string();
    assert!(refused.contains("DIGEST_INVALID"), "{refused}");
    assert_eq!(client.blob(name, &claimed).await.expect("an answer"), None);
}
