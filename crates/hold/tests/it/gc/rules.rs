//! Each rule by itself.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use atcr_hold::blobs::{ObjectKey, StoreError};
use atcr_hold::edge::control;
use atcr_hold::gc::ports::StoreOwner;
use atcr_hold::gc::{GcError, RunState, Unlinked};
use atcr_hold::settings::StorageSettings;
use atcr_oci::{Algorithm, Digest};
use atcr_server::Shutdown;
use chrono::TimeDelta;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::harness::{Answer, Setup, TestHold};

use super::world::{End, GRACE, PUSH, World, rkey};

fn manifest(name: &str) -> Digest {
    Digest::of(Algorithm::Sha256, name.as_bytes())
}

#[tokio::test]
async fn what_nothing_names_goes_after_two_runs_a_grace_period_apart_and_nothing_else() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let named = world.upload(&member, b"named").await.expect("stored");
    let orphan = world.upload(&member, b"orphan").await.expect("stored");
    world
        .network
        .write(&member, &rkey(&manifest("one")), std::slice::from_ref(&named));
    let decoys = [
        "repos/did-web-hold.test/blobs/x/data",
        "docker/registry/v2/blobs/sha256/zz/none/data",
        "blobs/readme",
    ];
    for decoy in decoys {
        let path = world.path().join("objects").join(decoy);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, decoy).expect("written");
    }
    world.forget_uploads().await;

    let first = world.collect().await;
    assert_eq!((first.condemned.blobs, first.removed.blobs), (1, 0));
    assert!(world.is_readable(&named).await);
    world.pass(GRACE - 1);
    assert_eq!(
        world.collect().await.removed.blobs,
        0,
        "the grace period is not over"
    );
    world.pass(1);
    let second = world.collect().await;
    assert_eq!((second.removed.blobs, second.removed.bytes), (1, 6));
    assert!(world.is_stored(&named) && !world.is_stored(&orphan));
    for decoy in decoys {
        let kept = std::fs::read(world.path().join("objects").join(decoy)).expect("there");
        assert_eq!(kept, decoy.as_bytes());
    }
    assert!(!world.exists(&member, &orphan).await);
    world.upload(&member, b"orphan").await.expect("stored again");
    assert!(world.exists(&member, &orphan).await);
}

#[tokio::test]
async fn a_client_that_is_told_exists_can_push_as_long_as_a_push_may_take() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    // The client asks at the last moment, and writes its manifest much later.
    assert!(world.exists(&member, &blob).await);
    assert_eq!(world.collect().await.removed.blobs, 0);
    world.pass(PUSH);
    assert_eq!(world.collect().await.removed.blobs, 0);
    world
        .network
        .write(&member, &rkey(&manifest("late")), std::slice::from_ref(&blob));
    for _ in 0..3 {
        world.pass(GRACE);
        world.collect().await;
    }
    assert!(world.is_readable(&blob).await);
}

#[tokio::test]
async fn an_account_that_cannot_be_read_keeps_what_it_named_and_holds_up_what_it_may_have_named_since() {
    let world = World::open().await;
    let [captain, member] = [0, 1].map(|at| world.members[at].clone());
    let named = world.upload(&member, b"named").await.expect("stored");
    world
        .notify(&member, &manifest("one"), std::slice::from_ref(&named))
        .await;
    world
        .network
        .write(&member, &rkey(&manifest("one")), std::slice::from_ref(&named));
    let orphan = world.upload(&captain, b"orphan").await.expect("stored");
    world.forget_uploads().await;
    world.network.change(&member, |pds| pds.is_down = true);
    for _ in 0..3 {
        let report = world.collect().await;
        assert_eq!(report.accounts.holding_up, std::slice::from_ref(&member));
        world.pass(GRACE);
    }
    assert!(world.is_stored(&named) && world.is_stored(&orphan));
    // The captain knows that the account will not come back.
    world.hold().gc.judge(&member, true, false).await.expect("known");
    for _ in 0..3 {
        world.collect().await;
        world.pass(GRACE);
    }
    assert!(!world.is_stored(&named) && !world.is_stored(&orphan));
}

#[tokio::test]
async fn an_account_that_lost_most_of_its_manifests_at_once_is_not_believed() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    for number in 0..30 {
        let key = rkey(&manifest(&number.to_string()));
        world.network.write(&member, &key, std::slice::from_ref(&blob));
    }
    world.forget_uploads().await;
    world.collect().await;
    for number in 0..30 {
        world
            .network
            .delete(&member, &rkey(&manifest(&number.to_string())));
    }
    for _ in 0..3 {
        let report = world.collect().await;
        assert!(report.accounts.unread[&member].contains("30 of 30"), "{report:?}");
        world.pass(GRACE);
    }
    assert!(world.is_stored(&blob));
    world.hold().gc.judge(&member, false, true).await.expect("known");
    for _ in 0..3 {
        world.collect().await;
        world.pass(GRACE);
    }
    assert!(!world.is_stored(&blob));
}

