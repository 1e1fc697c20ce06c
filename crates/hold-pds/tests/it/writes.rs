//! What a write does, and what it refuses.

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of, record_to_ipld};
use atcr_hold_pds::writer::limits::{MAX_COMMIT_CAR_BYTES, MAX_OPS};
use atcr_hold_pds::{HoldRepo, Message, Precondition, RecordWrite, RepoError};
use futures_util::future::join_all;
use serde_json::json;

use crate::repository::{
    COLLECTION, TestClock, collection, create, delete, did, events, open, options, put, rkey, scratch, texts,
    try_open, value,
};

#[tokio::test]
async fn a_new_repository_has_an_empty_signed_commit() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    repo.verify().await.unwrap();
    let first = repo.latest_commit();
    assert!(repo.collections().await.unwrap().is_empty());
    assert_eq!(events(&repo).await.len(), 1);
    repo.close().await;

    let repo = open(dir.path()).await;
    assert_eq!(repo.latest_commit(), first);
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn records_are_created_replaced_and_deleted() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let outcome = repo
        .write(vec![create("a", "one"), put("b", "two")])
        .await
        .unwrap();
    assert_eq!(outcome.commit, repo.latest_commit());
    let content = serde_ipld_dagcbor::to_vec(&record_to_ipld(&value("one")).unwrap()).unwrap();
    assert_eq!(outcome.records[0].cid, cid_of(DAG_CBOR, &content));
    assert_eq!(
        outcome.records[0].uri,
        format!("at://{}/{COLLECTION}/a", did()).as_str()
    );

    let outcome = repo
        .write(vec![put("a", "three"), delete("b"), delete("never")])
        .await
        .unwrap();
    assert_eq!((outcome.records.len(), outcome.deleted), (1, 1));
    let record = repo.get_record(COLLECTION, "a").await.unwrap().unwrap();
    assert_eq!(
        (record.value, record.cid),
        (value("three"), outcome.records[0].cid)
    );
    assert_eq!(repo.get_record(COLLECTION, "b").await.unwrap(), None);
    assert_eq!(repo.collections().await.unwrap(), [COLLECTION]);
    repo.verify().await.unwrap();

    let ops: Vec<Vec<(String, &str)>> = events(&repo)
        .await
        .iter()
        .map(|event| {
            event
                .ops
                .iter()
                .map(|op| (op.path.clone(), op.action()))
                .collect()
        })
        .collect();
    let path = |key: &str| format!("{COLLECTION}/{key}");
    assert_eq!(
        ops,
        [
            vec![],
            vec![(path("a"), "create"), (path("b"), "create")],
            vec![(path("a"), "update"), (path("b"), "delete")]
        ]
    );
}

#[tokio::test]
async fn a_key_is_made_up_when_none_is_given_and_the_type_is_filled_in() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let write = || RecordWrite::Create {
        collection: collection(),
        rkey: None,
        value: json!({ "text": "x" }),
    };
    let outcome = repo.write(vec![write(), write(), write()]).await.unwrap();
    let keys: Vec<String> = outcome
        .records
        .iter()
        .map(|record| record.uri.rkey().unwrap().to_string())
        .collect();
    assert!(
        keys.is_sorted() && keys[0] != keys[1] && keys[1] != keys[2],
        "{keys:?}"
    );
    let record = repo.get_record(COLLECTION, &keys[0]).await.unwrap().unwrap();
    assert_eq!(record.value, value("x"));
    // One content under three keys: it stays until the last of them goes.
    let delete = |key: &String| RecordWrite::Delete {
        collection: collection(),
        rkey: rkey(key),
    };
    repo.write(vec![delete(&keys[0]), delete(&keys[2])])
        .await
        .unwrap();
    assert_eq!(repo.get_blocks(&[record.cid]).await.unwrap().len(), 1);
    repo.write(vec![delete(&keys[1])]).await.unwrap();
    assert_eq!(repo.get_blocks(&[record.cid]).await.unwrap().len(), 0);
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn a_refused_call_writes_nothing_and_disturbs_nobody() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    repo.write(vec![create("taken", "x")]).await.unwrap();
    let calls = [
        vec![create("first", "1")],
        vec![create("lost", "2"), create("taken", "3")],
        vec![create("second", "4")],
    ];
    let results = join_all(calls.into_iter().map(|writes| repo.write(writes))).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(matches!(&results[1], Err(RepoError::RecordExists { path }) if path.ends_with("/taken")));
    let keys: Vec<String> = texts(&repo).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["first", "second", "taken"]);
}

