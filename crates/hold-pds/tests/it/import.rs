//! Imports of exported repositories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_hold_pds::{
    HoldRepo, Import, Imported, Message, Progress, RecordWrite, RepoError, RepoOptions, import,
};
use futures_util::TryStreamExt as _;

use crate::consumer::Consumer;
use crate::repository::{TestClock, create, did, options, put, scratch, signing_key, texts};

/// More than a commit may have.
const MANY: usize = 730;

async fn export_to(repo: &HoldRepo, path: &Path) {
    let pieces: Vec<_> = repo.export_car(None).try_collect().await.unwrap();
    std::fs::write(path, pieces.concat()).unwrap();
}

/// A CAR of a repository with these records.
async fn car_of(dir: &Path, options: RepoOptions, writes: Vec<RecordWrite>) -> PathBuf {
    let path = options.dir.with_extension("car");
    let repo = HoldRepo::open(options, TestClock::new()).await.unwrap();
    for writes in writes.chunks(200) {
        repo.write(writes.to_vec()).await.unwrap();
    }
    export_to(&repo, &path).await;
    repo.close().await;
    assert!(path.starts_with(dir));
    path
}

fn another(dir: &Path) -> RepoOptions {
    RepoOptions::new(dir.join("another"), did(), signing_key())
}

fn of(file: &Path) -> Import {
    Import {
        files: vec![file.to_owned()],
        from: None,
        signed_by: Vec::new(),
    }
}

async fn run(dir: &Path, what: Import) -> Result<Imported, RepoError> {
    let clock = TestClock::new();
    clock.add_seconds(60);
    import(options(dir), clock, what, Progress::none()).await
}

/// Reads along, and takes the records anew when a `#sync` says so.
async fn follow(repo: &HoldRepo, consumer: &mut Consumer) {
    for event in repo.events_after(consumer.seq, 100_000).await.unwrap() {
        let before = consumer.resyncs;
        consumer.take(&event.frame, &signing_key().public_key()).unwrap();
        if consumer.resyncs > before {
            // What a follower fetches is the newest state; this one is still the newest.
            consumer.records = records(repo).await;
        }
    }
}

