//! Who may name blobs: nobody is forgotten, and who was never read is not taken for one that names nothing.

use std::time::Duration;

use atcr_atproto::clock::Clock as _;
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::syntax::Did;
use atcr_hold::adapters::sqlite::{self, SqliteErasures, SqliteGc};
use atcr_hold::gc::ports::AccountTable as _;
use atcr_hold::user_data::Erasures as _;
use atcr_hold_pds::RecordWrite;
use atcr_oci::{Algorithm, Digest};
use reqwest::Method;

use crate::harness::{Answer, Setup, TestHold};

use super::world::{End, GRACE, PUSH, World, founded, rkey};

fn manifest(name: &str) -> Digest {
    Digest::of(Algorithm::Sha256, name.as_bytes())
}

/// Lets everything go that can go.
async fn collect_thrice(world: &World) {
    for _ in 0..3 {
        world.collect().await;
        world.pass(GRACE + PUSH);
    }
}

#[tokio::test]
async fn an_account_that_was_never_read_whole_holds_up_what_it_may_name() {
    for is_gone in [false, true] {
        let world = World::open().await;
        let captain = world.members[0].clone();
        let layer = world.upload(&captain, b"layer").await.expect("stored");
        let config = world.upload(&captain, b"config").await.expect("stored");
        // All that an imported repository says of somebody who was a member once.
        let former: Did = "did:web:former.test".parse().expect("a DID");
        let key = rkey(&manifest("one"));
        let uri = format!("at://{former}/io.atcr.manifest/{key}");
        let record = LayerRecord::new(
            layer.as_str(),
            5,
            "application/x-layer",
            uri.parse().expect("a URI"),
            former.clone(),
            founded(),
        );
        let write = RecordWrite::create(None, &record).expect("a write");
        world.hold().repo.write(vec![write]).await.expect("written");
        world
            .network
            .write(&former, &key, &[layer.clone(), config.clone()]);
        world.network.change(&former, |pds| {
            pds.is_down = !is_gone;
            pds.is_gone = is_gone;
        });
        world.forget_uploads().await;
        collect_thrice(&world).await;
        let report = world.collect().await;
        assert_eq!(report.accounts.holding_up, std::slice::from_ref(&former));
        assert!(world.is_stored(&layer) && world.is_stored(&config), "{is_gone}");

        world.network.change(&former, |pds| {
            pds.is_down = false;
            pds.is_gone = false;
        });
        collect_thrice(&world).await;
        assert!(world.is_stored(&layer) && world.is_stored(&config));
        world.network.delete(&former, &key);
        collect_thrice(&world).await;
        assert!(!world.is_stored(&layer) && !world.is_stored(&config));
    }
}