#[tokio::test]
async fn writing_what_is_there_makes_no_commit() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let first = repo.write(vec![put("a", "one")]).await.unwrap();
    for writes in [vec![put("a", "one")], vec![delete("b")], vec![]] {
        assert_eq!(repo.write(writes).await.unwrap().commit, first.commit);
    }
    assert_eq!(events(&repo).await.len(), 2);
}

#[tokio::test]
async fn preconditions_are_checked_at_the_moment_of_the_write() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let old = repo.latest_commit().cid;
    let record = |cid| Precondition::Record {
        collection: collection(),
        rkey: rkey("a"),
        cid,
    };

    // Two callers saw the same commit: one of them wins.
    let results = join_all(
        ["x", "y"].map(|key| repo.write_if(vec![create(key, "1")], vec![Precondition::Commit(old)])),
    );
    let results = results.await;
    assert!(results[0].is_ok());
    assert!(
        matches!(results[1], Err(RepoError::CommitSwapped { found }) if found == repo.latest_commit().cid)
    );

    // Two callers saw no record.
    let results =
        join_all(["1", "2"].map(|text| repo.write_if(vec![put("a", text)], vec![record(None)]))).await;
    let cid = results[0].as_ref().unwrap().records[0].cid;
    assert!(matches!(results[1], Err(RepoError::RecordSwapped { .. })));
    repo.write_if(vec![put("a", "3")], vec![record(Some(cid))])
        .await
        .unwrap();
    let late = repo.write_if(vec![put("a", "4")], vec![record(Some(cid))]).await;
    assert!(matches!(late, Err(RepoError::RecordSwapped { .. })));
}