async fn records(repo: &HoldRepo) -> BTreeMap<String, atcr_atproto::syntax::Cid> {
    let mut records = BTreeMap::new();
    for collection in repo.collections().await.unwrap() {
        let mut cursor = None;
        loop {
            let page = repo
                .list_records(&collection, 1000, cursor.as_deref(), true)
                .await
                .unwrap();
            for record in page.records {
                let path = format!("{collection}/{}", record.uri.rkey().unwrap());
                records.insert(path, record.cid);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    records
}

#[tokio::test]
async fn what_fits_in_one_commit_is_one_that_followers_can_undo() {
    let dir = scratch();
    let car = car_of(
        dir.path(),
        another(dir.path()),
        vec![put("a", "new"), put("c", "3")],
    )
    .await;
    let repo = HoldRepo::open(options(dir.path()), TestClock::new())
        .await
        .unwrap();
    repo.write(vec![create("a", "old"), create("b", "2")])
        .await
        .unwrap();
    let mut consumer = Consumer::default();
    follow(&repo, &mut consumer).await;
    repo.close().await;

    let imported = run(dir.path(), of(&car)).await.unwrap();
    let expected = Imported {
        found: 2,
        changed: 2,
        is_bulk: false,
    };
    assert_eq!(imported, expected);
    let again = run(dir.path(), of(&car)).await.unwrap();
    assert_eq!(again.changed, 0);

    let repo = HoldRepo::open(options(dir.path()), TestClock::new())
        .await
        .unwrap();
    let text = |key: &str, text: &str| (key.to_owned(), text.to_owned());
    assert_eq!(
        texts(&repo).await,
        [text("a", "new"), text("b", "2"), text("c", "3")]
    );
    let commits = consumer.commits;
    follow(&repo, &mut consumer).await;
    assert_eq!((consumer.commits, consumer.resyncs), (commits + 1, 0));
    repo.verify().await.unwrap();
    repo.close().await;
}

#[tokio::test]
async fn what_does_not_fit_becomes_the_state_and_the_chain_goes_on_after_a_sync() {
    let dir = scratch();
    let many = (0..MANY)
        .map(|number| put(&format!("k{number:05}"), "new"))
        .collect();
    let car = car_of(dir.path(), another(dir.path()), many).await;
    let repo = HoldRepo::open(options(dir.path()), TestClock::new())
        .await
        .unwrap();
    repo.write(vec![create("k00007", "old"), create("z", "stays")])
        .await
        .unwrap();
    let mut consumer = Consumer::default();
    follow(&repo, &mut consumer).await;
    repo.close().await;

    let imported = run(dir.path(), of(&car)).await.unwrap();
    assert_eq!(
        (imported.found, imported.changed, imported.is_bulk),
        (MANY as u64, MANY as u64, true)
    );

    let clock = TestClock::new();
    clock.add_seconds(120);
    let repo = HoldRepo::open(options(dir.path()), clock).await.unwrap();
    repo.verify().await.unwrap();
    assert_eq!(texts(&repo).await.len(), MANY + 1);
    follow(&repo, &mut consumer).await;
    assert_eq!(consumer.resyncs, 1);
    assert!(consumer.root().is_some() && !consumer.may_break);
    repo.write(vec![put("k00007", "newest")]).await.unwrap();
    follow(&repo, &mut consumer).await;
    assert_eq!(consumer.records, records(&repo).await);
    assert_eq!(consumer.resyncs, 1);
    let last = repo.events_after(0, 100_000).await.unwrap();
    let syncs = last
        .iter()
        .filter(|event| matches!(event.decode(), Ok(Message::Sync(_))))
        .count();
    assert_eq!(syncs, 2, "one for the new repository, one for the import");
    repo.close().await;
}

#[tokio::test]
async fn a_file_that_is_not_the_accounts_or_not_whole_is_refused_before_anything_is_written() {
    let dir = scratch();
    let many: Vec<_> = (0..MANY)
        .map(|number| put(&format!("k{number:05}"), "x"))
        .collect();
    let good = car_of(dir.path(), another(dir.path()), many.clone()).await;
    let stranger = RepoOptions::new(
        dir.path().join("stranger"),
        "did:web:other.test".parse().unwrap(),
        signing_key(),
    );
    let stranger = car_of(dir.path(), stranger, vec![put("a", "1")]).await;
    let other_key = SigningKey::generate(Curve::K256);
    let resigned = RepoOptions::new(dir.path().join("resigned"), did(), other_key.clone());
    let resigned = car_of(dir.path(), resigned, vec![put("a", "1")]).await;
    let bytes = std::fs::read(&good).unwrap();
    let damaged = dir.path().join("damaged.car");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&damaged, flipped).unwrap();
    let short = dir.path().join("short.car");
    std::fs::write(&short, &bytes[..bytes.len() - 40]).unwrap();
    let empty = dir.path().join("empty.car");
    std::fs::write(&empty, b"").unwrap();

    let repo = HoldRepo::open(options(dir.path()), TestClock::new())
        .await
        .unwrap();
    let head = repo.latest_commit();
    repo.close().await;
    for (file, said) in [
        (&stranger, "did:web:other.test"),
        (&resigned, "keys signed"),
        (&damaged, "does not match its name"),
        (&short, "no CAR"),
        (&empty, "CAR of version 1"),
    ] {
        let mut what = of(file);
        // A good file before it does not get in either.
        what.files.insert(0, good.clone());
        let error = run(dir.path(), what).await.unwrap_err();
        assert!(matches!(error, RepoError::Import { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        let repo = HoldRepo::open(options(dir.path()), TestClock::new())
            .await
            .unwrap();
        assert_eq!(repo.latest_commit(), head);
        repo.close().await;
    }
    let named = Import {
        files: vec![stranger],
        from: Some("did:web:other.test".parse().unwrap()),
        signed_by: Vec::new(),
    };
    assert_eq!(run(dir.path(), named).await.unwrap().changed, 1);
    let named = Import {
        files: vec![resigned],
        from: None,
        signed_by: vec![other_key.public_key()],
    };
    assert_eq!(
        run(dir.path(), named).await.unwrap().changed,
        0,
        "the same record"
    );
}

#[tokio::test]
async fn an_import_makes_no_repository() {
    let dir = scratch();
    let car = car_of(dir.path(), another(dir.path()), vec![put("a", "1")]).await;
    let mut options = options(dir.path());
    options.must_exist = true;
    let clock = Arc::clone(&TestClock::new());
    let error = import(options, clock, of(&car), Progress::none())
        .await
        .unwrap_err();
    assert!(matches!(error, RepoError::NoRepository { .. }), "{error}");
    assert!(HoldRepo::did_in(&dir.path().join("repo")).unwrap().is_none());
}
