//! What a crash leaves, and what it cannot have left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atcr_hold_pds::{EventStart, HoldRepo, KnownEvent, RepoError};
use futures_util::future::join_all;

use crate::repository::{TestClock, create, delete, events, open, options, put, scratch, texts, try_open};

/// Bytes before the first event of a segment.
const SEGMENT_HEADER: usize = 512;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("repo")).unwrap();
    for entry in fs::read_dir(from.join("repo")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("repo").join(entry.file_name())).unwrap();
    }
}

fn log(dir: &Path) -> PathBuf {
    dir.join("repo/0000000001.seg")
}

/// The log without the zeros behind it.
fn log_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = fs::read(log(dir)).unwrap();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn remove_index(dir: &Path) {
    for file in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = fs::remove_file(dir.join("repo").join(file));
    }
}

fn file_with_extension(dir: &Path, extension: &str) -> PathBuf {
    fs::read_dir(dir.join("repo"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .unwrap()
}

/// A repository whose last batch has two commits, and where the log ended before it. There is no index.
async fn with_last_batch(dir: &Path) -> usize {
    let repo = open(dir).await;
    repo.write(vec![create("a", "1")]).await.unwrap();
    let start = log_bytes(dir).len();
    for outcome in join_all(["2", "3"].map(|text| repo.write(vec![put("a", text)]))).await {
        outcome.unwrap();
    }
    repo.close().await;
    remove_index(dir);
    start
}

/// The text of the one record after opening.
async fn reopened(dir: &Path) -> String {
    let repo = open(dir).await;
    repo.verify().await.unwrap();
    let mut texts = texts(&repo).await;
    assert_eq!(texts.len(), 1);
    assert_eq!(repo.latest_commit().rev, events(&repo).await.last().unwrap().rev);
    // What was kept can be built upon.
    repo.write(vec![put("b", "x"), delete("a")]).await.unwrap();
    repo.verify().await.unwrap();
    repo.close().await;
    texts.remove(0).1
}

#[tokio::test]
async fn a_log_that_ends_anywhere_in_the_last_batch_opens_with_its_whole_commits() {
    let dir = scratch();
    let start = with_last_batch(dir.path()).await;
    let whole = log_bytes(dir.path());
    let mut found = Vec::new();
    for end in (start..=whole.len()).step_by(19).chain([whole.len()]) {
        let cut = scratch();
        copy(dir.path(), cut.path());
        fs::write(log(cut.path()), &whole[..end]).unwrap();
        found.push(reopened(cut.path()).await);
    }
    assert!(found.is_sorted());
    found.dedup();
    assert_eq!(found, ["1", "2", "3"]);
}

#[tokio::test]
async fn damage_in_the_last_batch_is_set_aside() {
    let dir = scratch();
    let start = with_last_batch(dir.path()).await;
    let whole = log_bytes(dir.path());
    // A power failure may have written the second commit and not the first.
    for position in (start..whole.len()).step_by(97) {
        let damaged = scratch();
        copy(dir.path(), damaged.path());
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        fs::write(log(damaged.path()), bytes).unwrap();
        assert_ne!(reopened(damaged.path()).await, "3", "{position}");
        assert!(file_with_extension(damaged.path(), "aside").exists());
    }
}

#[tokio::test]
async fn damage_before_the_last_batch_is_reported_and_nothing_is_changed() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let mut ends = Vec::new();
    for text in ["1", "2", "3"] {
        ends.push(log_bytes(dir.path()).len());
        repo.write(vec![put("a", text)]).await.unwrap();
    }
    repo.close().await;
    let whole = fs::read(log(dir.path())).unwrap();
    for position in (ends[0]..ends[2]).step_by(61) {
        let damaged = scratch();
        copy(dir.path(), damaged.path());
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        fs::write(log(damaged.path()), &bytes).unwrap();
        assert!(matches!(
            try_open(damaged.path()).await,
            Err(RepoError::Corrupt { .. })
        ));
        assert!(fs::read(log(damaged.path())).unwrap() == bytes);
    }
    assert_eq!(reopened(dir.path()).await, "3");
}

#[tokio::test]
async fn a_log_that_lost_acknowledged_commits_is_reported() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    repo.write(vec![put("a", "1")]).await.unwrap();
    let before = log_bytes(dir.path());
    // The index follows records that it has tables for.
    let crew = atcr_hold_pds::RecordWrite::Put {
        collection: "io.atcr.hold.crew".parse().unwrap(),
        rkey: "x".parse().unwrap(),
        value: serde_json::json!({ "member": 1 }),
    };
    repo.write(vec![crew]).await.unwrap();
    repo.close().await;
    fs::write(log(dir.path()), before).unwrap();
    assert!(matches!(
        try_open(dir.path()).await,
        Err(RepoError::Corrupt { .. })
    ));
    remove_index(dir.path());
    assert_eq!(reopened(dir.path()).await, "1");
}

