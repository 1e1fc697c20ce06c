//! CARs, proofs and events, read as strangers read them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;

use atcr_atproto::syntax::{Cid, Tid};
use atcr_hold_pds::{HoldRepo, Message};
use atcr_repo::mst::{Node, NodeSource as _, proof};
use atrium_repo::Repository;
use atrium_repo::blockstore::CarStore;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;

use crate::car_reader::{self, Car};
use crate::consumer::Consumer;
use crate::repository::{COLLECTION, create, delete, open, options, put, scratch, signing_key};
use crate::trees::Memory;

#[derive(Deserialize)]
struct Commit {
    did: String,
    rev: String,
    data: Cid,
    version: u8,
    prev: Option<Cid>,
}

async fn export(repo: &HoldRepo, since: Option<Tid>) -> Car {
    let pieces: Vec<_> = repo.export_car(since).try_collect().await.unwrap();
    car_reader::read(&pieces.concat())
}

/// The nodes of a CAR: what parses as one.
fn nodes(car: &Car) -> Memory {
    let node = |(cid, bytes): (&Cid, &Vec<u8>)| Some((*cid, Arc::new(Node::decode(bytes).ok()?)));
    Memory(car.blocks.iter().filter_map(node).collect())
}

fn commit(car: &Car) -> Commit {
    serde_ipld_dagcbor::from_slice(&car.blocks[&car.root]).unwrap()
}

/// Grows and shrinks, so that some trees come back.
async fn live(repo: &HoldRepo, rounds: usize) -> Vec<(Tid, BTreeMap<String, String>)> {
    let mut model = BTreeMap::new();
    let mut history = Vec::new();
    for round in 0..rounds {
        let mut writes = Vec::new();
        for number in 0..12 {
            let key = format!("k{:03}", (round * 7 + number * 31) % 150);
            if (round + number) % 3 == 0 {
                writes.push(delete(&key));
                model.remove(&key);
            } else {
                let text = format!("{}", round % 2);
                writes.push(put(&key, &text));
                model.insert(key, text);
            }
        }
        history.push((repo.write(writes).await.unwrap().commit.rev, model.clone()));
    }
    history
}

#[tokio::test]
async fn an_export_is_the_whole_repository_and_nothing_else() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let (_, model) = live(&repo, 40).await.pop().unwrap();
    let car = export(&repo, None).await;
    let head = repo.latest_commit();
    assert_eq!((car.root, car.order[0]), (head.cid, head.cid));
    let commit = commit(&car);
    assert_eq!(
        (&*commit.did, commit.version, commit.prev),
        (repo.did().as_str(), 3, None)
    );
    assert_eq!(commit.rev, head.rev.as_str());

    let (tree, records) = nodes(&car).contents(commit.data);
    let keys: Vec<String> = model.keys().map(|key| format!("{COLLECTION}/{key}")).collect();
    assert_eq!(records.keys().cloned().collect::<Vec<_>>(), keys);
    let wanted: BTreeSet<Cid> = tree
        .into_iter()
        .chain(records.into_values())
        .chain([head.cid])
        .collect();
    assert_eq!(car.blocks.keys().copied().collect::<BTreeSet<_>>(), wanted);
}

#[tokio::test]
async fn another_implementation_reads_the_export() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let (_, model) = live(&repo, 30).await.pop().unwrap();
    let pieces: Vec<_> = repo.export_car(None).try_collect().await.unwrap();
    let mut store = CarStore::open(Cursor::new(pieces.concat())).await.unwrap();
    let root = store.roots().next().unwrap();
    let mut read = Repository::open(&mut store, root).await.unwrap();
    let commit = read.commit();
    assert_eq!(commit.rev().as_str(), repo.latest_commit().rev.as_str());
    signing_key()
        .public_key()
        .verify(&commit.bytes(), commit.sig())
        .unwrap();
    let mut records = BTreeMap::new();
    let entries: Vec<(String, _)> = read.tree().entries().try_collect().await.unwrap();
    for (path, _) in entries {
        let record: serde_json::Value = read.get_raw(&path).await.unwrap().unwrap();
        let key = path.strip_prefix(&format!("{COLLECTION}/")).unwrap().to_owned();
        records.insert(key, record["text"].as_str().unwrap().to_owned());
    }
    assert_eq!(records, model);
}

