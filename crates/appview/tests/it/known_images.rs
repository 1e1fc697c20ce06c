//! Pulls that are answered from the index and from kept bytes: without the owner's server, also while it is down, and never with a state
//! older than a push or a deletion that was acknowledged here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atcr_appview::adapters::sqlite::manifest_bytes::SqliteManifestBytes;
use atcr_appview::adapters::sqlite::{open_scratch, scratch_path};
use atcr_atproto::clock::{Clock as _, ManualClock};
use atcr_index::change::{Batch, Status, StatusStep, Step};
use atcr_index::ports::IndexWriter as _;
use atcr_index_sqlite::SqliteIndex;
use atcr_oci::{Algorithm, Digest, Manifest};
use atcr_registry::manifest::ports::KeptManifests as _;
use atcr_test_support::fakes::PdsFault;
use atcr_test_support::fakes::pds::original;
use bytes::Bytes;
use chrono::TimeDelta;

use crate::harness::{Answer, TestAppView, sha256};

const APP: &str = "alice.test/app";

/// An appview whose index follows its own writes.
async fn started() -> TestAppView {
    TestAppView::start_with(|config| config.index.enabled = true).await
}

fn path(reference: &str) -> String {
    format!("/v2/{APP}/manifests/{reference}")
}

/// What a stranger gets.
async fn pull(appview: &TestAppView, reference: &str) -> Answer {
    let scope = [("scope", format!("repository:{APP}:pull"))];
    let token = Answer::of(appview.get("/auth/token").query(&scope)).await.json();
    let token = token["token"].as_str().unwrap().to_owned();
    Answer::of(appview.get(&path(reference)).bearer_auth(token)).await
}

/// Alice's server answers no question about repositories any more, or does again.
fn set_down(appview: &TestAppView, is_down: bool) {
    for method in [
        "repo.getRecord",
        "repo.listRecords",
        "sync.getLatestCommit",
        "sync.getBlob",
        "sync.getRepo",
    ] {
        let fault = is_down.then_some(PdsFault::Status(502, "BadGateway"));
        appview.pds.set_fault(&format!("com.atproto.{method}"), fault);
    }
}

async fn write_to_index(appview: &TestAppView, step: Step) {
    let index = SqliteIndex::open(&appview.settings().paths.index).await.unwrap();
    let batch = Batch::of(step);
    index.apply(&batch, appview.clock.now()).await.unwrap();
    index.close().await;
}

/// A client elsewhere moves the tag `v1`.
fn move_elsewhere(appview: &TestAppView, to: &Manifest) {
    let tag = original::tag(&appview.alice, "app", "v1", sha256(to).as_str());
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", "app_v1", tag);
}

#[tokio::test]
async fn what_is_known_is_pulled_without_a_record_of_its_owner_also_after_a_restart() {
    let mut appview = started().await;
    let image = appview.image("known");
    let digest = sha256(&image);
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    appview.restart().await;
    appview.pds.forget_calls();
    for reference in ["v1", digest.as_str()] {
        let got = pull(&appview, reference).await;
        got.assert_status(200);
        assert_eq!(got.body, image.bytes());
        assert!(!got.has_header("warning"), "{}", got.header("warning"));
        assert_eq!(got.header("content-type"), image.media_type().as_str());
    }
    for method in ["com.atproto.repo.getRecord", "com.atproto.sync.getBlob"] {
        assert_eq!(appview.pds.count(method), 0, "{method}");
    }
    assert_eq!(appview.pds.count("com.atproto.sync.getLatestCommit"), 1);
}