#[tokio::test]
async fn an_account_that_lost_most_of_its_manifests_holds_up_nobody_elses_garbage() {
    let world = World::open().await;
    let [captain, member] = [0, 1].map(|at| world.members[at].clone());
    let blob = world.upload(&member, b"blob").await.expect("stored");
    for number in 0..30 {
        let key = rkey(&manifest(&number.to_string()));
        world.network.write(&member, &key, std::slice::from_ref(&blob));
    }
    world.collect().await;
    world.network.change(&member, |pds| pds.manifests.clear());
    // What it names now is read all the same.
    let late = world.upload(&captain, b"late").await.expect("stored");
    let key = rkey(&manifest("late"));
    world.network.write(&member, &key, std::slice::from_ref(&late));
    let orphan = world.upload(&captain, b"orphan").await.expect("stored");
    world.forget_uploads().await;
    for _ in 0..3 {
        let report = world.collect().await;
        assert!(report.accounts.unread[&member].contains("30 of 3"), "{report:?}");
        assert!(report.accounts.holding_up.is_empty(), "{report:?}");
        world.pass(GRACE + PUSH);
    }
    assert!(world.is_stored(&blob) && world.is_stored(&late));
    assert!(!world.is_stored(&orphan));
}

#[tokio::test]
async fn a_run_that_would_remove_much_waits_and_can_be_undone() {
    let mut world = World::open().await;
    world.options.brake_percent = 20;
    world.restart(End::Stopped).await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    let waiting = world.hold().gc.run().await.expect("a run");
    assert_eq!(waiting.state, RunState::Waiting);
    assert!(world.is_stored(&blob));

    let first = world.hold().gc.history(10).await.expect("readable")[1].id;
    assert_eq!(world.hold().gc.undo(first).await.expect("undone"), 1);
    let done = world.hold().gc.confirm(waiting.id).await.expect("carried out");
    assert_eq!(done.report.removed.blobs, 0, "the condemnation was lifted");
    assert_eq!(done.report.differences.values().sum::<u64>(), 1);
    assert!(world.is_stored(&blob));

    world.collect().await;
    world.pass(GRACE);
    let waiting = world.hold().gc.run().await.expect("a run");
    let done = world.hold().gc.confirm(waiting.id).await.expect("carried out");
    assert_eq!((done.state, done.report.removed.blobs), (RunState::Done, 1));
    assert!(!world.is_stored(&blob));
}

#[tokio::test]
async fn a_clock_that_was_ahead_once_does_not_stop_the_nightly_run() {
    let world = World::open().await;
    assert!(world.hold().gc.is_due().await.expect("an answer"));
    world.clock.advance(TimeDelta::days(3650));
    world.collect().await;
    assert!(!world.hold().gc.is_due().await.expect("an answer"));
    world.clock.advance(TimeDelta::days(-3650));
    assert!(world.hold().gc.is_due().await.expect("an answer"));
    world.collect().await;
    assert!(!world.hold().gc.is_due().await.expect("an answer"));
    world.clock.advance(TimeDelta::days(1));
    assert!(world.hold().gc.is_due().await.expect("an answer"));
}

#[tokio::test]
async fn the_first_removal_waits_if_much_was_never_named_here() {
    let mut world = World::open().await;
    world.options.brake_percent = 20;
    world.restart(End::Stopped).await;
    let member = world.members[1].clone();
    let named = world.upload(&member, &[1; 70]).await.expect("stored");
    world
        .network
        .write(&member, &rkey(&manifest("one")), std::slice::from_ref(&named));
    let small = world.upload(&member, &[2; 5]).await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    // So far it is a twentieth. Another hold's come to light, of which none is due.
    let other = world.upload(&member, &[3; 25]).await.expect("stored");
    world.forget_uploads().await;
    let waiting = world.hold().gc.run().await.expect("a run");
    assert_eq!(waiting.state, RunState::Waiting);
    let reason = waiting.report.brake.expect("a reason");
    assert!(reason.contains("never named here"), "{reason}");
    assert!(world.is_stored(&small));
    let done = world.hold().gc.confirm(waiting.id).await.expect("carried out");
    assert_eq!(done.report.removed.blobs, 1);
    assert!(world.is_stored(&other) && world.is_stored(&named));
}