#[tokio::test]
async fn calls_that_wait_at_the_same_time_share_a_commit() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    // On one thread all hundred wait before the writer looks.
    let writes = (0..100).map(|number| repo.write(vec![create(&format!("k{number}"), "x")]));
    let commits: Vec<_> = join_all(writes)
        .await
        .into_iter()
        .map(|outcome| outcome.unwrap().commit)
        .collect();
    assert!(commits.iter().all(|commit| *commit == commits[0]));
    assert_eq!(events(&repo).await.len(), 2);
    assert_eq!(texts(&repo).await.len(), 100);
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn calls_that_touch_the_same_record_get_commits_of_their_own() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let results = join_all(
        [
            vec![create("a", "1")],
            vec![put("a", "2")],
            vec![delete("a")],
            vec![create("a", "3")],
        ]
        .map(|writes| repo.write(writes)),
    )
    .await;
    let mut revs: Vec<_> = results
        .into_iter()
        .map(|outcome| outcome.unwrap().commit.rev)
        .collect();
    let made = revs.len();
    assert!(revs.is_sorted());
    revs.dedup();
    assert_eq!(revs.len(), made);
    assert_eq!(texts(&repo).await, [("a".to_owned(), "3".to_owned())]);
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn commits_stay_within_the_limits_of_a_firehose() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let large = |number: usize| {
        vec![put(
            &format!("k{number}"),
            &format!("{}{number}", "y".repeat(19_900)),
        )]
    };
    // The records fit in one commit, just; with the tree it is too much.
    for outcome in join_all((0..100).map(|number| repo.write(large(number)))).await {
        outcome.unwrap();
    }
    let sizes: Vec<_> = events(&repo)
        .await
        .iter()
        .map(|event| (event.ops.len(), event.blocks.len()))
        .collect();
    assert_eq!(sizes.iter().map(|(ops, _)| *ops).collect::<Vec<_>>(), [0, 50, 50]);
    let small = |number: usize| {
        repo.write(vec![
            put(&format!("s{number}"), "x"),
            put(&format!("t{number}"), "x"),
        ])
    };
    for outcome in join_all((0..110).map(small)).await {
        outcome.unwrap();
    }
    let sizes: Vec<_> = events(&repo)
        .await
        .iter()
        .map(|event| (event.ops.len(), event.blocks.len()))
        .collect();
    assert_eq!(
        sizes.iter().map(|(ops, _)| *ops).collect::<Vec<_>>(),
        [0, 50, 50, 200, 20]
    );
    assert!(sizes.iter().all(|(_, bytes)| *bytes <= MAX_COMMIT_CAR_BYTES));
    repo.verify().await.unwrap();

    let many = (0..=MAX_OPS)
        .map(|number| put(&format!("m{number}"), "x"))
        .collect();
    assert!(matches!(
        repo.write(many).await,
        Err(RepoError::TooManyWrites { .. })
    ));
    let large = "z".repeat(900_000);
    let large = |key: &str| put(key, &format!("{large}{key}"));
    let writes = ["a", "b", "c"].map(large).to_vec();
    assert!(matches!(
        repo.write(writes).await,
        Err(RepoError::TooManyWrites { .. })
    ));
    // Three calls are three commits.
    for outcome in join_all(["a", "b", "c"].map(|key| repo.write(vec![large(key)]))).await {
        outcome.unwrap();
    }
    let larger = "z".repeat(1_000_001);
    assert!(matches!(
        repo.write(vec![put("d", &larger)]).await,
        Err(RepoError::RecordTooLarge { .. })
    ));
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn what_is_not_a_record_is_refused() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let put = |value| RecordWrite::Put {
        collection: collection(),
        rkey: rkey("a"),
        value,
    };
    let refused = |write| repo.write(vec![create("innocent", "x"), write]);
    assert!(matches!(
        refused(put(json!({ "n": 0.5 }))).await,
        Err(RepoError::InvalidRecord(_))
    ));
    assert!(matches!(
        refused(put(json!("text"))).await,
        Err(RepoError::InvalidRecord(_))
    ));
    assert!(matches!(
        refused(put(json!({ "l": { "$link": "no" } }))).await,
        Err(RepoError::InvalidRecord(_))
    ));
    assert!(matches!(
        refused(put(json!({ "$type": "com.example.other" }))).await,
        Err(RepoError::OtherType { .. })
    ));
    assert!(matches!(
        refused(create("innocent", "y")).await,
        Err(RepoError::DuplicatePath { .. })
    ));
    assert!(texts(&repo).await.is_empty());
}

#[tokio::test]
async fn revisions_and_seqs_grow_when_the_clock_goes_back_a_little() {
    let dir = scratch();
    let mut revs = Vec::new();
    for start in [100_i64, 40, 70] {
        let clock = TestClock::new();
        clock.add_seconds(start);
        let repo = HoldRepo::open(options(dir.path()), clock.clone()).await.unwrap();
        for number in 0..3 {
            clock.add_seconds(-10);
            revs.push(
                repo.write(vec![put("a", &format!("{start} {number}"))])
                    .await
                    .unwrap()
                    .commit
                    .rev,
            );
        }
        repo.verify().await.unwrap();
        let seqs: Vec<u64> = events(&repo).await.iter().map(|event| event.seq).collect();
        assert!(seqs.is_sorted() && seqs[0] >= 1_800_000_000_000_000);
        repo.close().await;
    }
    assert!(revs.windows(2).all(|pair| pair[0] < pair[1]), "{revs:?}");
}

