//! The table of scans by itself, at times of the test's choice.

use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_hold::adapters::sqlite::{self, SqliteScans};
use atcr_hold::scanning::{
    Candidate, Claim, Fate, HandedOut, Room, Scan, ScanTable as _, Taken, Taker, Trouble,
};
use atcr_oci::Digest;
use atcr_scan_protocol::{DocumentKind, JobState, ScanState};
use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

use super::digest_of;

const SAILOR: &str = "did:web:sailor.test";
const OTHER: &str = "did:web:other.test";
const IDLE: Taker = Taker {
    holder: 1,
    since: None,
    is_idle: true,
    database: None,
};

const ROOM: Room = Room {
    of_owner: 100,
    in_all: 150,
};

async fn table() -> (SqliteScans, TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let database = sqlite::open(&dir.path().join("hold.sqlite")).await.expect("open");
    (SqliteScans::new(database), dir)
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minute)
}

async fn queue(table: &SqliteScans, name: &str, priority: i64, minute: i64) -> Digest {
    queue_of(table, SAILOR, name, priority, minute).await
}

async fn queue_of(table: &SqliteScans, owner: &str, name: &str, priority: i64, minute: i64) -> Digest {
    let candidate = Candidate {
        digest: digest_of(name),
        owner: owner.parse().expect("a DID"),
        repository: "app".to_owned(),
        tag: None,
        priority,
        not_applicable: None,
    };
    let digest = candidate.digest.clone();
    let fresh = at(minute) - TimeDelta::days(1);
    table
        .queue(&[candidate], at(minute), fresh, 100)
        .await
        .expect("queued");
    digest
}

/// To the connection 1, without another job.
async fn hand_out(table: &SqliteScans, seq: u64, minute: i64) -> Option<HandedOut> {
    hand_out_to(table, seq, IDLE, minute).await
}

