//! When ages of condemnations start anew.

use atcr_hold_pds::KnownEvent;
use atcr_oci::{Algorithm, Digest};

use super::world::{End, GRACE, PUSH, World, rkey};

#[tokio::test]
async fn ages_start_anew_when_promises_may_have_left_no_trace() {
    for end in [End::Stopped, End::PowerFailure] {
        let mut world = World::open().await;
        let member = world.members[1].clone();
        let blob = world.upload(&member, b"blob").await.expect("stored");
        world.forget_uploads().await;
        world.collect().await;
        world.pass(GRACE);
        world.hold().gc.save().await.expect("saved");
        world.restart(end).await;
        let removed = world.collect().await.removed.blobs;
        assert_eq!(removed, u64::from(end == End::Stopped), "{end:?}");
        assert_eq!(world.is_stored(&blob), end == End::PowerFailure);
    }
}

#[tokio::test]
async fn ages_start_anew_when_the_whole_folder_was_put_back_from_a_copy() {
    let mut world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    // Everything in the folder fits together; the backup has more.
    world.in_backup = Some(KnownEvent {
        log_id: "00ff".to_owned(),
        seq: 1 << 62,
    });
    world.restart(End::Stopped).await;
    assert_eq!(world.collect().await.removed.blobs, 0);
    assert!(world.is_stored(&blob));
}

#[tokio::test]
async fn ages_start_anew_when_the_database_alone_was_put_back() {
    let mut world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    world.hold().gc.save().await.expect("saved");
    world.sync();
    // What lifts the condemnation is not in the copy; nothing is written to the repository.
    assert!(world.exists(&member, &blob).await);
    world.restart(End::PutBack).await;
    assert_eq!(world.collect().await.removed.blobs, 0);
    assert!(world.is_stored(&blob));
    let key = rkey(&Digest::of(Algorithm::Sha256, b"late"));
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    for _ in 0..3 {
        world.pass(GRACE + PUSH);
        world.collect().await;
    }
    assert!(world.is_stored(&blob));
}