#[tokio::test]
async fn a_server_that_is_down_stops_no_pull_of_what_is_known() {
    let mut appview = started().await;
    let image = appview.image("down");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    // A new process has nothing in memory.
    appview.restart().await;
    set_down(&appview, true);
    appview.pds.forget_calls();
    let host = appview.pds.url().replace("http://", "");
    for reference in ["v1", sha256(&image).as_str()] {
        let got = pull(&appview, reference).await;
        got.assert_status(200);
        assert_eq!(got.body, image.bytes());
        assert!(got.header("warning").contains(&host), "{}", got.header("warning"));
    }
    assert_eq!(
        appview.pds.count("com.atproto.sync.getLatestCommit"),
        1,
        "a server that said nothing is not asked again for a while"
    );
    // Its layers come from the hold.
    let scope = [("scope", format!("repository:{APP}:pull"))];
    let token = Answer::of(appview.get("/auth/token").query(&scope)).await.json();
    let layer = format!("/v2/{APP}/blobs/{}", image.layers()[0].digest);
    let layer = appview.get(&layer).bearer_auth(token["token"].as_str().unwrap());
    Answer::of(layer).await.assert_status(307);
    pull(&appview, "unheard-of")
        .await
        .assert_error(503, "UNAVAILABLE");

    set_down(&appview, false);
    appview.restart().await;
    let got = pull(&appview, "v1").await;
    got.assert_status(200);
    assert!(!got.has_header("warning"), "{}", got.header("warning"));
}

#[tokio::test]
async fn an_account_that_is_hidden_is_not_served_while_its_server_is_down() {
    let mut appview = started().await;
    let image = appview.image("hidden");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    let status = |status, minutes| {
        Step::Status(StatusStep {
            did: appview.alice.parse().unwrap(),
            status,
            at: appview.clock.now() + TimeDelta::minutes(minutes),
        })
    };
    let (hidden, back) = (status(Status::Deactivated, 1), status(Status::Active, 2));
    write_to_index(&appview, hidden).await;
    appview.restart().await;
    set_down(&appview, true);
    pull(&appview, "v1").await.assert_error(503, "UNAVAILABLE");
    write_to_index(&appview, back).await;
    pull(&appview, "v1").await.assert_status(200);
}

#[tokio::test]
async fn a_server_that_refuses_is_believed_and_not_passed_over() {
    let mut appview = started().await;
    let image = appview.image("refused");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    appview.restart().await;
    let fault = Some(PdsFault::Status(400, "RepoDeactivated"));
    appview.pds.set_fault("com.atproto.sync.getLatestCommit", fault);
    appview.pds.set_fault("com.atproto.repo.getRecord", fault);
    assert_eq!(pull(&appview, "v1").await.status.as_u16(), 502);
}

#[tokio::test]
async fn no_reader_sees_a_state_from_before_an_acknowledged_push_or_deletion() {
    let appview = started().await;
    let images: Vec<Manifest> = (0..16)
        .map(|number| appview.image(&format!("image {number}")))
        .collect();
    let digests: Vec<Digest> = images.iter().map(sha256).collect();
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &images[0]).await;
    let acknowledged = AtomicUsize::new(0);
    let write = async {
        for (number, image) in images.iter().enumerate().skip(1) {
            alice.push(APP, "v1", image).await;
            acknowledged.store(number, Ordering::SeqCst);
        }
    };
    let read = async || {
        while acknowledged.load(Ordering::SeqCst) + 1 < images.len() {
            let at_least = acknowledged.load(Ordering::SeqCst);
            let got = alice.get(&path("v1")).await;
            got.assert_status(200);
            let seen = digests
                .iter()
                .position(|digest| digest.as_str() == got.header("docker-content-digest"));
            assert!(seen >= Some(at_least), "{seen:?} is older than {at_least}");
        }
    };
    tokio::join!(write, read(), read(), read());

    let last = &digests[images.len() - 1];
    alice.delete(&path("v1")).await.assert_status(202);
    alice.get(&path("v1")).await.assert_error(404, "MANIFEST_UNKNOWN");
    alice.get(&path(last.as_str())).await.assert_status(200);
    alice.delete(&path(last.as_str())).await.assert_status(202);
    alice
        .get(&path(last.as_str()))
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_server_that_is_down_brings_no_state_from_before_an_acknowledged_push_back() {
    let mut appview = started().await;
    let (first, second) = (appview.image("first"), appview.image("second"));
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &first)
        .await;
    // The index misses the second push.
    let path = appview.settings().paths.index;
    let other = appview.data().join("other.db");
    appview.configure(|config| config.index.database_path = other);
    appview.restart().await;
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &second)
        .await;
    set_down(&appview, true);
    appview.configure(|config| config.index.database_path = path);
    appview.restart().await;
    pull(&appview, "v1").await.assert_error(503, "UNAVAILABLE");
    set_down(&appview, false);
    appview.restart().await;
    assert_eq!(pull(&appview, "v1").await.body, second.bytes());
}

