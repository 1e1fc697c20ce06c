//! An upload session outlives the appview's process.

use atcr_test_support::network::Part;
use atcr_test_support::registry_client::{RegistryClient, digest};

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
