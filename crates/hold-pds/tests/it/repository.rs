//! Repositories in temporary folders, on a clock of the test's own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::syntax::{Did, Nsid, RecordKey};
use atcr_hold_pds::{CommitEvent, HoldRepo, Message, RecordWrite, RepoError, RepoOptions};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const COLLECTION: &str = "com.example.record";

/// Stands still unless it is set.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000_000_000)))
    }

    pub(crate) fn add_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A folder for one test, in memory where there is such a file system: thousands of syncs are not what is tested.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

pub(crate) fn did() -> Did {
    "did:web:hold.example.com".parse().unwrap()
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap()
}

pub(crate) fn options(dir: &Path) -> RepoOptions {
    RepoOptions::new(dir.join("repo"), did(), signing_key()).with_segment_bytes(1024 * 1024)
}

pub(crate) async fn try_open(dir: &Path) -> Result<HoldRepo, RepoError> {
    HoldRepo::open(options(dir), TestClock::new()).await
}

pub(crate) async fn open(dir: &Path) -> HoldRepo {
    try_open(dir).await.unwrap()
}

pub(crate) fn collection() -> Nsid {
    COLLECTION.parse().unwrap()
}

pub(crate) fn rkey(text: &str) -> RecordKey {
    text.parse().unwrap()
}

pub(crate) fn value(text: &str) -> Value {
    json!({ "$type": COLLECTION, "text": text })
}

pub(crate) fn create(key: &str, text: &str) -> RecordWrite {
    RecordWrite::Create {
        collection: collection(),
        rkey: Some(rkey(key)),
        value: value(text),
    }
}

pub(crate) fn put(key: &str, text: &str) -> RecordWrite {
    RecordWrite::Put {
        collection: collection(),
        rkey: rkey(key),
        value: value(text),
    }
}

pub(crate) fn delete(key: &str) -> RecordWrite {
    RecordWrite::Delete {
        collection: collection(),
        rkey: rkey(key),
    }
}

/// The texts of the records, by growing keys.
pub(crate) async fn texts(repo: &HoldRepo) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let mut cursor = None;
    loop {
        let page = repo
            .list_records(COLLECTION, 100, cursor.as_deref(), true)
            .await
            .unwrap();
        for record in page.records {
            let text = record.value["text"].as_str().unwrap().to_owned();
            texts.push((record.uri.rkey().unwrap().to_string(), text));
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return texts;
        }
    }
}

/// The commits among the events.
pub(crate) async fn events(repo: &HoldRepo) -> Vec<CommitEvent> {
    let events = repo.events_after(0, 100_000).await.unwrap();
    let commit = |message| match message {
        Message::Commit(event) => Some(*event),
        _ => None,
    };
    events
        .into_iter()
        .filter_map(|event| commit(event.decode().unwrap()))
        .collect()
}