#[tokio::test]
async fn a_clock_far_behind_the_newest_commit_is_refused_until_it_is_set() {
    let dir = scratch();
    let clock = TestClock::new();
    clock.add_seconds(86_400);
    let repo = HoldRepo::open(options(dir.path()), clock.clone()).await.unwrap();
    repo.write(vec![put("a", "1")]).await.unwrap();
    clock.add_seconds(-3600);
    assert!(matches!(
        repo.write(vec![put("a", "2")]).await,
        Err(RepoError::ClockBehind { seconds: 3600 })
    ));
    assert_eq!(texts(&repo).await, [("a".to_owned(), "1".to_owned())]);
    clock.add_seconds(3600);
    repo.write(vec![put("a", "2")]).await.unwrap();
}

#[tokio::test]
async fn pages_go_through_all_records_in_both_directions() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    repo.write(
        (0..25)
            .map(|number| create(&format!("{number:02}"), "x"))
            .collect(),
    )
    .await
    .unwrap();
    for reverse in [false, true] {
        let (mut keys, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = repo
                .list_records(COLLECTION, 10, cursor.as_deref(), reverse)
                .await
                .unwrap();
            keys.extend(
                page.records
                    .iter()
                    .map(|record| record.uri.rkey().unwrap().to_string()),
            );
            pages += 1;
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut expected: Vec<String> = (0..25).map(|number| format!("{number:02}")).collect();
        if !reverse {
            expected.reverse();
        }
        assert_eq!((keys, pages), (expected, 3));
    }
}

#[tokio::test]
async fn one_repository_is_open_once_and_belongs_to_one_did() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    assert!(matches!(
        try_open(dir.path()).await,
        Err(RepoError::Locked { .. })
    ));
    repo.close().await;
    assert!(matches!(
        repo.write(vec![put("a", "x")]).await,
        Err(RepoError::Closed)
    ));

    let mut options = options(dir.path());
    options.did = "did:web:other.example.com".parse().unwrap();
    let opened = HoldRepo::open(options, TestClock::new()).await;
    assert!(matches!(opened, Err(RepoError::OtherDid { .. })));
    open(dir.path()).await.verify().await.unwrap();
}

#[tokio::test]
async fn writes_that_wait_when_it_is_closed_are_still_done() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let writes = join_all(keys.iter().map(|key| repo.write(vec![create(key, "x")])));
    let (outcomes, ()) = futures_util::future::join(writes, repo.close()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(texts(&open(dir.path()).await).await.len(), 20);
}

#[tokio::test]
async fn another_key_is_refused_unless_it_is_meant_and_then_followers_are_told() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    repo.write(vec![put("a", "x")]).await.unwrap();
    let (old, seq) = (repo.latest_commit(), *repo.watch_seq().borrow());
    repo.close().await;

    let mut options = options(dir.path());
    options.signing_key = SigningKey::generate(Curve::K256);
    let refused = HoldRepo::open(options.clone(), TestClock::new()).await;
    assert!(matches!(refused, Err(RepoError::OtherKey)));

    options.accept_new_key = true;
    let repo = HoldRepo::open(options, TestClock::new()).await.unwrap();
    assert!(repo.latest_commit().rev > old.rev);
    repo.verify().await.unwrap();
    assert_eq!(texts(&repo).await.len(), 1);
    let announced = repo.events_after(seq, 10).await.unwrap();
    let announced: Vec<Message> = announced.iter().map(|event| event.decode().unwrap()).collect();
    let [Message::Identity(_), Message::Commit(commit), Message::Sync(sync)] = &announced[..] else {
        panic!("{announced:?}");
    };
    assert_eq!(commit.since.as_ref(), Some(&old.rev));
    assert_eq!((&sync.rev, commit.ops.len()), (&commit.rev, 0));
    // Relays look for the root of the tree in every commit.
    assert_eq!(crate::car_reader::read(&commit.blocks).order.len(), 2);
}