#[tokio::test]
async fn a_hold_does_not_start_in_a_store_of_another_hold() {
    let hold = TestHold::start(Setup::default()).await;
    let StorageSettings::Filesystem { path } = hold.settings.storage.clone() else {
        panic!("the test's store is a folder");
    };
    let did = hold.did().to_string();
    let stopped = hold.stop_to_restart().await;
    let owner = path.join(ObjectKey::owner().as_str());
    let written = std::fs::read_to_string(&owner).expect("a hold that collects nothing has it too");
    assert_eq!(written, did);
    std::fs::write(&owner, "did:web:other.test").expect("written");
    let refusal = stopped.refusal().await;
    assert!(
        refusal.contains("did:web:other.test") && refusal.contains("atcr-hold/owner"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_removal_that_fails_leaves_the_blob_as_it_was() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    world.collect().await;
    world.pass(GRACE);
    *world.is_store_broken.lock().expect("not poisoned") = true;
    let report = world.collect().await;
    assert_eq!(
        (report.removed.blobs, report.differences["the store failed"]),
        (0, 1)
    );
    assert!(!world.exists(&member, &blob).await, "it may still go");
    world.hold().gc.save().await.expect("saved");
    assert!(world.exists(&member, &blob).await);
}

#[tokio::test]
async fn who_only_asks_does_not_keep_garbage_for_ever() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world.forget_uploads().await;
    let mut rounds = 0;
    while world.is_stored(&blob) {
        world.collect().await;
        world.exists(&member, &blob).await;
        world.pass(GRACE);
        rounds += 1;
        assert!(rounds < 10, "it stays for ever");
    }
}

#[tokio::test]
async fn layer_records_of_manifests_that_are_gone_are_deleted() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    world
        .notify(&member, &manifest("one"), std::slice::from_ref(&blob))
        .await;
    world
        .network
        .write(&member, &rkey(&manifest("one")), std::slice::from_ref(&blob));
    assert_eq!(world.collect().await.records_deleted, 0);
    world.network.delete(&member, &rkey(&manifest("one")));
    let planned = world.hold().gc.plan().await.expect("a plan").report;
    assert_eq!((planned.records_to_delete, planned.records_deleted), (1, 0));
    assert_eq!(world.collect().await.records_deleted, 1);
    let usage = world.hold().repo.usage_of(&member).await.expect("readable");
    assert_eq!(usage.unique_blobs, 0);
}

#[tokio::test]
async fn a_blob_that_is_deleted_from_a_repository_is_there_for_the_others() {
    let world = World::open().await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    let key = rkey(&manifest("one"));
    world.network.write(&member, &key, std::slice::from_ref(&blob));
    let gc = &world.hold().gc;
    let unlink = async || {
        gc.unlink(&world.hold().blobs, &member, "app", &blob)
            .await
            .expect("an answer")
    };
    let Unlinked::Named { manifest: named } = unlink().await else {
        panic!("a manifest names it");
    };
    assert_eq!(named, manifest("one").to_string());
    world.network.delete(&member, &key);
    world.forget_uploads().await;
    world.collect().await;
    assert_eq!(gc.status().await.expect("an answer").condemned, 1);
    assert_eq!(unlink().await, Unlinked::Yes);
    assert_eq!(
        gc.status().await.expect("an answer").condemned,
        1,
        "whoever deletes it is promised nothing"
    );
    assert_eq!(unlink().await, Unlinked::Absent);
    for (repository, is_unlinked) in [("app", true), ("other", false)] {
        let found = gc
            .is_unlinked(&member, repository, &blob)
            .await
            .expect("an answer");
        assert_eq!(found, is_unlinked, "{repository}");
    }
    assert!(world.is_readable(&blob).await);
    gc.link(&member, Some("other"), &blob).await.expect("linked");
    assert!(gc.is_unlinked(&member, "app", &blob).await.expect("an answer"));
    gc.link(&member, Some("app"), &blob).await.expect("linked");
    assert!(!gc.is_unlinked(&member, "app", &blob).await.expect("an answer"));

    world.network.change(&member, |pds| pds.is_down = true);
    let refused = gc.unlink(&world.hold().blobs, &member, "app", &blob).await;
    assert!(
        refused.is_err(),
        "whether a manifest names it is not known: {refused:?}"
    );
}