async fn hand_out_to(table: &SqliteScans, seq: u64, taker: Taker, minute: i64) -> Option<HandedOut> {
    let (now, until) = (at(minute), at(minute + 2));
    table
        .hand_out(seq, taker, now, until, at(minute - 5))
        .await
        .expect("an answer")
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
    hand_out(&table, 7, 0).await.expect("a job");
    assert!(table.lapsed(at(1), 10).await.unwrap().is_empty());
    assert_eq!(table.lapsed(at(3), 10).await.unwrap(), [7]);
    assert!(table.renew(7, &digest, 1, None, at(5)).await.unwrap());
    assert!(table.lapsed(at(3), 10).await.unwrap().is_empty());
    assert_eq!(table.lapsed(at(6), 10).await.unwrap(), [7]);
    // Of another time, or another image.
    assert!(!table.renew(6, &digest, 1, None, at(9)).await.unwrap());
    assert!(
        !table
            .renew(7, &digest_of("another"), 1, None, at(9))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_push_of_what_waits_to_be_looked_up_again_is_scanned() {
    let (table, _dir) = table().await;
    let digest = queue(&table, "image", 0, 0).await;
    hand_out(&table, 1, 0).await.expect("a job");
    let mut complete = scan(&digest, ScanState::Complete, 1);
    let list = BlobRef {
        cid: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
            .parse()
            .expect("a CID"),
        mime_type: "application/gzip".to_owned(),
        size: 1,
    };
    complete.documents.insert(DocumentKind::SbomSyft, list);
    table.finish(1, &complete, true, ROOM).await.expect("kept");
    assert_eq!(
        table.outdated(at(0), 10).await.unwrap(),
        std::slice::from_ref(&digest)
    );
    let queued = table.queue_rematches(std::slice::from_ref(&digest), at(0), 90, at(2));
    assert_eq!(queued.await.unwrap(), 1);
    // It is under way already.
    assert!(table.outdated(at(0), 10).await.unwrap().is_empty());
    assert_eq!(hand_out(&table, 2, 2).await, None, "it says no database");
    queue(&table, "image", 5, 24 * 60 * 2).await;
    let job = hand_out(&table, 3, 24 * 60 * 2).await.expect("a job");
    assert_eq!((job.is_rematch, job.priority), (false, 5));
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
        let taker = Taker { since, ..IDLE };
        let job = hand_out_to(&table, seq, taker, 3).await;
        job.map(|job| job.digest)
    };
    assert_eq!(next(None).await.as_ref(), Some(&urgent));
    assert_eq!(next(Some(at(1))).await.as_ref(), Some(&new));
    assert_eq!(next(Some(at(1))).await, None);
    assert_eq!(next(None).await.as_ref(), Some(&old));
    let rest = Fate::RestsUntil(at(30));
    assert!(
        table
            .end(1, Claim::Message, &rest, Some("fetch"), Some("why"), at(4))
            .await
            .unwrap()
    );
    let again = table.end(1, Claim::Message, &rest, None, None, at(4));
    assert!(!again.await.unwrap(), "once");
    assert_eq!(table.wake(at(29)).await.unwrap(), 0);
    assert_eq!(table.wake(at(30)).await.unwrap(), 1);
    assert_eq!(next(None).await, Some(urgent));
}

#[tokio::test]
async fn a_result_is_taken_once_and_one_without_counts_replaces_none_with() {
    let (table, _dir) = table().await;
    let digest = queue(&table, "image", 0, 0).await;
    hand_out(&table, 1, 0).await.expect("a job");
    let complete = scan(&digest, ScanState::Complete, 1);
    assert!(table.finish(1, &complete, true, ROOM).await.unwrap() == Taken::Kept);
    assert!(table.finish(1, &complete, true, ROOM).await.unwrap() == Taken::Unexpected);
    assert_eq!(
        table.unpublished(10).await.unwrap(),
        std::slice::from_ref(&complete)
    );
    table.queue_again(at(5), 100, 10, at(6)).await.unwrap();
    hand_out(&table, 2, 6).await.expect("a job");
    let packages = scan(&digest, ScanState::SbomOnly, 7);
    assert!(table.finish(2, &packages, false, ROOM).await.unwrap() == Taken::Kept);
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

#[tokio::test]
async fn only_who_has_a_job_loses_it_and_only_a_lease_that_ended_lapses() {
    let (table, _dir) = table().await;
    let digest = queue(&table, "image", 0, 0).await;
    hand_out(&table, 7, 0).await.expect("a job");
    assert!(table.renew(7, &digest, 2, None, at(9)).await.unwrap());
    assert!(table.held_by(1).await.unwrap().is_empty());
    assert_eq!(table.held_by(2).await.unwrap(), [7]);
    let end = async |claim| {
        let fate = Fate::RestsUntil(at(30));
        table
            .end(7, claim, &fate, Some("lost"), None, at(8))
            .await
            .unwrap()
    };
    assert!(!end(Claim::Holder(1)).await);
    // Renewed since it was found.
    assert!(!end(Claim::Lapse(at(8))).await);
    let trouble = table.trouble(7).await.unwrap().expect("it runs");
    assert_eq!((trouble.tries, trouble.was_lost), (0, false));
    assert!(end(Claim::Holder(2)).await);
    let trouble = table.trouble(7).await.unwrap().expect("it rests");
    assert_eq!(
        trouble,
        Trouble {
            tries: 1,
            was_lost: true
        }
    );
}

#[tokio::test]
async fn a_job_that_was_lost_is_the_only_one_of_its_scanner() {
    let (table, _dir) = table().await;
    let lost = queue(&table, "poison", 0, 0).await;
    hand_out(&table, 1, 0).await.expect("a job");
    let fate = Fate::RestsUntil(at(1));
    let ending = table.end(1, Claim::Holder(1), &fate, Some("lost"), None, at(1));
    assert!(ending.await.unwrap());
    table.wake(at(1)).await.unwrap();
    let good = queue(&table, "good", 0, 2).await;
    queue(&table, "better", 0, 2).await;
    let busy = Taker {
        is_idle: false,
        ..IDLE
    };
    let job = hand_out_to(&table, 2, busy, 2).await.expect("another");
    assert_eq!((job.digest, job.was_lost), (good, false));
    // It has waited long enough: those who work finish first.
    assert_eq!(hand_out_to(&table, 3, busy, 7).await, None);
    let job = hand_out(&table, 3, 7).await.expect("a job");
    assert_eq!((job.digest, job.was_lost), (lost, true));
    assert!(hand_out_to(&table, 4, busy, 7).await.is_some());
}

#[tokio::test]
async fn a_result_for_another_owner_of_the_image_leaves_it_whose_it_was() {
    let (table, _dir) = table().await;
    let digest = queue(&table, "image", 0, 0).await;
    hand_out(&table, 1, 0).await.expect("a job");
    assert!(
        table
            .finish(1, &scan(&digest, ScanState::Complete, 1), true, ROOM)
            .await
            .unwrap()
            == Taken::Kept
    );
    let days = 3 * 24 * 60;
    queue_of(&table, OTHER, "image", 0, days).await;
    let job = hand_out(&table, 2, days).await.expect("a job");
    assert_eq!(job.owner.as_str(), OTHER);
    let status = table.status(&digest, 10).await.unwrap().expect("a job");
    assert_eq!(status.state, JobState::Running);
    let mut theirs = scan(&digest, ScanState::Complete, days + 1);
    theirs.owner = job.owner.clone();
    theirs.repository = "theirs".to_owned();
    let fate = Fate::Failed;
    let ending = table.end(2, Claim::Message, &fate, Some("tool"), None, at(days + 1));
    assert!(ending.await.unwrap());
    let status = table.status(&digest, 10).await.unwrap().expect("a job");
    assert_eq!(
        status.state,
        JobState::Done,
        "a failure of another owner's says nothing"
    );
    queue_of(&table, OTHER, "image", 0, days + 2).await;
    hand_out(&table, 3, days + 2).await.expect("a job");
    assert!(table.finish(3, &theirs, true, ROOM).await.unwrap() == Taken::Kept);
    let kept = table.scan(&digest).await.unwrap().expect("a result");
    assert_eq!((kept.owner.as_str(), &*kept.repository), (SAILOR, "app"));
    assert_eq!(kept.scanned_at, theirs.scanned_at);
}

#[tokio::test]
async fn what_is_over_without_a_result_is_forgotten_and_not_made_again_for_nothing() {
    let (table, _dir) = table().await;
    for (number, (name, class)) in [("a", "lost"), ("b", "fetch"), ("c", "fetch:404"), ("d", "tool")]
        .into_iter()
        .enumerate()
    {
        queue(&table, name, 0, 0).await;
        let seq = number as u64 + 1;
        hand_out(&table, seq, 0).await.expect("a job");
        let blob = atcr_atproto::lexicon::BlobRef {
            cid: atcr_atproto::data_model::cid_of_sha256(atcr_atproto::data_model::RAW, &[7; 32]),
            mime_type: "text/plain".to_owned(),
            size: 1,
        };
        let noting = table.note_upload(seq, DocumentKind::Sbom, &blob);
        assert!(noting.await.unwrap());
        let ending = table.end(seq, Claim::Message, &Fate::Failed, Some(class), None, at(1));
        assert!(ending.await.unwrap());
        assert!(table.uploads(seq).await.unwrap().is_empty());
        let noting = table.note_upload(seq, DocumentKind::Sbom, &blob);
        assert!(!noting.await.unwrap(), "it is over");
    }
    assert_eq!(table.queue_again(at(5), 100, 10, at(6)).await.unwrap(), 1);
    assert_eq!(hand_out(&table, 9, 7).await.unwrap().digest, digest_of("d"));
    assert_eq!(table.expire(at(1), 10).await.unwrap(), 0);
    assert_eq!(table.expire(at(2), 10).await.unwrap(), 3);
    assert_eq!(table.status(&digest_of("a"), 10).await.unwrap(), None);
}

#[tokio::test]
async fn documents_are_kept_as_far_as_there_is_room_for_them() {
    let (table, _dir) = table().await;
    let mut seq = 0;
    let mut finish = async |owner: &str, name: &str, size: u64, minute: i64| {
        seq += 1;
        let digest = queue_of(&table, owner, name, 0, minute).await;
        hand_out(&table, seq, minute).await.expect("a job");
        let mut scan = scan(&digest, ScanState::Complete, minute);
        scan.owner = owner.parse().expect("a DID");
        let blob = atcr_atproto::lexicon::BlobRef {
            cid: atcr_atproto::data_model::cid_of_sha256(atcr_atproto::data_model::RAW, &[7; 32]),
            mime_type: "text/plain".to_owned(),
            size,
        };
        scan.documents.insert(DocumentKind::Sbom, blob);
        table.finish(seq, &scan, true, ROOM).await.unwrap()
    };
    let day = 24 * 60 + 1;
    assert_eq!(finish(SAILOR, "a", 60, 0).await, Taken::Kept);
    assert_eq!(finish(SAILOR, "b", 41, 0).await, Taken::WithoutDocuments);
    assert_eq!(finish(SAILOR, "b", 40, day).await, Taken::Kept);
    assert_eq!(finish(OTHER, "c", 51, day).await, Taken::WithoutDocuments);
    // A new result takes the place of the one before.
    assert_eq!(finish(SAILOR, "a", 50, day).await, Taken::Kept);
    assert_eq!(finish(OTHER, "c", 51, 2 * day).await, Taken::Kept);
    let kept = table.scan(&digest_of("c")).await.unwrap().expect("a result");
    assert_eq!(kept.documents.len(), 1);
}

#[tokio::test]
async fn documents_count_for_the_owner_whose_result_it_is() {
    let (table, _dir) = table().await;
    let blob = |size: u64| atcr_atproto::lexicon::BlobRef {
        cid: atcr_atproto::data_model::cid_of_sha256(atcr_atproto::data_model::RAW, &[7; 32]),
        mime_type: "text/plain".to_owned(),
        size,
    };
    let mut seq = 0;
    let mut finish = async |owner: &str, name: &str, size: u64, minute: i64| {
        seq += 1;
        let digest = queue_of(&table, owner, name, 0, minute).await;
        hand_out(&table, seq, minute).await.expect("a job");
        let mut scan = scan(&digest, ScanState::Complete, minute);
        scan.owner = owner.parse().expect("a DID");
        scan.documents.insert(DocumentKind::Sbom, blob(size));
        table.finish(seq, &scan, true, ROOM).await.unwrap()
    };
    let day = 24 * 60 + 1;
    assert_eq!(finish(SAILOR, "image", 60, 0).await, Taken::Kept);
    // It stays the sailor's, and takes nothing of the other's room.
    assert_eq!(finish(OTHER, "image", 90, day).await, Taken::Kept);
    assert_eq!(finish(OTHER, "theirs", 60, day).await, Taken::Kept);
    assert_eq!(finish(SAILOR, "more", 11, day).await, Taken::WithoutDocuments);
}

#[tokio::test]
async fn what_was_uploaded_for_a_job_is_forgotten_when_another_gets_it() {
    let (table, _dir) = table().await;
    let digest = queue(&table, "image", 0, 0).await;
    hand_out(&table, 1, 0).await.expect("a job");
    let blob = atcr_atproto::lexicon::BlobRef {
        cid: atcr_atproto::data_model::cid_of_sha256(atcr_atproto::data_model::RAW, &[7; 32]),
        mime_type: "text/plain".to_owned(),
        size: 1,
    };
    assert!(table.note_upload(1, DocumentKind::Sbom, &blob).await.unwrap());
    let fate = Fate::Ready { counts: false };
    let ending = table.end(1, Claim::Message, &fate, None, None, at(1));
    assert!(ending.await.unwrap());
    // The one who had it may still deliver.
    assert_eq!(table.uploads(1).await.unwrap().len(), 1);
    assert!(table.awaited(&digest, Some(1)).await.unwrap().is_some());
    hand_out(&table, 2, 2).await.expect("a job");
    assert!(table.uploads(1).await.unwrap().is_empty());
    assert_eq!(table.awaited(&digest, Some(1)).await.unwrap(), None);
    assert!(!table.note_upload(1, DocumentKind::Sbom, &blob).await.unwrap());
}
