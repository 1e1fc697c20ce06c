//! A run that is left alone or fails at any point leaves nothing that says two things.

use tokio::runtime::Runtime;

use super::world::{End, GRACE, PUSH, World, rkey};
use atcr_oci::{Algorithm, Digest};

/// Begins a run and leaves it when it is at the `step`-th look into the table of the condemned.
async fn run_and_leave(world: &World, step: u32) {
    let reached = world.inner_gate.arm(step);
    let gc = world.hold().gc.clone();
    let asking = tokio::spawn(async move { gc.run().await });
    let goes_on = reached.await.expect("reached");
    asking.abort();
    assert!(asking.await.is_err_and(|error| error.is_cancelled()));
    drop(goes_on);
    world.hold().gc.until_idle().await;
}

#[tokio::test]
async fn a_blob_that_is_condemned_while_the_command_ends_is_known_to_be_condemned() {
    let mut world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    run_and_leave(&world, 0).await;
    world.pass(GRACE);
    assert!(world.exists(&member, &blob).await);
    world.hold().gc.save().await.expect("saved");
    world.restart(End::Stopped).await;
    world.pass(1);
    for _ in 0..2 {
        // What was left of the run, and another one.
        world.collect().await;
    }
    assert!(world.is_stored(&blob), "it was promised a moment ago");
    let key = rkey(&Digest::of(Algorithm::Sha256, b"late"));
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    for _ in 0..3 {
        world.pass(GRACE + PUSH);
        world.collect().await;
    }
    assert!(world.is_stored(&blob));
}

#[tokio::test]
async fn a_blob_is_removed_or_there_when_the_command_ends_meanwhile() {
    // After the row says that it leaves, and before it is forgotten.
    for step in [0, 1] {
        let world = World::open().await;
        let member = world.members[1].clone();
        let blob = world.upload(&member, b"blob").await.expect("stored");
        world.forget_uploads().await;
        world.collect().await;
        world.pass(GRACE);
        run_and_leave(&world, step).await;
        assert!(!world.is_stored(&blob), "the run goes on");
        world.upload(&member, b"blob").await.expect("stored again");
        assert!(world.exists(&member, &blob).await);
    }
}

#[tokio::test]
async fn a_blob_that_cannot_be_forgotten_is_no_longer_leaving_when_its_removal_is_over() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    *world.is_disk_full.lock().expect("not poisoned") = true;
    assert!(world.hold().gc.run().await.is_err());
    *world.is_disk_full.lock().expect("not poisoned") = false;
    assert!(!world.is_stored(&blob));
    let refused = world.upload(&member, b"blob").await;
    assert!(refused.is_err(), "the removal is not over: {refused:?}");
    world.hold().gc.save().await.expect("saved");
    world.upload(&member, b"blob").await.expect("stored again");
    assert!(world.exists(&member, &blob).await);
}

#[tokio::test]
async fn a_client_that_leaves_while_a_condemnation_is_lifted_keeps_no_garbage() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    let reached = world.inner_gate.arm(0);
    let blobs = world.hold().blobs.clone();
    let digest = blob.clone();
    let asking = tokio::spawn(async move { blobs.stat(None, &digest).await });
    let goes_on = reached.await.expect("reached");
    asking.abort();
    let _ = asking.await;
    drop(goes_on);
    for _ in 0..3 {
        world.pass(GRACE + PUSH);
        world.collect().await;
    }
    assert!(!world.is_stored(&blob));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_when_the_hold_stops_and_is_continued() {
    let mut world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    let reached = world.network.gate.arm(3);
    let gc = world.hold().gc.clone();
    let process = Runtime::new().expect("a runtime");
    let run = process.spawn(async move { gc.run().await });
    let goes_on = reached.await.expect("reached");
    world.hold().gc.stop();
    let _ = goes_on.send(());
    let outcome = run.await.expect("no panic");
    assert!(
        matches!(outcome, Err(atcr_hold::gc::GcError::Stopping)),
        "{outcome:?}"
    );
    process.shutdown_background();
    assert!(world.is_stored(&blob));
    world.restart(End::Stopped).await;
    assert_eq!(world.collect().await.removed.blobs, 1);
}