#[tokio::test]
async fn a_blob_of_a_repository_is_deleted_by_its_owner_only_and_pushed_again() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let digest = hold.put_blob(&hold.captain, b"a layer").await;
    let path = format!("/repository-blobs/{digest}?repository=app");
    let anonymous = Answer::of(hold.request(Method::DELETE, &path)).await;
    assert_eq!(anonymous.error(), (401, "AuthRequired"));
    let token = hold.token(&hold.captain);
    let unread = Answer::of(hold.request(Method::DELETE, &path).bearer_auth(token)).await;
    assert_eq!(
        unread.status, 502,
        "the captain's account here has no server: {unread:?}"
    );

    // As a deletion leaves it.
    let table = atcr_hold::adapters::sqlite::SqliteGc::new(
        atcr_hold::adapters::sqlite::open(&hold.data_dir().join("hold.sqlite"))
            .await
            .expect("opens"),
    );
    let captain = &hold.captain.did;
    let unlink = async |digest: &Digest| {
        atcr_hold::gc::ports::GcTable::unlink(&table, captain, "app", digest, 1)
            .await
            .expect("an answer")
    };
    assert!(unlink(&digest).await && unlink(&digest).await);
    assert!(!unlink(&manifest("another")).await, "as many as are remembered");
    let head = async |repository: &str| {
        let path = format!("/xrpc/com.atproto.sync.getBlob?did={captain}&cid={digest}{repository}");
        Answer::of(hold.request(Method::HEAD, &path))
            .await
            .status
            .as_u16()
    };
    assert_eq!(head("&repository=app").await, 404);
    assert_eq!(head("&repository=other").await, 200);
    assert_eq!(head("").await, 200);
    hold.put_blob(&hold.captain, b"a layer").await;
    assert_eq!(head("&repository=app").await, 200);
    hold.stop().await;
}

#[derive(Debug)]
struct AnotherHolds;

#[async_trait]
impl StoreOwner for AnotherHolds {
    async fn claim(&self) -> Result<Option<String>, StoreError> {
        Ok(Some("did:web:other.test".to_owned()))
    }
}

/// Says at first that the store is this hold's.
#[derive(Debug, Default)]
struct ClaimedByAnotherLater(AtomicBool);

#[async_trait]
impl StoreOwner for ClaimedByAnotherLater {
    async fn claim(&self) -> Result<Option<String>, StoreError> {
        let is_later = self.0.swap(true, Ordering::SeqCst);
        Ok(is_later.then(|| "did:web:other.test".to_owned()))
    }
}

#[tokio::test]
async fn whose_the_store_is_is_asked_again_after_an_hour() {
    let mut world = World::open().await;
    world.owner = Arc::new(ClaimedByAnotherLater::default());
    world.restart(End::Stopped).await;
    let claim = async || world.hold().gc.claim_store_again().await.expect("an answer");
    assert_eq!(claim().await, None);
    world.pass(3599);
    assert_eq!(claim().await, None);
    world.pass(1);
    assert_eq!(claim().await.as_deref(), Some("did:web:other.test"));
}

#[tokio::test]
async fn nothing_is_collected_in_a_store_of_another_hold() {
    let mut world = World::open().await;
    world.owner = Arc::new(AnotherHolds);
    world.restart(End::Stopped).await;
    let refused = world.hold().gc.run().await;
    assert!(matches!(refused, Err(GcError::NotNow(reason)) if reason.contains("did:web:other.test")));
}

#[tokio::test]
async fn commands_reach_the_running_hold_over_its_socket() {
    let world = World::open().await;
    let member = world.members[1].clone();
    world.upload(&member, b"orphan").await.expect("stored");
    world.forget_uploads().await;
    let shutdown = Shutdown::new();
    let path = world.path().join("control.sock");
    drop(UnixListener::bind(&path).expect("a socket, which a process leaves behind"));
    let listener = control::listen(&path).expect("a socket");
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    control::serve(listener, world.hold().gc.clone(), &shutdown);
    let ask = async |method: &str, target: &str| {
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        let request = format!("{method} {target} HTTP/1.1\r\nHost: hold\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let planned = ask("POST", "/gc/plan").await;
    assert!(planned.contains(r#""state":"planned""#), "{planned}");
    assert!(
        planned.contains(r#""to_condemn":{"blobs":1,"bytes":6}"#),
        "{planned}"
    );
    let items = ask("GET", "/gc/items?run=1").await;
    assert!(items.contains(r#""action":"condemn""#), "{items}");
    let orphan = manifest("orphan");
    let rest = ask("GET", &format!("/gc/items?run=1&after={orphan}")).await;
    assert!(rest.ends_with("[]"), "{rest}");
    assert!(
        ask("GET", "/gc/status").await.contains(r#""condemned":0"#),
        "a plan changes nothing"
    );
    let run = ask("POST", "/gc/run").await;
    assert!(run.contains(r#""condemned":{"blobs":1,"bytes":6}"#), "{run}");
    let undone = ask("POST", "/gc/undo?run=2").await;
    assert!(undone.contains(r#""lifted":1"#), "{undone}");
    assert!(ask("POST", "/gc/undo?run=9").await.starts_with("HTTP/1.1 409"));
    shutdown.begin();
}
