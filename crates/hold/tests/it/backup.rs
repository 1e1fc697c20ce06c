//! The repository's backup: what is in it, and the way back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::{Clock, ManualClock, SystemClock};
use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::syntax::{Did, Tid};
use atcr_hold::adapters::filesystem::FolderBackup;
use atcr_hold::adapters::s3::{S3Backup, S3Options};
use atcr_hold::backup::{
    Backup, BackupError, BackupStore, Listed, check, download, life, one_piece, read_whole,
};
use atcr_hold::blobs::{ObjectBytes, StoreError};
use atcr_hold::config::DidMethod;
use atcr_hold::settings::BackupSettings;
use atcr_hold_pds::{HoldRepo, Message, Progress, RepoError, RepoOptions, Seen, restore};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::directory::Directory;
use crate::harness::{Setup, TestHold};
use crate::object_store::servers::{
    ACCESS_KEY, BUCKET, SECRET_KEY, Serving, Versitygw, s3s_router, versitygw_binary,
};

/// A place for backups, and what keeps it alive.
struct Place {
    store: Arc<dyn BackupStore>,
    serving: Option<Serving>,
    _versitygw: Option<Versitygw>,
    _dir: TempDir,
}

fn s3(endpoint: &str) -> Arc<dyn BackupStore> {
    let options = S3Options {
        bucket: BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.parse().expect("a URL")),
        path_style: true,
        pull_zone: None,
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned().into(),
    };
    Arc::new(S3Backup::new(&options, "hold/repository"))
}

#[expect(clippy::print_stderr, reason = "says what is not tried")]
async fn places() -> Vec<Place> {
    let dir = tempfile::tempdir().expect("a folder");
    let mut places = vec![Place {
        store: Arc::new(FolderBackup::new(dir.path().join("backup"))),
        serving: None,
        _versitygw: None,
        _dir: dir,
    }];
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join(BUCKET)).expect("a bucket");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    places.push(Place {
        store: s3(&format!("http://{addr}")),
        serving: Some(Serving::start(&listener, s3s_router(dir.path()))),
        _versitygw: None,
        _dir: dir,
    });
    match versitygw_binary() {
        Some(binary) => {
            let dir = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(dir.path().join(BUCKET)).expect("a bucket");
            let versitygw = Versitygw::start(&binary, dir.path()).await;
            places.push(Place {
                store: s3(&format!("http://{}", versitygw.addr)),
                serving: None,
                _versitygw: Some(versitygw),
                _dir: dir,
            });
        }
        None => eprintln!("SKIPPED: ATCR_VERSITYGW names no binary, backups are not tried against versitygw"),
    }
    places
}