#[tokio::test]
async fn what_was_written_elsewhere_is_seen_when_the_revision_is_asked_for_or_heard_of() {
    let mut appview = started().await;
    let (first, second) = (appview.image("first"), appview.image("second"));
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &first).await;
    alice.push(APP, "v2", &second).await;
    // A stream says that there is a later revision.
    move_elsewhere(&appview, &second);
    let head_seen = |appview: &TestAppView| Step::HeadSeen {
        did: appview.alice.parse().unwrap(),
        rev: appview.pds.rev(&appview.alice).unwrap().parse().unwrap(),
    };
    write_to_index(&appview, head_seen(&appview)).await;
    assert_eq!(pull(&appview, "v1").await.body, second.bytes());
    // Nothing says it, but a new process asks.
    move_elsewhere(&appview, &first);
    appview.restart().await;
    assert_eq!(pull(&appview, "v1").await.body, first.bytes());
    appview.pds.delete_record(&appview.alice, "io.atcr.tag", "app_v1");
    appview.restart().await;
    pull(&appview, "v1").await.assert_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn kept_bytes_that_are_damaged_are_fetched_again() {
    let mut appview = started().await;
    let image = appview.image("damaged");
    let digest = sha256(&image);
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    appview.stop().await;
    let scratch = open_scratch(&scratch_path(&appview.settings().paths.database))
        .await
        .unwrap();
    let damaged = sqlx::query("UPDATE manifest_bytes SET bytes = x'7b7d' WHERE digest = ?")
        .bind(digest.as_str())
        .execute(scratch.writer())
        .await
        .unwrap();
    assert_eq!(damaged.rows_affected(), 1);
    scratch.close().await;
    appview.restart().await;
    assert_eq!(pull(&appview, "v1").await.body, image.bytes());
    assert_eq!(appview.pds.count("com.atproto.sync.getBlob"), 1);
    appview.restart().await;
    assert_eq!(pull(&appview, "v1").await.body, image.bytes());
    assert_eq!(
        appview.pds.count("com.atproto.sync.getBlob"),
        1,
        "they were kept again"
    );
}

#[tokio::test]
async fn kept_bytes_stay_within_their_bound_and_the_longest_unused_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_scratch(&folder.path().join("scratch.db")).await.unwrap();
    let clock = ManualClock::host();
    let kept = SqliteManifestBytes::new(database.clone(), 10_000, Arc::clone(&clock) as _);
    let manifest = |number: u8| Bytes::from(vec![number; 1_000]);
    let digest = |bytes: &Bytes| Digest::of(Algorithm::Sha256, bytes);
    for number in 0..10 {
        kept.keep("pds.test", &digest(&manifest(number)), &manifest(number))
            .await
            .unwrap();
        clock.advance(TimeDelta::hours(1));
    }
    // The first one is used again, so the second and third make room for two more.
    assert_eq!(kept.find(&digest(&manifest(0))).await.unwrap(), Some(manifest(0)));
    clock.advance(TimeDelta::hours(1));
    for number in 10..12 {
        kept.keep("pds.test", &digest(&manifest(number)), &manifest(number))
            .await
            .unwrap();
    }
    let mut found = Vec::new();
    for number in 0..12 {
        if kept.find(&digest(&manifest(number))).await.unwrap().is_some() {
            found.push(number);
        }
    }
    assert_eq!(found, [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    // What is longer than all of it pushes nothing out.
    let long = Bytes::from(vec![99; 10_001]);
    kept.keep("pds.test", &digest(&long), &long).await.unwrap();
    assert_eq!(kept.find(&digest(&long)).await.unwrap(), None);
    assert!(kept.find(&digest(&manifest(11))).await.unwrap().is_some());
    database.close().await;
}

#[tokio::test]
async fn a_host_with_ever_new_manifests_pushes_out_its_own_before_those_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_scratch(&folder.path().join("scratch.db")).await.unwrap();
    let clock = ManualClock::host();
    let kept = SqliteManifestBytes::new(database.clone(), 10_000, Arc::clone(&clock) as _);
    let manifest = |number: u8| Bytes::from(vec![number; 1_000]);
    let digest = |bytes: &Bytes| Digest::of(Algorithm::Sha256, bytes);
    for number in 0..30 {
        let host = if number < 6 { "old.test" } else { "busy.test" };
        kept.keep(host, &digest(&manifest(number)), &manifest(number))
            .await
            .unwrap();
        clock.advance(TimeDelta::seconds(1));
    }
    let mut found = Vec::new();
    for number in 0..30 {
        if kept.find(&digest(&manifest(number))).await.unwrap().is_some() {
            found.push(number);
        }
    }
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 26, 27, 28, 29]);
    database.close().await;
}