#[tokio::test]
async fn who_has_left_holds_up_removal_until_all_that_was_promised_could_be_read() {
    let world = World::open().await;
    let [captain, member] = [0, 1].map(|at| world.members[at].clone());
    let blob = world.upload(&captain, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    // The member is told that the blob is there, leaves, and names it at the last moment, when its server has gone down.
    assert!(world.exists(&member, &blob).await);
    world.leave(&member).await;
    world.collect().await;
    world
        .network
        .write(&member, &rkey(&manifest("one")), std::slice::from_ref(&blob));
    world.network.change(&member, |pds| pds.is_down = true);
    collect_thrice(&world).await;
    assert!(world.is_stored(&blob));

    world.network.change(&member, |pds| pds.is_down = false);
    world.collect().await;
    // It is known what it names; what others leave behind does not wait for it any more.
    world.network.change(&member, |pds| pds.is_down = true);
    let orphan = world.upload(&captain, b"orphan").await.expect("stored");
    world.forget_uploads().await;
    collect_thrice(&world).await;
    assert!(world.is_stored(&blob) && !world.is_stored(&orphan));
}

#[tokio::test]
async fn who_was_a_member_between_two_runs_is_known() {
    for end in [End::Stopped, End::PowerFailure] {
        let mut world = World::open().await;
        let captain = world.members[0].clone();
        let blob = world.upload(&captain, b"blob").await.expect("stored");
        world.forget_uploads().await;
        world.collect().await;
        let guest: Did = "did:web:guest.test".parse().expect("a DID");
        world.join(&guest).await;
        world.sync();
        assert!(world.exists(&guest, &blob).await);
        world
            .network
            .write(&guest, &rkey(&manifest("one")), std::slice::from_ref(&blob));
        world.leave(&guest).await;
        world.restart(end).await;
        collect_thrice(&world).await;
        assert!(world.is_stored(&blob), "{end:?}");
    }
}

#[tokio::test]
async fn a_release_is_over_when_the_account_pushes_or_joins_again_or_can_be_read_as_a_member() {
    for way in ["uploads", "notifies", "joins", "is read"] {
        let world = World::open().await;
        let [captain, member] = [0, 1].map(|at| world.members[at].clone());
        let blob = world.upload(&captain, b"blob").await.expect("stored");
        let key = rkey(&manifest("one"));
        world.network.write(&member, &key, std::slice::from_ref(&blob));
        world.collect().await;
        world.hold().gc.note_account(&member).await.expect("noted");
        world.network.change(&member, |pds| pds.is_down = true);
        world.hold().gc.judge(&member, true, false).await.expect("known");
        match way {
            "uploads" => world.hold().gc.note_account(&member).await.expect("noted"),
            "notifies" => {
                world
                    .notify(&member, &manifest("one"), std::slice::from_ref(&blob))
                    .await;
            }
            "joins" => {
                world.leave(&member).await;
                world.join(&member).await;
            }
            _ => {
                world.network.change(&member, |pds| pds.is_down = false);
                world.collect().await;
                world.network.change(&member, |pds| pds.is_down = true);
            }
        }
        world.forget_uploads().await;
        collect_thrice(&world).await;
        assert!(world.is_stored(&blob), "{way}");
    }
}

#[tokio::test]
async fn a_member_to_whom_nothing_was_promised_holds_up_nothing() {
    let world = World::open().await;
    let [captain, member] = [0, 1].map(|at| world.members[at].clone());
    let orphan = world.upload(&captain, b"orphan").await.expect("stored");
    world.forget_uploads().await;
    world.network.change(&member, |pds| pds.is_down = true);
    collect_thrice(&world).await;
    assert!(!world.is_stored(&orphan));
    let orphan = world.upload(&captain, b"orphan").await.expect("stored");
    world.forget_uploads().await;
    assert!(world.exists(&member, &orphan).await);
    collect_thrice(&world).await;
    assert!(world.is_stored(&orphan));
}

#[tokio::test]
async fn what_was_pushed_before_an_erasure_keeps_nothing_when_the_user_joins_again() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let names = [world.upload(&member, b"blob").await.expect("stored")];
    let key = rkey(&manifest("one"));
    world.network.write(&member, &key, &names);
    world.notify(&member, &manifest("one"), &names).await;
    world.forget_uploads().await;
    world.collect().await;
    let database = sqlite::open(&world.path().join("hold.sqlite"))
        .await
        .expect("opens");
    let erasures = SqliteErasures::new(database);
    erasures.note(&member, world.clock.now()).await.expect("noted");
    world.leave(&member).await;
    world.join(&member).await;
    collect_thrice(&world).await;
    assert!(!world.is_stored(&names[0]));
    world.upload(&member, b"blob").await.expect("stored");
    world.notify(&member, &manifest("one"), &names).await;
    world.forget_uploads().await;
    collect_thrice(&world).await;
    assert!(world.is_stored(&names[0]), "it was pushed again");
}

/// The table of a hold that runs.
async fn table_of(hold: &TestHold) -> SqliteGc {
    let database = sqlite::open(&hold.data_dir().join("hold.sqlite")).await;
    SqliteGc::new(database.expect("opens"))
}

#[tokio::test]
async fn who_sends_a_blob_or_is_told_of_one_has_pushed_and_is_released_no_longer() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let table = table_of(&hold).await;
    let account = async |did: &Did| table.account(did).await.expect("readable").expect("it is known");
    let permissions = ["blob:read", "blob:write"];
    let [sender, asker] = [
        hold.crew("sender", &permissions).await,
        hold.crew("asker", &permissions).await,
    ];
    for member in [&sender, &asker] {
        assert!(!account(&member.did).await.pushed);
    }
    let judged = table.judge_account(&sender.did, true, false).await;
    assert!(judged.expect("written"));
    let digest = hold.put_blob(&sender, b"a layer").await;
    let sender = account(&sender.did).await;
    assert!(sender.pushed && !sender.released);
    // Nobody shows a token to a public hold; whose image it is is said.
    let path = format!("/xrpc/com.atproto.sync.getBlob?did={}&cid={digest}", asker.did);
    let answer = Answer::of(hold.request(Method::HEAD, &path)).await;
    assert_eq!(answer.status, 200);
    assert!(account(&asker.did).await.pushed);
    hold.stop().await;
}