async fn whole(store: &dyn BackupStore, name: &str) -> Option<Bytes> {
    let found = store.get(name).await.expect("the store works")?;
    Some(read_whole(found, 64 << 20).await.expect("readable"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_keeps_what_it_is_given_under_its_name() {
    for place in places().await {
        let store = &*place.store;
        assert_eq!(whole(store, "a/b").await, None);
        // More than one part of a multipart upload.
        let long: Bytes = (0..(17 << 20) + 5_u32)
            .map(|number| number.to_le_bytes()[1])
            .collect();
        for content in [Bytes::from_static(b"short"), long, Bytes::from_static(b"again")] {
            let size = content.len() as u64;
            store
                .put("a/b", one_piece(content.clone()), size)
                .await
                .expect("stored");
            assert!(whole(store, "a/b").await == Some(content), "{}", store.place());
        }
        let create = |text: &'static [u8]| store.create("a/c", Bytes::from_static(text));
        assert!(create(b"first").await.expect("stored"));
        let second = create(b"second").await.expect("answered");
        let found = whole(store, "a/c").await.expect("there");
        // A store that knows no conditions takes the second; `life::begin` finds that out by reading.
        assert_eq!(found, if second { "second" } else { "first" });
        let mut listed = store.list("a", 2).await.expect("listed");
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let named = |name: &str, bytes| Listed {
            name: name.to_owned(),
            bytes,
        };
        assert_eq!(listed, [named("a/b", 5), named("a/c", found.len() as u64)]);
        store.list("a", 1).await.expect_err("more than that");
        assert_eq!(store.list("none", 1).await.expect("listed"), []);
        store.delete("a/b").await.expect("removed");
        store.delete("a/b").await.expect("none is fine");
        assert_eq!(whole(store, "a/b").await, None);
        if let Some(serving) = place.serving {
            serving.stop().await;
        }
    }
}

#[tokio::test]
async fn a_list_of_a_bucket_that_is_cut_off_or_lacks_a_size_is_not_taken_for_a_whole_one() {
    const WHOLE: &str = "<Size>7</Size>";
    for (is_truncated, size, is_whole) in [(false, WHOLE, true), (true, WHOLE, false), (false, "", false)] {
        let answer = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>\
             <Contents><Key>hold/repository/a/b</Key>{size}</Contents></ListBucketResult>"
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let router = axum::Router::new().fallback(move || std::future::ready(answer.clone()));
        let serving = Serving::start(&listener, router);
        let listed = s3(&format!("http://{addr}")).list("a", 10).await;
        assert_eq!(listed.is_ok(), is_whole, "{listed:?}");
        serving.stop().await;
    }
}

#[tokio::test]
async fn lives_are_counted_and_an_older_one_notices_a_newer_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = FolderBackup::new(dir.path());
    let did: Did = "did:web:hold.test%3A80".parse().expect("a DID");
    assert_eq!(life::newest(&store, &did).await.expect("asked"), 0);
    let mut lives = Vec::new();
    for expected in 1..=9 {
        let life = life::begin(&store, &did).await.expect("begun");
        assert_eq!(life.number, expected);
        assert_eq!(life::newest(&store, &did).await.expect("asked"), expected);
        lives.push(life);
    }
    life::check(&store, &did, &lives[8]).await.expect("the newest");
    let error = life::check(&store, &did, &lives[7])
        .await
        .expect_err("taken over");
    assert!(
        matches!(error, BackupError::OtherLife { ours: 8, theirs: 9 }),
        "{error}"
    );
    let (left, right) = tokio::join!(life::begin(&store, &did), life::begin(&store, &did));
    let mut both = [left.expect("begun").number, right.expect("begun").number];
    both.sort_unstable();
    assert_eq!(both, [10, 11]);
}

async fn hold_with_backup(folder: &Path) -> TestHold {
    let folder = folder.display().to_string();
    TestHold::start_with(Setup::default(), move |config| config.backup.path = folder).await
}

async fn add_crew(hold: &TestHold, count: usize) {
    for number in 0..count {
        let record = CrewRecord::new(
            format!("did:web:sailor{number}.test").parse().expect("a DID"),
            "member",
            ["blob:read"],
            SystemClock.now_datetime(),
        );
        atcr_hold_pds::records::crew::ensure(hold.hold.repo(), &record)
            .await
            .expect("written");
    }
}

async fn records(repo: &HoldRepo) -> Vec<String> {
    let page = repo
        .list_records("io.atcr.hold.crew", 1000, None, true)
        .await
        .expect("readable");
    page.records
        .into_iter()
        .map(|record| record.uri.to_string())
        .collect()
}

/// Restores what `store` has into a new folder.
async fn restored(
    hold: &TestHold,
    store: &dyn BackupStore,
    dir: &Path,
) -> (RepoOptions, atcr_hold_pds::Restored) {
    let head = download::newest_head(store, hold.did()).await.expect("a backup");
    let copy = dir.join("copy");
    std::fs::create_dir(&copy).expect("made");
    download::download(store, &head, &copy, |_| ())
        .await
        .expect("downloaded");
    let key = SigningKey::load(&hold.settings.key_path, Curve::K256)
        .expect("readable")
        .expect("a key");
    let options = RepoOptions::new(dir.join("repo"), hold.did().clone(), key);
    let clock = Arc::new(SystemClock);
    let restored = restore(&copy, options.clone(), Vec::new(), clock, Progress::none())
        .await
        .expect("restored");
    let downloaded = head.files.iter().map(|file| file.bytes()).sum();
    let taken = bytes_in(&copy) + bytes_in(&options.dir);
    let room = RepoOptions::restore_room(downloaded);
    assert!(taken <= room, "{taken} bytes are more than {room}");
    (options, restored)
}

fn bytes_in(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").metadata().expect("readable").len())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_every_acknowledged_record_and_the_restored_chain_goes_on() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    let store = FolderBackup::new(place.path());
    hold.hold.back_up().await.expect("copied");
    add_crew(&hold, 3).await;
    hold.hold.repo().write_snapshot().await.expect("written");
    hold.hold.back_up().await.expect("copied");
    add_crew(&hold, 6).await;
    hold.hold.back_up().await.expect("copied");
    let repo = hold.hold.repo();
    let (seq, head, expected) = (
        *repo.watch_seq().borrow(),
        repo.latest_commit(),
        records(repo).await,
    );

    let dir = tempfile::tempdir().expect("a folder");
    let (options, done) = restored(&hold, &store, dir.path()).await;
    assert_eq!((done.from_seq, &done.from_rev), (seq, &head.rev));
    assert!(done.seq > seq + 3_600_000_000 && done.rev > head.rev);
    let again = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .expect("opens");
    again.verify().await.expect("whole");
    assert_eq!(records(&again).await, expected);
    let events = again.events_after(seq, 10).await.expect("readable");
    let kinds: Vec<Message> = events
        .iter()
        .map(|event| event.decode().expect("decodes"))
        .collect();
    let [Message::Commit(commit), Message::Sync(sync)] = &kinds[..] else {
        panic!("{kinds:?}");
    };
    assert_eq!(commit.since.as_ref(), Some(&head.rev), "who has seen all goes on");
    assert!(commit.ops.is_empty() && sync.rev == commit.rev);
    // What a subscriber that was away needs is there as well.
    let old = hold.hold.repo().events_after(0, 1000).await.expect("readable");
    let kept = again.events_after(0, old.len()).await.expect("readable");
    assert_eq!(kept, old);
    again.close().await;
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_was_taken_over_writes_no_more() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    hold.hold.back_up().await.expect("copied");
    life::begin(&FolderBackup::new(place.path()), hold.did())
        .await
        .expect("another one begins");
    hold.hold.back_up().await.expect_err("taken over");
    let member = json!({
        "$type": "io.atcr.hold.crew", "member": "did:web:late.test", "role": "member", "permissions": [],
        "addedAt": "2026-11-01T00:00:00.000Z",
    });
    let input = json!({ "repo": hold.did(), "collection": "io.atcr.hold.crew", "record": member });
    let answer = hold
        .call("com.atproto.repo.createRecord", Some(&hold.captain), &input)
        .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let ready = hold.get("/readyz").send().await.expect("an answer");
    assert_eq!(ready.status(), 503);
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_folder_is_not_written() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    let repo_dir = hold.data_dir().join("repo");
    let older = tempfile::tempdir().expect("a folder");
    let hold = hold.restart(|_| ()).await;
    for entry in std::fs::read_dir(&repo_dir).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), older.path().join(entry.file_name())).expect("copied");
    }
    add_crew(&hold, 2).await;
    hold.hold.back_up().await.expect("copied");
    let lives = life::newest(&FolderBackup::new(place.path()), hold.did())
        .await
        .expect("lives");
    // What the copy itself has written is newer than the backup, and makes it no newer. It knows no backup while it does that.
    let key = SigningKey::load(&hold.settings.key_path, Curve::K256)
        .expect("readable")
        .expect("a key");
    let options = RepoOptions::new(older.path().to_owned(), hold.did().clone(), key);
    let copy = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .expect("opens");
    copy.introduce().await.expect("written");
    let clock = Arc::new(SystemClock);
    let backup = Backup::new(copy.clone(), Arc::new(FolderBackup::new(place.path())), clock);
    let error = backup.round().await.expect_err("older");
    assert!(matches!(error, BackupError::OlderCopy { .. }), "{error}");
    copy.close().await;
    let taken = older.path().to_owned();
    let hold = hold
        .restart(move |_| {
            std::fs::remove_dir_all(&repo_dir).expect("removed");
            std::fs::create_dir(&repo_dir).expect("made");
            for entry in std::fs::read_dir(taken).expect("a folder") {
                let entry = entry.expect("an entry");
                std::fs::copy(entry.path(), repo_dir.join(entry.file_name())).expect("copied");
            }
        })
        .await;
    assert!(!hold.hold.repo().is_writable(), "before the first round");
    let error = hold.hold.back_up().await.expect_err("older");
    assert!(matches!(error, BackupError::OlderCopy { .. }), "{error}");
    let announced = hold.hold.repo().introduce().await;
    assert!(
        matches!(announced, Err(RepoError::Halted { .. })),
        "{announced:?}"
    );
    let after = life::newest(&FolderBackup::new(place.path()), hold.did()).await;
    assert_eq!(
        after.expect("lives"),
        lives,
        "the hold that may go on is not stopped"
    );
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_the_open_segment_are_joined_and_what_is_not_needed_is_removed() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    let store = FolderBackup::new(place.path());
    for round in 0..70 {
        let record = CrewRecord::new(
            format!("did:web:sailor{round}.test").parse().expect("a DID"),
            "member",
            ["blob:read"],
            hold.clock.now_datetime(),
        );
        atcr_hold_pds::records::crew::ensure(hold.hold.repo(), &record)
            .await
            .expect("written");
        hold.hold.back_up().await.expect("copied");
        let head = download::newest_head(&store, hold.did()).await.expect("a backup");
        let named: usize = head.files.iter().map(|file| file.objects.len()).sum();
        assert!(named <= 65, "{named} objects");
        let log = place
            .path()
            .join(hold.did().as_str().replace([':', '%'], "_"))
            .join(&head.log_id)
            .join("log");
        let there = std::fs::read_dir(log).expect("a folder").count();
        assert_eq!(there, named, "round {round}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (options, _) = restored(&hold, &store, dir.path()).await;
    let again = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .expect("opens");
    assert_eq!(records(&again).await.len(), 71);
    let export: Vec<Bytes> = again.export_car(None).try_collect().await.expect("exported");
    assert!(!export.is_empty());
    again.close().await;
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_folder_does_not_become_a_new_hold_while_there_is_a_backup() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    hold.hold.back_up().await.expect("copied");
    assert_eq!(hold.hold.backup_behind(), Some(Duration::ZERO));
    let (settings, identities) = (hold.settings.clone(), hold.identities.clone());
    let dir = hold.stop_keeping().await;
    std::fs::remove_dir_all(settings.data_dir.join("repo")).expect("removed");
    std::fs::remove_dir_all(&settings.data_dir).expect("removed");
    let surroundings = atcr_hold::compose::Surroundings {
        ticks: std::sync::Arc::new(atcr_hold::gc::ports::ProcessTicks::start()),
        clock: Arc::new(SystemClock),
        resolver: identities,
        shutdown: atcr_server::Shutdown::new(),
        egress: crate::harness::egress(),
    };
    let error = atcr_hold::compose::Hold::open(&settings, surroundings)
        .await
        .expect_err("lost, not new");
    assert!(error.to_string().contains("atcr-hold repo restore"), "{error}");
    drop(dir);
}

/// Everything below a folder of the place, with its bytes.
async fn names(store: &FolderBackup, folder: &str) -> Vec<Listed> {
    let mut names = store.list(folder, 1000).await.expect("listed");
    names.sort_by(|a, b| a.name.cmp(&b.name));
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_vanishes_from_the_backup_is_noticed_at_the_start_and_once_a_day_and_uploaded_again() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    let store = FolderBackup::new(place.path());
    add_crew(&hold, 2).await;
    hold.hold.repo().write_snapshot().await.expect("written");
    add_crew(&hold, 4).await;
    hold.hold.back_up().await.expect("copied");
    add_crew(&hold, 6).await;
    hold.hold.back_up().await.expect("copied");
    let account = hold.did().as_str().replace([':', '%'], "_");
    let remove = |name: &str| std::fs::remove_file(place.path().join(name)).expect("removed");

    let clock = ManualClock::host();
    let backup = Backup::new(
        hold.hold.repo().clone(),
        Arc::new(store.clone()),
        clock.clone() as Arc<dyn Clock>,
    );
    // The next start finds that a part of the log and the snapshot are gone.
    let all = names(&store, &account).await;
    let gone: Vec<&Listed> = all
        .iter()
        .filter(|listed| listed.name.contains("/snap/") || listed.name.contains("/log/"))
        .collect();
    assert!(gone.len() >= 3, "{gone:?}");
    remove(&gone[0].name);
    remove(&gone[gone.len() - 1].name);
    let head = download::newest_head(&store, hold.did()).await.expect("a backup");
    let dir = tempfile::tempdir().expect("a folder");
    let error = download::download(&store, &head, dir.path(), |_| ())
        .await
        .expect_err("not whole");
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    backup.round().await.expect("copied");
    let head = download::newest_head(&store, hold.did()).await.expect("a backup");
    assert!(check::incomplete(&store, &head).await.expect("listed").is_empty());
    restored(&hold, &store, tempfile::tempdir().expect("a folder").path()).await;

    // Later it takes a day.
    let head_of_life = format!("{account}/head/2");
    let lost = [head_of_life.clone(), format!("{account}/epoch/2")];
    let object = names(&store, &format!("{account}/{}", head.log_id))
        .await
        .remove(0);
    for name in lost.iter().chain([&object.name]) {
        remove(name);
    }
    clock.advance(TimeDelta::hours(23));
    backup.round().await.expect("nothing to do");
    assert!(whole(&store, &head_of_life).await.is_none());
    clock.advance(TimeDelta::hours(2));
    backup.round().await.expect("copied");
    for name in lost.iter().chain([&object.name]) {
        assert!(whole(&store, name).await.is_some(), "{name}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (options, _) = restored(&hold, &store, dir.path()).await;
    let again = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .expect("opens");
    assert_eq!(records(&again).await, records(hold.hold.repo()).await);
    again.close().await;

    // Another process took over, and the note right after ours is gone.
    life::begin(&store, hold.did()).await.expect("begun");
    life::begin(&store, hold.did()).await.expect("begun");
    remove(&format!("{account}/epoch/3"));
    clock.advance(TimeDelta::hours(25));
    let error = backup.round().await.expect_err("taken over");
    assert!(
        matches!(error, BackupError::OtherLife { ours: 2, theirs: 4 }),
        "{error}"
    );
    hold.stop().await;
}

#[tokio::test]
async fn lives_are_found_although_a_rule_of_the_bucket_removes_old_objects() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = FolderBackup::new(dir.path());
    let did: Did = "did:web:hold.test".parse().expect("a DID");
    for _ in 0..7 {
        life::begin(&store, &did).await.expect("begun");
    }
    for life in 1..=5 {
        store
            .delete(&format!("did_web_hold.test/epoch/{life}"))
            .await
            .expect("removed");
    }
    assert_eq!(life::newest(&store, &did).await.expect("asked"), 7);
    let head = one_piece(Bytes::from_static(b"{}"));
    store
        .put("did_web_hold.test/head/9", head, 2)
        .await
        .expect("stored");
    assert_eq!(life::begin(&store, &did).await.expect("begun").number, 10);
    let absurd = one_piece(Bytes::new());
    store
        .put(&format!("did_web_hold.test/epoch/{}", u64::MAX), absurd, 0)
        .await
        .expect("stored");
    life::begin(&store, &did).await.expect_err("no number is left");
    let error = download::newest_head(&store, &did).await.expect_err("damaged");
    assert!(error.to_string().contains("did_web_hold.test/head/9"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_pointer_is_kept_however_many_lives_came_after_it() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    hold.hold.back_up().await.expect("copied");
    let store = FolderBackup::new(place.path());
    let account = hold.did().as_str().replace([':', '%'], "_");
    let far = one_piece(Bytes::new());
    store
        .put(&format!("{account}/epoch/5000"), far, 0)
        .await
        .expect("stored");
    // A life that ends in its first round, after it looked through what is there.
    let before = download::newest_head(&store, hold.did()).await.expect("a backup");
    let failing = Arc::new(NoUploads(store.clone()));
    let backup = Backup::new(hold.hold.repo().clone(), failing, Arc::new(SystemClock));
    add_crew(&hold, 1).await;
    backup.round().await.expect_err("no upload");
    let after = download::newest_head(&store, hold.did())
        .await
        .expect("still a backup");
    assert_eq!(after.seq, before.seq);
    hold.stop().await;
}

/// A place that takes notes, and nothing long.
#[derive(Debug)]
struct NoUploads(FolderBackup);

#[async_trait]
impl BackupStore for NoUploads {
    fn place(&self) -> String {
        self.0.place()
    }

    async fn put(&self, _: &str, _: ObjectBytes, _: u64) -> Result<(), StoreError> {
        Err(StoreError::Full("no room".into()))
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<bool, StoreError> {
        self.0.create(name, content).await
    }

    async fn get(&self, name: &str) -> Result<Option<ObjectBytes>, StoreError> {
        self.0.get(name).await
    }

    async fn list(&self, folder: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.0.list(folder, limit).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.0.delete(name).await
    }

    async fn remove_unfinished(&self, folder: &str, before: DateTime<Utc>) -> Result<usize, StoreError> {
        self.0.remove_unfinished(folder, before).await
    }
}

/// A place in memory that knows no conditional writes. Two processes look which life is the newest before the first of them writes its
/// note, and the second one writes after that.
#[derive(Debug, Default)]
struct Unconditional {
    objects: Mutex<BTreeMap<String, Bytes>>,
    first: OnceLock<Bytes>,
    lists: AtomicUsize,
    is_silent: bool,
}

impl Unconditional {
    fn has(&self, name: &str) -> bool {
        self.objects.lock().expect("not poisoned").contains_key(name)
    }
}

#[async_trait]
impl BackupStore for Unconditional {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn put(&self, name: &str, content: ObjectBytes, _: u64) -> Result<(), StoreError> {
        let content = read_whole(content, 1 << 20).await?;
        self.objects
            .lock()
            .expect("not poisoned")
            .insert(name.to_owned(), content);
        Ok(())
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<bool, StoreError> {
        let is_first = *self.first.get_or_init(|| content.clone()) == content;
        // Each of them lists notes and pointers.
        while (is_first && self.lists.load(Ordering::Relaxed) < 4)
            || (!is_first && name.ends_with("/1") && !self.has(name))
        {
            tokio::task::yield_now().await;
        }
        self.objects
            .lock()
            .expect("not poisoned")
            .insert(name.to_owned(), content);
        Ok(true)
    }

    async fn get(&self, name: &str) -> Result<Option<ObjectBytes>, StoreError> {
        let found = self.objects.lock().expect("not poisoned").get(name).cloned();
        Ok(found.map(one_piece))
    }

    async fn list(&self, folder: &str, _: usize) -> Result<Vec<Listed>, StoreError> {
        if self.is_silent {
            std::future::pending::<()>().await;
        }
        self.lists.fetch_add(1, Ordering::Relaxed);
        let objects = self.objects.lock().expect("not poisoned");
        let below = objects.iter().filter(|(name, _)| name.starts_with(folder));
        let listed = below.map(|(name, bytes)| Listed {
            name: name.clone(),
            bytes: bytes.len() as u64,
        });
        Ok(listed.collect())
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.objects.lock().expect("not poisoned").remove(name);
        Ok(())
    }

    async fn remove_unfinished(&self, _: &str, _: DateTime<Utc>) -> Result<usize, StoreError> {
        Ok(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_does_not_wait_for_a_place_that_says_nothing() {
    let store = Unconditional {
        is_silent: true,
        ..Unconditional::default()
    };
    let did: Did = "did:web:hold.test".parse().expect("a DID");
    let error = download::newest_head_soon(&store, &did)
        .await
        .expect_err("no answer");
    assert!(matches!(error, BackupError::NoAnswer { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn two_processes_do_not_get_one_life_where_the_last_write_stays() {
    let store = Unconditional::default();
    let did: Did = "did:web:hold.test".parse().expect("a DID");
    let (left, right) = tokio::join!(life::begin(&store, &did), life::begin(&store, &did));
    let (left, right) = (left.expect("begun"), right.expect("begun"));
    assert_ne!(left.number, right.number);
    let (older, newer) = if left.number < right.number {
        (left, right)
    } else {
        (right, left)
    };
    life::check(&store, &did, &older).await.expect_err("taken over");
    life::check(&store, &did, &newer).await.expect("the newest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_number_another_one_has_written_over_writes_no_more() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    hold.hold.back_up().await.expect("copied");
    let account = hold.did().as_str().replace([':', '%'], "_");
    let note = Bytes::from_static(b"{\"process\":\"another one\"}");
    let size = note.len() as u64;
    let store = FolderBackup::new(place.path());
    store
        .put(&format!("{account}/epoch/1"), one_piece(note), size)
        .await
        .expect("stored");
    let error = hold.hold.back_up().await.expect_err("taken over");
    assert!(
        matches!(error, BackupError::OtherLife { ours: 1, theirs: 1 }),
        "{error}"
    );
    assert!(!hold.hold.repo().is_writable());
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_of_a_life_that_cannot_be_read_stops_no_writes_and_is_read_again() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    hold.hold.back_up().await.expect("copied");
    let account = hold.did().as_str().replace([':', '%'], "_");
    let note = place.path().join(account).join("epoch/1");
    let whole = std::fs::read(&note).expect("a note");
    std::fs::write(&note, &whole[..whole.len() / 2]).expect("written");
    let error = hold.hold.back_up().await.expect_err("unreadable");
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    assert!(hold.hold.repo().is_writable());
    std::fs::write(&note, &whole).expect("written");
    add_crew(&hold, 1).await;
    hold.hold.back_up().await.expect("copied");
    assert_eq!(hold.hold.backup_behind(), Some(Duration::ZERO));
    hold.stop().await;
}

/// A folder in which another life begins, and uploads an object, as soon as the objects of a log are listed.
#[derive(Debug)]
struct TakenOver {
    folder: FolderBackup,
    did: Did,
    log_id: String,
}

#[async_trait]
impl BackupStore for TakenOver {
    fn place(&self) -> String {
        self.folder.place()
    }

    async fn put(&self, name: &str, content: ObjectBytes, size: u64) -> Result<(), StoreError> {
        self.folder.put(name, content, size).await
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<bool, StoreError> {
        self.folder.create(name, content).await
    }

    async fn get(&self, name: &str) -> Result<Option<ObjectBytes>, StoreError> {
        self.folder.get(name).await
    }

    async fn list(&self, folder: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        if folder.ends_with(&self.log_id) {
            life::begin(&self.folder, &self.did).await.expect("begun");
            let object = one_piece(Bytes::from_static(b"newer"));
            self.folder.put(&format!("{folder}/log/newer"), object, 5).await?;
        }
        self.folder.list(folder, limit).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.folder.delete(name).await
    }

    async fn remove_unfinished(&self, folder: &str, before: DateTime<Utc>) -> Result<usize, StoreError> {
        self.folder.remove_unfinished(folder, before).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_life_has_uploaded_is_not_removed_as_needless() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    hold.hold.back_up().await.expect("copied");
    let folder = FolderBackup::new(place.path());
    let head = download::newest_head(&folder, hold.did())
        .await
        .expect("a backup");
    let store = TakenOver {
        folder,
        did: hold.did().clone(),
        log_id: head.log_id.clone(),
    };
    let backup = Backup::new(hold.hold.repo().clone(), Arc::new(store), Arc::new(SystemClock));
    let error = backup.round().await.expect_err("taken over");
    assert!(matches!(error, BackupError::OtherLife { .. }), "{error}");
    let account = hold.did().as_str().replace([':', '%'], "_");
    let newer = place.path().join(account).join(head.log_id).join("log/newer");
    assert!(newer.is_file());
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_uploads_have_left_that_never_ended_is_removed() {
    for place in places().await {
        let store = &*place.store;
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let mut begun = Some(begun);
        let mut pieces = 0;
        let content = futures_util::stream::poll_fn(move |_| {
            pieces += 1;
            if pieces == 1 {
                return Poll::Ready(Some(Ok(Bytes::from(vec![7; 9 << 20]))));
            }
            if let Some(begun) = begun.take() {
                let _ = begun.send(());
            }
            Poll::Pending
        });
        tokio::select! {
            written = store.put("account/log/a", content.boxed(), 20 << 20) => written.expect("endless"),
            begun = has_begun => begun.expect("begun"),
        }
        let tomorrow = SystemClock.now() + TimeDelta::days(1);
        let yesterday = SystemClock.now() - TimeDelta::days(1);
        let remove = async |folder, before| store.remove_unfinished(folder, before).await.expect("asked");
        assert_eq!(remove("account", yesterday).await, 0, "{}", store.place());
        assert_eq!(remove("other", tomorrow).await, 0, "{}", store.place());
        // The server in the process does not tell of uploads.
        let expected = usize::from(place.serving.is_none());
        assert_eq!(remove("account", tomorrow).await, expected, "{}", store.place());
        assert_eq!(remove("account", tomorrow).await, 0, "{}", store.place());
        if let Some(serving) = place.serving {
            serving.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_no_list_names_are_removed_at_the_next_start() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    add_crew(&hold, 2).await;
    hold.hold.back_up().await.expect("copied");
    let store = FolderBackup::new(place.path());
    let head = download::newest_head(&store, hold.did()).await.expect("a backup");
    let account = hold.did().as_str().replace([':', '%'], "_");
    let log = format!("{account}/{}/log", head.log_id);
    let stray = format!("{log}/0000000001.512-99999");
    store
        .put(&stray, one_piece(Bytes::from_static(b"stray")), 5)
        .await
        .expect("stored");
    let hold = hold.restart(|_| ()).await;
    hold.hold.back_up().await.expect("copied");
    let names = names(&store, &log).await;
    assert!(names.iter().all(|listed| listed.name != stray), "{names:?}");
    let dir = tempfile::tempdir().expect("a folder");
    restored(&hold, &store, dir.path()).await;
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_to_an_older_copy_before_it_is_known_to_be_one() {
    let directory = Directory::start().await;
    let place = tempfile::tempdir().expect("a folder");
    let (url, backup) = (directory.url.to_string(), place.path().display().to_string());
    let hold = TestHold::start_with(Setup::default(), |config| {
        config.database.did_method = DidMethod::Plc;
        config.database.plc_directory_url = url;
        config.backup.path = backup;
    })
    .await;
    let repo_dir = hold.data_dir().join("repo");
    let hold = hold.restart(|_| ()).await;
    let older = tempfile::tempdir().expect("a folder");
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    };
    copy(&repo_dir, older.path());
    let newest = *hold.hold.repo().watch_seq().borrow();
    add_crew(&hold, 2).await;
    hold.hold.back_up().await.expect("copied");
    // At another URL followers would have to be told of it.
    let hold = hold
        .restart(|settings| {
            settings.public_url = "http://hold.test:1005".parse().expect("a URL");
            std::fs::remove_dir_all(&repo_dir).expect("removed");
            std::fs::create_dir(&repo_dir).expect("made");
            copy(older.path(), &repo_dir);
        })
        .await;
    assert_eq!(*hold.hold.repo().watch_seq().borrow(), newest);
    assert!(!hold.hold.repo().is_writable());
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_whose_backup_was_restored_elsewhere_writes_no_more() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    let store = FolderBackup::new(place.path());
    hold.hold.back_up().await.expect("copied");
    let dir = tempfile::tempdir().expect("a folder");
    let (options, _) = restored(&hold, &store, dir.path()).await;
    let elsewhere = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .expect("opens");
    let clock = Arc::new(SystemClock);
    let place_of = |repo: &HoldRepo| Backup::new(repo.clone(), Arc::new(store.clone()), clock.clone());
    place_of(&elsewhere).round().await.expect("copied");
    let lives = life::newest(&store, hold.did()).await.expect("lives");

    // The old folder, started again, has another log than the backup: what it lacks has other numbers all the same.
    add_crew(&hold, 3).await;
    let error = place_of(hold.hold.repo()).round().await.expect_err("older");
    assert!(matches!(error, BackupError::OlderCopy { .. }), "{error}");
    assert!(hold.hold.repo().why_halted().is_some());
    assert_eq!(life::newest(&store, hold.did()).await.expect("lives"), lives);
    place_of(&elsewhere)
        .round()
        .await
        .expect("the restored one goes on");
    elsewhere.close().await;
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_takes_the_keys_it_is_told_and_goes_beyond_what_relays_have() {
    let place = tempfile::tempdir().expect("a folder");
    let hold = hold_with_backup(place.path()).await;
    let store = FolderBackup::new(place.path());
    add_crew(&hold, 2).await;
    hold.hold.back_up().await.expect("copied");
    let head = download::newest_head(&store, hold.did()).await.expect("a backup");
    let signer = hold.hold.repo().public_key();
    assert_eq!(head.signed_by, Some(signer.to_did_key()));

    let dir = tempfile::tempdir().expect("a folder");
    let copy = dir.path().join("copy");
    let new_key = SigningKey::generate(Curve::K256);
    let mut options = RepoOptions::new(dir.path().join("repo"), hold.did().clone(), new_key.clone());
    let in_three_hours = head.seq + 3 * 3_600_000_000;
    let newest = hold.hold.repo().latest_commit().rev;
    let in_a_minute = Tid::from_parts(newest.micros() + 60_000_000, 5);
    options.seen = Seen {
        seq: in_three_hours,
        rev: Some(in_a_minute.clone()),
    };
    let attempt = async |options: &RepoOptions, signed_by: Vec<PublicKey>| {
        let _ = std::fs::remove_dir_all(&copy);
        std::fs::create_dir(&copy).expect("made");
        download::download(&store, &head, &copy, |_| ())
            .await
            .expect("downloaded");
        let clock = Arc::new(SystemClock);
        restore(&copy, options.clone(), signed_by, clock, Progress::none()).await
    };
    let other = SigningKey::generate(Curve::K256).public_key();
    for told in [vec![], vec![other]] {
        let refused = attempt(&options, told).await;
        assert!(matches!(refused, Err(RepoError::OtherKey)), "{refused:?}");
    }
    let mut far = options.clone();
    far.seen.rev = Some(Tid::from_parts(newest.micros() + 3_600_000_000, 5));
    let refused = attempt(&far, vec![signer.clone()]).await;
    assert!(
        matches!(refused, Err(RepoError::ClockBehind { .. })),
        "{refused:?}"
    );
    let done = attempt(&options, vec![signer]).await.expect("restored");
    assert!(done.seq > in_three_hours + 3_600_000_000 && done.rev > in_a_minute);

    let again = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .expect("opens with the new key");
    again.verify().await.expect("whole");
    assert_eq!(records(&again).await, records(hold.hold.repo()).await);
    // Followers are told of the key, and are not sent what no one can verify now.
    let events = again.events_after(0, 10).await.expect("readable");
    let kinds: Vec<Message> = events
        .iter()
        .map(|event| event.decode().expect("decodes"))
        .collect();
    assert!(
        matches!(
            &kinds[..],
            [Message::Identity(_), Message::Commit(_), Message::Sync(_)]
        ),
        "{kinds:?}"
    );
    again.close().await;
    hold.stop().await;
}

#[tokio::test]
async fn an_empty_folder_does_not_become_a_hold_while_the_place_of_the_backup_fails() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("no folder");
    std::fs::write(&file, "").expect("written");
    let hold = TestHold::start(Setup::default()).await;
    let mut stopped = hold.stop_to_restart().await;
    std::fs::remove_dir_all(stopped.data_dir()).expect("removed");
    stopped.settings.backup = BackupSettings::Folder { path: file };
    let refused = stopped.refusal().await;
    assert!(
        refused.contains("is not known") && refused.contains("backup.enabled"),
        "{refused}"
    );
    stopped.settings.backup = BackupSettings::Off;
    let hold = stopped.start(|_| ()).await.expect("a hold that never had one");
    hold.stop().await;
}
