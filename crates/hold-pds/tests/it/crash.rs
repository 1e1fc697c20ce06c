//! What a crash leaves, and what it cannot have left.

use std::fs;
use std::path::Path;

use atcr_hold_pds::RepoError;
use futures_util::future::join_all;

use crate::repository::{create, events, open, put, scratch, texts, try_open};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("repo")).unwrap();
    for entry in fs::read_dir(from.join("repo")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("repo").join(entry.file_name())).unwrap();
    }
}

fn log(dir: &Path) -> std::path::PathBuf {
    dir.join("repo/blocks.log")
}

fn remove_index(dir: &Path) {
    for file in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = fs::remove_file(dir.join("repo").join(file));
    }
}

/// A repository whose index ends before the last batch of the log, and the log's length there. The batch has two commits.
async fn with_unindexed_batch(dir: &Path) -> usize {
    let repo = open(dir).await;
    repo.write(vec![create("a", "1")]).await.unwrap();
    repo.close().await;
    let indexed = scratch();
    copy(dir, indexed.path());
    let length = fs::metadata(log(dir)).unwrap().len();

    let repo = open(dir).await;
    for outcome in join_all(["2", "3"].map(|text| repo.write(vec![put("a", text)]))).await {
        outcome.unwrap();
    }
    assert_eq!(events(&repo).await.len(), 4);
    repo.close().await;
    let whole = fs::read(log(dir)).unwrap();
    remove_index(dir);
    copy(indexed.path(), dir);
    fs::write(log(dir), whole).unwrap();
    usize::try_from(length).unwrap()
}

/// The text of the one record after opening, and how long the log is then.
async fn reopened(dir: &Path) -> (String, usize) {
    let repo = open(dir).await;
    repo.verify().await.unwrap();
    let mut texts = texts(&repo).await;
    assert_eq!(texts.len(), 1);
    // What was kept can be built upon.
    assert_eq!(repo.latest_commit().rev, events(&repo).await.last().unwrap().rev);
    let length = fs::metadata(log(dir)).unwrap().len();
    repo.close().await;
    (texts.remove(0).1, usize::try_from(length).unwrap())
}

#[tokio::test]
async fn a_log_that_ends_anywhere_in_the_last_batch_opens_with_its_whole_commits() {
    let dir = scratch();
    let start = with_unindexed_batch(dir.path()).await;
    let whole = fs::read(log(dir.path())).unwrap();
    let mut lengths = std::collections::BTreeMap::new();
    for end in start..=whole.len() {
        let cut = scratch();
        copy(dir.path(), cut.path());
        fs::write(log(cut.path()), &whole[..end]).unwrap();
        // Now and then with the whole index lost as well.
        if end % 16 == 0 {
            remove_index(cut.path());
        }
        let (text, length) = reopened(cut.path()).await;
        assert!(length <= end);
        lengths.insert(length, text);
    }
    assert_eq!(lengths.keys().next(), Some(&start));
    assert_eq!(lengths.keys().last(), Some(&whole.len()));
    assert_eq!(lengths.into_values().collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[tokio::test]
async fn damage_in_the_last_batch_is_cut_off() {
    let dir = scratch();
    let start = with_unindexed_batch(dir.path()).await;
    let whole = fs::read(log(dir.path())).unwrap();
    // A power failure may have written the second commit and not the first.
    for position in (start..whole.len()).step_by(97) {
        let damaged = scratch();
        copy(dir.path(), damaged.path());
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        fs::write(log(damaged.path()), bytes).unwrap();
        let (text, length) = reopened(damaged.path()).await;
        assert!(length <= position && text != "3");
    }
    // It may have made the file longer and not filled it.
    let mut bytes = whole.clone();
    bytes.extend([0; 5000]);
    fs::write(log(dir.path()), bytes).unwrap();
    assert_eq!(reopened(dir.path()).await, ("3".to_owned(), whole.len()));
}

#[tokio::test]
async fn damage_before_the_last_batch_is_reported_and_nothing_is_cut() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let mut ends = Vec::new();
    for text in ["1", "2", "3"] {
        ends.push(usize::try_from(fs::metadata(log(dir.path())).unwrap().len()).unwrap());
        repo.write(vec![put("a", text)]).await.unwrap();
    }
    repo.close().await;
    let whole = fs::read(log(dir.path())).unwrap();
    remove_index(dir.path());
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
    assert_eq!(reopened(dir.path()).await.0, "3");
}

#[tokio::test]
async fn a_log_that_lost_acknowledged_commits_is_reported() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let before = fs::metadata(log(dir.path())).unwrap().len();
    repo.write(vec![put("a", "1")]).await.unwrap();
    repo.close().await;
    let whole = fs::read(log(dir.path())).unwrap();
    fs::write(log(dir.path()), &whole[..usize::try_from(before).unwrap()]).unwrap();
    assert!(matches!(
        try_open(dir.path()).await,
        Err(RepoError::Corrupt { .. })
    ));
    // The index knows the last commit; it is damaged in the log.
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(log(dir.path()), bytes).unwrap();
    assert!(matches!(
        try_open(dir.path()).await,
        Err(RepoError::Corrupt { .. })
    ));
    fs::write(log(dir.path()), whole).unwrap();
    assert_eq!(reopened(dir.path()).await.0, "1");
}

#[tokio::test]
async fn an_index_that_is_lost_damaged_or_somebody_elses_is_made_anew() {
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
async fn a_crash_before_the_first_commit_leaves_a_repository_that_opens() {
    let dir = scratch();
    open(dir.path()).await.close().await;
    let whole = fs::read(log(dir.path())).unwrap();
    // The header is complete or the file is not there; the first commit may be torn.
    let header = 8 + 16 + 4 + crate::repository::did().as_str().len() + 32;
    for end in (header..whole.len()).step_by(41) {
        let cut = scratch();
        fs::create_dir_all(cut.path().join("repo")).unwrap();
        fs::write(log(cut.path()), &whole[..end]).unwrap();
        fs::write(cut.path().join("repo/blocks.log.new"), &whole[..7]).unwrap();
        let repo = open(cut.path()).await;
        repo.verify().await.unwrap();
        assert_eq!(events(&repo).await.len(), 1);
    }
    let empty = scratch();
    fs::create_dir_all(empty.path().join("repo")).unwrap();
    fs::write(empty.path().join("repo/blocks.log.new"), &whole[..7]).unwrap();
    open(empty.path()).await.verify().await.unwrap();
}