#[tokio::test]
async fn who_is_a_member_when_nothing_is_known_may_have_pushed() {
    let hold = TestHold::start(Setup::default()).await;
    let member = hold.crew("member", &["blob:read", "blob:write"]).await;
    let stopped = hold.stop_to_restart().await;
    for name in ["hold.sqlite", "hold.sqlite-wal", "hold.sqlite-shm"] {
        let _ = std::fs::remove_file(stopped.data_dir().join(name));
    }
    let hold = stopped.start(|_| ()).await.expect("the hold opens");
    let account = table_of(&hold)
        .await
        .account(&member.did)
        .await
        .expect("readable");
    assert!(account.expect("it is known").pushed);
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_readings_of_one_account_at_once_lose_no_names() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    let key = rkey(&manifest("one"));
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    world.forget_uploads().await;
    world.collect().await;
    world.network.delete(&member, &key);
    let unlink = || {
        let (gc, blobs) = (world.hold().gc.clone(), world.hold().blobs.clone());
        let (member, other) = (member.clone(), manifest("another blob"));
        tokio::spawn(async move { gc.unlink(&blobs, &member, "app", &other).await })
    };
    // One reading has just been given the proof that the manifest is gone: revision, list, revision, proof.
    let reached = world.network.gate.arm(4);
    let first = unlink();
    let first_goes_on = reached.await.expect("reached");
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    // The other one finds it again. Without a turn it would be before its last question now.
    let reached = world.network.gate.arm(2);
    let second = unlink();
    let early = tokio::time::timeout(Duration::from_secs(1), reached).await;
    world.network.gate.disarm();
    let _ = first_goes_on.send(());
    first.await.expect("no panic").expect("an answer");
    drop(early);
    second.await.expect("no panic").expect("an answer");
    collect_thrice(&world).await;
    assert!(world.is_stored(&blob));
}

#[tokio::test]
async fn a_manifest_that_is_pushed_to_another_repository_is_of_that_one() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    let key = rkey(&manifest("one"));
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    let gc = &world.hold().gc;
    let unlink = async |repository: &str| {
        gc.unlink(&world.hold().blobs, &member, repository, &blob)
            .await
            .expect("an answer")
    };
    let is_named = |unlinked| matches!(unlinked, atcr_hold::gc::Unlinked::Named { .. });
    assert!(is_named(unlink("app").await));
    // A notice comes late, or lies.
    gc.note_manifest(&member, &key, "other", std::slice::from_ref(&blob))
        .await
        .expect("noted");
    assert!(is_named(unlink("app").await));
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    world.network.change(&member, |pds| {
        pds.repositories.insert(key.clone(), "other".to_owned());
    });
    assert!(is_named(unlink("other").await));
    assert!(!is_named(unlink("app").await));
    assert!(gc.is_unlinked(&member, "app", &blob).await.expect("an answer"));
    // Named there again, it is there again.
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    world.network.change(&member, |pds| pds.repositories.clear());
    assert!(is_named(unlink("app").await));
    assert!(!gc.is_unlinked(&member, "app", &blob).await.expect("an answer"));
}

#[tokio::test]
async fn who_joined_again_after_an_erasure_keeps_what_was_pushed_since_when_leaving() {
    let world = World::open().await;
    let member = world.members[1].clone();
    world.collect().await;
    let database = sqlite::open(&world.path().join("hold.sqlite"))
        .await
        .expect("opens");
    let erasures = SqliteErasures::new(database);
    erasures.note(&member, world.clock.now()).await.expect("noted");
    world.leave(&member).await;
    world.collect().await;
    world.join(&member).await;
    let blob = world.upload(&member, b"blob").await.expect("stored");
    let key = rkey(&manifest("one"));
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    world.collect().await;
    world.leave(&member).await;
    world.forget_uploads().await;
    collect_thrice(&world).await;
    assert!(world.is_stored(&blob));
    // Until it asks once more.
    erasures.note(&member, world.clock.now()).await.expect("noted");
    collect_thrice(&world).await;
    assert!(!world.is_stored(&blob));
}

#[tokio::test]
async fn who_pushes_after_an_erasure_without_having_left_keeps_that_when_leaving() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    let database = sqlite::open(&world.path().join("hold.sqlite"))
        .await
        .expect("opens");
    // So it is with a captain, who stays at first.
    let erasures = SqliteErasures::new(database);
    erasures.note(&member, world.clock.now()).await.expect("noted");
    let names = [blob.clone()];
    world.network.write(&member, &rkey(&manifest("one")), &names);
    world.notify(&member, &manifest("one"), &names).await;
    world.leave(&member).await;
    world.forget_uploads().await;
    collect_thrice(&world).await;
    assert!(world.is_stored(&blob));
}