#[tokio::test]
async fn an_index_that_is_lost_damaged_old_or_of_another_log_is_made_anew() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    for number in 0..300 {
        repo.write(vec![put(&format!("k{}", number % 40), &format!("{number}"))])
            .await
            .unwrap();
    }
    let (records, history, head) = (texts(&repo).await, events(&repo).await, repo.latest_commit());
    repo.close().await;

    let other = scratch();
    let stranger = open(other.path()).await;
    stranger.write(vec![put("x", "y")]).await.unwrap();
    stranger.close().await;

    let index = dir.path().join("repo/index.sqlite");
    for fault in ["lost", "damaged", "foreign"] {
        match fault {
            "lost" => remove_index(dir.path()),
            "damaged" => fs::write(
                &index,
                "this is no database, and long enough to look like none ".repeat(100),
            )
            .unwrap(),
            _ => {
                remove_index(dir.path());
                fs::copy(other.path().join("repo/index.sqlite"), &index).unwrap();
            }
        }
        let repo = open(dir.path()).await;
        repo.verify().await.unwrap();
        assert_eq!(repo.latest_commit(), head, "{fault}");
        assert_eq!(texts(&repo).await, records, "{fault}");
        assert_eq!(events(&repo).await, history, "{fault}");
        repo.close().await;
    }
}

#[tokio::test]
async fn a_folder_that_lacks_a_part_does_not_become_a_new_repository() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    repo.write(vec![put("a", "1")]).await.unwrap();
    repo.write_snapshot().await.unwrap();
    repo.write(vec![put("a", "2")]).await.unwrap();
    repo.close().await;
    let car = file_with_extension(dir.path(), "car");
    for missing in [dir.path().join("repo/manifest"), log(dir.path()), car] {
        let name = missing.file_name().unwrap();
        let damaged = scratch();
        copy(dir.path(), damaged.path());
        fs::remove_file(damaged.path().join("repo").join(name)).unwrap();
        let before = fs::read_dir(damaged.path().join("repo")).unwrap().count();
        let error = try_open(damaged.path()).await.unwrap_err();
        assert!(
            matches!(&error, RepoError::Incomplete { missing, .. } if *missing.as_str() == *name),
            "{error}"
        );
        assert_eq!(fs::read_dir(damaged.path().join("repo")).unwrap().count(), before);
    }
    // The table follows from the snapshot.
    fs::remove_file(file_with_extension(dir.path(), "tbl")).unwrap();
    assert_eq!(reopened(dir.path()).await, "2");
}

#[tokio::test]
async fn a_crash_before_the_first_event_leaves_a_repository_that_opens() {
    let dir = scratch();
    open(dir.path()).await.close().await;
    let whole = log_bytes(dir.path());
    for end in (SEGMENT_HEADER..whole.len()).step_by(41) {
        let cut = scratch();
        copy(dir.path(), cut.path());
        remove_index(cut.path());
        fs::write(log(cut.path()), &whole[..end]).unwrap();
        let repo = open(cut.path()).await;
        repo.verify().await.unwrap();
        assert!(!events(&repo).await.is_empty());
    }
    let unborn = scratch();
    fs::create_dir_all(unborn.path().join("repo")).unwrap();
    fs::write(log(unborn.path()), &whole[..SEGMENT_HEADER]).unwrap();
    fs::write(unborn.path().join("repo/manifest.tmp"), "torn").unwrap();
    open(unborn.path()).await.verify().await.unwrap();
}

#[tokio::test]
async fn a_repository_of_an_older_version_goes_on() {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("repo")).unwrap();
    // Written by the version before, and cut off in the middle of a commit.
    fs::write(
        dir.path().join("repo/blocks.log"),
        include_bytes!("fixtures/old-blocks.log"),
    )
    .unwrap();
    fs::write(dir.path().join("repo/index.sqlite"), "").unwrap();
    let repo = open(dir.path()).await;
    repo.verify().await.unwrap();
    let records = texts(&repo).await;
    assert!(records.len() > 50, "{}", records.len());
    let event = events(&repo).await.remove(0);
    // The chain goes on, with numbers far greater than the old ones.
    assert!(event.since.is_some() && event.prev_data.is_some() && event.ops.is_empty());
    assert!(event.seq > 1_000_000_000);
    repo.write(vec![put("new", "1")]).await.unwrap();
    repo.close().await;
    let repo = open(dir.path()).await;
    repo.verify().await.unwrap();
    assert_eq!(texts(&repo).await.len(), records.len() + 1);
    assert!(!dir.path().join("repo/blocks.log").exists());
}