#[tokio::test]
async fn an_export_since_a_revision_is_what_that_revision_lacks() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let mut at: Vec<(Tid, BTreeSet<Cid>)> = Vec::new();
    for _ in 0..4 {
        for (rev, _) in live(&repo, 9).await {
            at.push((rev, BTreeSet::new()));
        }
        at.last_mut().unwrap().1 = export(&repo, None).await.blocks.into_keys().collect();
    }
    let whole: BTreeSet<Cid> = export(&repo, None).await.blocks.into_keys().collect();
    for (rev, had) in at.iter().filter(|(_, had)| !had.is_empty()) {
        let car = export(&repo, Some(rev.clone())).await;
        let sent: BTreeSet<Cid> = car.blocks.into_keys().collect();
        assert_eq!(car.root, repo.latest_commit().cid);
        assert!(sent.is_subset(&whole));
        assert_eq!(
            &(had & &whole) | &sent,
            whole,
            "a reader at {rev} can complete its copy"
        );
        // Blocks that had gone and came back are sent once more; all others are not.
        assert!(sent.len() < whole.len() || rev < &at[9].0);
    }
    assert!(
        export(&repo, Some(repo.latest_commit().rev))
            .await
            .blocks
            .is_empty()
    );
    let ancient: Tid = "2222222222222".parse().unwrap();
    assert_eq!(export(&repo, Some(ancient)).await.blocks.len(), whole.len());
}

#[tokio::test]
async fn an_export_is_not_disturbed_by_writes() {
    let dir = scratch();
    let mut options = options(dir.path());
    options.node_cache_bytes = 0;
    let repo = HoldRepo::open(options, crate::repository::TestClock::new())
        .await
        .unwrap();
    let large = "x".repeat(10_000);
    repo.write(
        (0..90)
            .map(|number| create(&format!("k{number:03}"), &format!("{large}{number}")))
            .collect(),
    )
    .await
    .unwrap();
    let before = export(&repo, None).await;

    let mut stream = Box::pin(repo.export_car(None));
    let mut bytes = stream.next().await.unwrap().unwrap().to_vec();
    for number in 0..90 {
        repo.write(vec![delete(&format!("k{number:03}"))]).await.unwrap();
    }
    while let Some(piece) = stream.next().await {
        bytes.extend(piece.unwrap());
    }
    let during = car_reader::read(&bytes);
    assert_eq!((during.root, during.order), (before.root, before.order));

    // The old blocks are not needed any more.
    drop(stream);
    repo.write(vec![put("last", "x")]).await.unwrap();
    repo.write(vec![put("last", "y")]).await.unwrap();
    let old: Vec<Cid> = before.blocks.into_keys().collect();
    assert!(repo.get_blocks(&old).await.unwrap().is_empty());
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn a_proof_shows_that_a_record_is_there_or_is_not() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let empty = car_reader::read(&repo.record_proof(COLLECTION, "k000").await.unwrap());
    assert_eq!(empty.order, [empty.root, commit(&empty).data]);

    let (_, model) = live(&repo, 30).await.pop().unwrap();
    for number in 0..150 {
        let key = format!("k{number:03}");
        let car = car_reader::read(&repo.record_proof(COLLECTION, &key).await.unwrap());
        assert_eq!(car.root, repo.latest_commit().cid);
        let memory = nodes(&car);
        let path = format!("{COLLECTION}/{key}");
        let proven = memory.open(commit(&car).data).get(&memory, &path).unwrap();
        assert_eq!(proven.is_some(), model.contains_key(&key));
        assert_eq!(
            proven,
            repo.get_record(COLLECTION, &key)
                .await
                .unwrap()
                .map(|record| record.cid)
        );
        assert!(proven.is_none_or(|cid| car.blocks.contains_key(&cid)));
    }
}

#[tokio::test]
async fn a_follower_verifies_every_event_by_itself() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let seq = repo.watch_seq();
    live(&repo, 20).await;
    repo.write_snapshot().await.unwrap();
    live(&repo, 20).await;
    assert!(seq.has_changed().unwrap());
    let events = repo.events_after(0, 100_000).await.unwrap();
    let kinds: Vec<Message> = events[..4].iter().map(|event| event.decode().unwrap()).collect();
    assert!(matches!(
        kinds[..],
        [
            Message::Identity(_),
            Message::Account(_),
            Message::Commit(_),
            Message::Sync(_)
        ]
    ));
    let mut follower = Consumer::default();
    for event in &events {
        follower.take(&event.frame, &signing_key().public_key()).unwrap();
    }
    assert_eq!(
        (follower.seq, follower.commits, follower.resyncs),
        (*seq.borrow(), events.len() - 3, 0)
    );
    let (_, records) = nodes(&export(&repo, None).await).contents(commit(&export(&repo, None).await).data);
    assert_eq!(follower.records, records);
    let after = events[3].seq;
    assert_eq!(repo.events_after(after, 2).await.unwrap(), events[4..6]);
    assert!(repo.events_after(follower.seq, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_export_can_be_proven_key_by_key() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    live(&repo, 10).await;
    let car = export(&repo, None).await;
    let memory = nodes(&car);
    let tree = memory.open(commit(&car).data);
    let (_, records) = memory.contents(commit(&car).data);
    for (path, cid) in records {
        let way = proof::path(&tree, &memory, &path).unwrap();
        let last = memory.node(way.last().unwrap()).unwrap();
        assert!(
            last.entries
                .iter()
                .any(|entry| *entry.key == *path && entry.value == cid)
        );
    }
}