#[tokio::test]
async fn a_manifest_whose_record_is_another_is_read_again() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    let key = rkey(&manifest("one"));
    world.network.write(&member, &key, &[]);
    world.collect().await;
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    collect_thrice(&world).await;
    assert!(world.is_stored(&blob));
}

#[tokio::test]
async fn every_digest_in_a_manifests_bytes_is_a_name_also_of_a_field_that_is_there_twice() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let [first, second, third] = [b"1", b"2", b"3"];
    let first = world.upload(&member, first).await.expect("stored");
    let second = world.upload(&member, second).await.expect("stored");
    let third = world.upload(&member, third).await.expect("stored");
    world.forget_uploads().await;
    let bytes = format!(r#"[1, null, true, -0.5, {{"a": "{first}", "a": ["{second}"], "{third}": {{}}}}]"#);
    let key = rkey(&manifest("one"));
    world.network.change(&member, |pds| {
        pds.bytes.insert(key.clone(), bytes.into());
    });
    world.network.write(&member, &key, &[]);
    collect_thrice(&world).await;
    for blob in [first, second, third] {
        assert!(world.is_stored(&blob), "{blob}");
    }
}

#[tokio::test]
async fn what_layer_records_name_is_noted_also_of_an_account_that_a_deletion_reads_first() {
    let world = World::open().await;
    let [captain, member] = [0, 1].map(|at| world.members[at].clone());
    let blob = world.upload(&captain, b"blob").await.expect("stored");
    world.forget_uploads().await;
    let uri = format!("at://{member}/io.atcr.manifest/{}", rkey(&manifest("one")));
    let uri = uri.parse().expect("a URI");
    let kind = "application/x-layer";
    let record = LayerRecord::new(blob.as_str(), 4, kind, uri, member.clone(), founded());
    let write = RecordWrite::create(None, &record).expect("a write");
    world.hold().repo.write(vec![write]).await.expect("written");
    // Its server does not list the manifest, and does not prove that it is gone either.
    world.network.change(&member, |pds| pds.proves_nothing = true);
    let (gc, blobs) = (&world.hold().gc, &world.hold().blobs);
    let unlinked = gc.unlink(blobs, &member, "app", &manifest("other")).await;
    unlinked.expect("an answer");
    collect_thrice(&world).await;
    assert!(world.is_stored(&blob));
}

#[tokio::test]
async fn a_judgement_goes_on_when_its_caller_leaves_and_ends_with_the_next_push() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let gc = &world.hold().gc;
    gc.note_account(&member).await.expect("noted");
    let database = sqlite::open(&world.path().join("hold.sqlite"))
        .await
        .expect("opens");
    let table = SqliteGc::new(database);
    let is_released = async || {
        let account = table.account(&member).await.expect("readable");
        account.expect("it is known").released
    };
    {
        let mut judging = Box::pin(gc.judge(&member, true, false));
        let is_done = futures_util::poll!(judging.as_mut()).is_ready();
        assert!(!is_done);
    }
    let said = async {
        while !is_released().await {
            tokio::task::yield_now().await;
        }
    };
    let said = tokio::time::timeout(Duration::from_mins(1), said).await;
    said.expect("the caller has left, and it is written all the same");
    gc.note_account(&member).await.expect("noted");
    assert!(!is_released().await);
}

#[tokio::test]
async fn who_named_what_the_store_does_not_have_is_forgotten() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let [stored, other] = [b"stored" as &[u8], b"other"];
    let stored = world.upload(&member, stored).await.expect("stored");
    let other = world.upload(&member, other).await.expect("stored");
    world.forget_uploads().await;
    let names = [stored.clone(), manifest("elsewhere")];
    let key = rkey(&manifest("one"));
    world.network.write(&member, &key, &names);
    let [_, elsewhere] = &names;
    world.collect().await;
    world.network.delete(&member, &key);
    world.collect().await;
    let database = sqlite::open(&world.path().join("hold.sqlite"))
        .await
        .expect("opens");
    let table = SqliteGc::new(database);
    let asked = [stored.clone(), other, elsewhere.clone()];
    let owners = table.former_owners(&asked).await.expect("readable");
    assert_eq!(owners, [(stored, member)].into());
}