#[tokio::test]
async fn the_folder_does_not_grow_with_age() {
    let dir = scratch();
    let clock = TestClock::new();
    let options = options(dir.path())
        .with_segment_bytes(64 * 1024)
        .with_snapshot_after(64 * 1024)
        .with_retention(Duration::from_secs(100));
    let repo = HoldRepo::open(options.clone(), clock.clone()).await.unwrap();
    let first = *repo.watch_seq().borrow();
    for number in 0..600 {
        repo.write(vec![put(&format!("k{}", number % 20), &format!("{number}"))])
            .await
            .unwrap();
        clock.add_seconds(1);
    }
    repo.write_snapshot().await.unwrap();
    repo.verify().await.unwrap();
    let size: u64 = fs::read_dir(dir.path().join("repo"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("index"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    // Each commit is some 2 KB: 100 of them are retained, and as many since the last snapshot.
    assert!(size < 700_000, "{size}");

    // Some that were away for long miss events, and are told so.
    let EventStart::Outdated(cursor) = repo.event_cursor(Some(first)) else {
        panic!("{first} is still there");
    };
    let (kept, _) = repo.next_events(cursor).await.unwrap();
    assert!(kept.first().unwrap().seq > first + 1 && kept.len() >= 100);
    assert_eq!(repo.event_cursor(Some(u64::MAX >> 1)), EventStart::Future);
    assert!(matches!(repo.event_cursor(Some(0)), EventStart::At(_)));
    let EventStart::At(live) = repo.event_cursor(None) else {
        panic!("no live cursor");
    };
    assert!(repo.next_events(live).await.unwrap().0.is_empty());
    repo.write(vec![put("k0", "live")]).await.unwrap();
    assert_eq!(repo.next_events(live).await.unwrap().0.len(), 1);
    repo.close().await;

    let repo = HoldRepo::open(options, clock).await.unwrap();
    repo.verify().await.unwrap();
    assert_eq!(texts(&repo).await.len(), 20);
}

#[tokio::test]
async fn old_events_go_although_no_snapshot_is_written() {
    let dir = scratch();
    let clock = TestClock::new();
    let options = options(dir.path())
        .with_segment_bytes(64 * 1024)
        .with_retention(Duration::from_secs(100));
    let repo = HoldRepo::open(options.clone(), clock.clone()).await.unwrap();
    let first = *repo.watch_seq().borrow();
    let grow = async |repo: &HoldRepo| {
        for number in 0..100 {
            repo.write(vec![put("k", &format!("{number}"))]).await.unwrap();
        }
        // From here on none is due.
        repo.write_snapshot().await.unwrap();
    };
    grow(&repo).await;
    assert!(matches!(repo.event_cursor(Some(first)), EventStart::At(_)));

    clock.add_seconds(1000);
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(11)).await;
    tokio::time::resume();
    assert!(lets_go_of(&repo, first).await, "while it runs");

    let next = *repo.watch_seq().borrow();
    grow(&repo).await;
    assert!(matches!(repo.event_cursor(Some(next)), EventStart::At(_)));
    repo.close().await;
    clock.add_seconds(1000);
    let repo = HoldRepo::open(options, clock).await.unwrap();
    assert!(lets_go_of(&repo, next).await, "at its start");
    repo.verify().await.unwrap();
}

/// Whether the event after `seq` goes within some writes of nothing, between which the writer does what else there is to do.
async fn lets_go_of(repo: &HoldRepo, seq: u64) -> bool {
    for _ in 0..1000 {
        if matches!(repo.event_cursor(Some(seq)), EventStart::Outdated(_)) {
            return true;
        }
        repo.write(Vec::new()).await.unwrap();
    }
    false
}

#[tokio::test]
async fn a_repository_without_an_event_is_not_opened_while_events_of_it_are_known() {
    let dir = scratch();
    let known = KnownEvent {
        log_id: "00ff".to_owned(),
        seq: 7,
    };
    let mut with_known = options(dir.path());
    with_known.known = Some(known);
    for _ in 0..2 {
        let refused = HoldRepo::open(with_known.clone(), TestClock::new()).await;
        let Err(error @ RepoError::NotRestored { known: 7, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.to_string().contains("identity recover"), "{error}");
    }
    // Who begins anew does not ask for them.
    let repo = open(dir.path()).await;
    repo.verify().await.unwrap();
}