/// Does `statement` to the database of what can be fetched again.
async fn change_scratch(appview: &TestAppView, statement: &'static str) {
    let scratch = open_scratch(&scratch_path(&appview.settings().paths.database))
        .await
        .unwrap();
    sqlx::query(statement).execute(scratch.writer()).await.unwrap();
    scratch.close().await;
}

#[tokio::test]
async fn bytes_that_are_served_from_memory_are_used() {
    let appview = started().await;
    let image = appview.image("used");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    let scratch = open_scratch(&scratch_path(&appview.settings().paths.database))
        .await
        .unwrap();
    let used_at = async || -> i64 {
        let row = sqlx::query_scalar("SELECT used_at FROM manifest_bytes WHERE digest = ?");
        row.bind(sha256(&image).to_string())
            .fetch_one(scratch.readers())
            .await
            .unwrap()
    };
    let kept_at = used_at().await;
    appview.clock.advance(TimeDelta::hours(2));
    assert_eq!(pull(&appview, "v1").await.body, image.bytes());
    assert_eq!(used_at().await - kept_at, 2 * 60 * 60);
    scratch.close().await;
}

#[tokio::test]
async fn bytes_that_are_here_are_served_although_their_use_cannot_be_noted() {
    let mut appview = started().await;
    let image = appview.image("noted");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    appview.stop().await;
    for statement in [
        "CREATE TRIGGER no_use BEFORE UPDATE ON manifest_bytes BEGIN SELECT raise(ABORT, 'read only'); END",
        "DROP TABLE manifest_blob",
        "DELETE FROM manifest",
    ] {
        change_scratch(&appview, statement).await;
    }
    appview.clock.advance(TimeDelta::hours(2));
    for is_down in [false, true] {
        set_down(&appview, is_down);
        appview.restart().await;
        appview.pds.forget_calls();
        let got = pull(&appview, "v1").await;
        got.assert_status(200);
        assert_eq!(got.body, image.bytes());
        assert_eq!(got.has_header("warning"), is_down);
        assert_eq!(appview.pds.count("com.atproto.sync.getBlob"), 0);
    }
}

#[tokio::test]
async fn a_server_that_does_not_say_its_revision_is_asked_for_what_is_not_kept() {
    let mut appview = TestAppView::start_with(|config| {
        config.index.enabled = true;
        config.registry.kept_manifest_bytes = 0;
    })
    .await;
    let image = appview.image("not kept");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    let fault = Some(PdsFault::Status(503, "Unavailable"));
    appview.pds.set_fault("com.atproto.sync.getLatestCommit", fault);
    for reference in ["v1", sha256(&image).as_str()] {
        // What was fetched once is held in memory.
        appview.restart().await;
        let got = pull(&appview, reference).await;
        got.assert_status(200);
        assert_eq!(got.body, image.bytes());
        assert!(!got.has_header("warning"), "{}", got.header("warning"));
    }
}
