//! The table of scans by itself, at times of the test's choice.

use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_hold::adapters::sqlite::{self, SqliteScans};
use atcr_hold::scanning::{Candidate, Fate, Scan, ScanTable as _};
use atcr_oci::Digest;
use atcr_scan_protocol::ScanState;
use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

use super::digest_of;

async fn table() -> (SqliteScans, TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let database = sqlite::open(&dir.path().join("hold.sqlite")).await.expect("open");
    (SqliteScans::new(database), dir)
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minute)
}

async fn queue(table: &SqliteScans, name: &str, priority: i64, minute: i64) -> Digest {
    let candidate = Candidate {
        digest: digest_of(name),
        owner: "did:web:sailor.test".parse().expect("a DID"),
        repository: "app".to_owned(),
        tag: None,
        priority,
        not_applicable: None,
    };
    let fresh = at(minute) - TimeDelta::days(1);
    table.queue(&candidate, at(minute), fresh).await.expect("queued");
    candidate.digest
}

fn scan(digest: &Digest, state: ScanState, minute: i64) -> Scan {
    Scan {
        digest: digest.clone(),
        owner: "did:web:sailor.test".parse().expect("a DID"),
        repository: "app".to_owned(),
        state,
        counts: SeverityCounts::default(),
        scanner_version: "a scanner".to_owned(),
        database_built: None,
        tools: std::collections::BTreeMap::new(),
        scanned_at: at(minute),
        documents: std::collections::BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_lease_ends_when_it_says_unless_it_is_renewed() {
    let (table, _dir) = table().await;
    let digest = queue(&table, "image", 0, 0).await;
    table
        .hand_out(7, at(0), at(2), None)
        .await
        .unwrap()
        .expect("a job");
    assert!(table.lapsed(at(1), 10).await.unwrap().is_empty());
    assert_eq!(table.lapsed(at(3), 10).await.unwrap(), [7]);
    assert!(table.renew(7, &digest, None, at(5)).await.unwrap());
    assert!(table.lapsed(at(3), 10).await.unwrap().is_empty());
    assert_eq!(table.lapsed(at(6), 10).await.unwrap(), [7]);
    // Of another time, or another image.
    assert!(!table.renew(6, &digest, None, at(9)).await.unwrap());
    assert!(!table.renew(7, &digest_of("another"), None, at(9)).await.unwrap());
}

#[tokio::test]
async fn jobs_come_by_priority_then_age_and_those_that_rest_when_they_are_due() {
    let (table, _dir) = table().await;
    let old = queue(&table, "old", 10, 0).await;
    let new = queue(&table, "new", 10, 1).await;
    let urgent = queue(&table, "urgent", 0, 2).await;
    let mut seq = 0;
    let mut next = async |since| {
        seq += 1;
        let job = table.hand_out(seq, at(3), at(5), since).await.unwrap();
        job.map(|job| job.digest)
    };
    assert_eq!(next(None).await.as_ref(), Some(&urgent));
    assert_eq!(next(Some(at(1))).await.as_ref(), Some(&new));
    assert_eq!(next(Some(at(1))).await, None);
    assert_eq!(next(None).await.as_ref(), Some(&old));
    let rest = Fate::RestsUntil(at(30));
    assert!(
        table
            .end(1, &rest, Some("fetch"), Some("why"), at(4))
            .await
            .unwrap()
    );
    assert!(!table.end(1, &rest, None, None, at(4)).await.unwrap(), "once");
    assert_eq!(table.wake(at(29)).await.unwrap(), 0);
    assert_eq!(table.wake(at(30)).await.unwrap(), 1);
    assert_eq!(next(None).await, Some(urgent));
}

#[tokio::test]
async fn a_result_is_taken_once_and_one_without_counts_replaces_none_with() {
    let (table, _dir) = table().await;
    let digest = queue(&table, "image", 0, 0).await;
    table
        .hand_out(1, at(0), at(2), None)
        .await
        .unwrap()
        .expect("a job");
    let complete = scan(&digest, ScanState::Complete, 1);
    assert!(table.finish(1, &complete, true).await.unwrap());
    assert!(!table.finish(1, &complete, true).await.unwrap());
    assert_eq!(
        table.unpublished(10).await.unwrap(),
        std::slice::from_ref(&complete)
    );
    table.queue_again(at(5), 100, 10, at(6)).await.unwrap();
    table
        .hand_out(2, at(6), at(8), None)
        .await
        .unwrap()
        .expect("a job");
    let packages = scan(&digest, ScanState::SbomOnly, 7);
    assert!(table.finish(2, &packages, false).await.unwrap());
    assert_eq!(table.scan(&digest).await.unwrap(), Some(complete.clone()));
    // What was published is the result that was, not one that came meanwhile.
    table
        .published(&scan(&digest, ScanState::Complete, 3))
        .await
        .unwrap();
    assert_eq!(table.unpublished(10).await.unwrap().len(), 1);
    table.published(&complete).await.unwrap();
    assert!(table.unpublished(10).await.unwrap().is_empty());
}
