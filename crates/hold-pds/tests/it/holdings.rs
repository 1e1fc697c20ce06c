//! What a hold asks of its records, and that an index made anew gives the same answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atcr_atproto::data_model::{RAW, cid_of};
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::{AtUri, Datetime, Did, RecordKey};
use atcr_hold_pds::{
    HoldRepo, Newcomers, RecordWrite, RepoError, RosterFrom, RosterOrder, RosterPage, RosterQuery, Usage,
};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::repository::{open, rkey, scratch};

fn alice() -> Did {
    "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap()
}

fn bob() -> Did {
    "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb".parse().unwrap()
}

fn now() -> Datetime {
    "2026-05-01T12:00:00.000Z".parse().unwrap()
}

fn manifest(user: &Did, name: &str) -> AtUri {
    format!("at://{user}/{}/{name}", nsid::MANIFEST).parse().unwrap()
}

fn layer(user: &Did, in_manifest: &str, digest: &str, size: u64) -> LayerRecord {
    LayerRecord::new(
        digest,
        size,
        "application/octet-stream",
        manifest(user, in_manifest),
        user.clone(),
        now(),
    )
}

async fn write_layers(repo: &HoldRepo, layers: &[LayerRecord]) -> Vec<RecordKey> {
    let writes = layers
        .iter()
        .map(|layer| RecordWrite::create(None, layer).unwrap())
        .collect();
    let outcome = repo.write(writes).await.unwrap();
    outcome
        .records
        .iter()
        .map(|record| record.uri.rkey().unwrap())
        .collect()
}

fn usage(unique_blobs: u64, total_bytes: u64) -> Usage {
    Usage {
        unique_blobs,
        total_bytes,
    }
}

#[tokio::test]
async fn usage_counts_every_digest_once_per_user() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), Usage::default());
    let first = write_layers(
        &repo,
        &[
            layer(&alice(), "m1", "sha256:aa", 10),
            layer(&alice(), "m1", "sha256:bb", 5),
        ],
    )
    .await;
    let second = write_layers(
        &repo,
        &[
            layer(&alice(), "m2", "sha256:aa", 10),
            layer(&alice(), "m2", "sha256:cc", 1),
            layer(&bob(), "m3", "sha256:aa", 10),
        ],
    )
    .await;
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), usage(3, 16));
    assert_eq!(repo.usage_of(&bob()).await.unwrap(), usage(1, 10));
    assert_eq!(
        repo.layers_of_manifest(&manifest(&alice(), "m1")).await.unwrap(),
        first
    );
    assert!(
        repo.layers_of_manifest(&manifest(&bob(), "m1"))
            .await
            .unwrap()
            .is_empty()
    );
    let mut of_alice = [first.clone(), second[..2].to_vec()].concat();
    of_alice.sort();
    assert_eq!(repo.layers_of_user(&alice(), 10, None).await.unwrap(), of_alice);
    assert_eq!(
        repo.layers_of_user(&alice(), 2, Some(of_alice[1].as_str()))
            .await
            .unwrap(),
        of_alice[2..]
    );

    let asked = ["sha256:dd", "sha256:aa", "sha256:dd", "sha256:ee"].map(str::to_owned);
    assert_eq!(
        repo.unseen_layers(&alice(), &asked).await.unwrap(),
        ["sha256:dd", "sha256:ee"]
    );
    assert_eq!(
        repo.unseen_layers(&bob(), &["sha256:cc".to_owned()])
            .await
            .unwrap(),
        ["sha256:cc"]
    );

    // aa is in the other manifest still; bb is gone.
    let delete = first
        .into_iter()
        .map(|key| RecordWrite::delete::<LayerRecord>(key).unwrap())
        .collect();
    assert_eq!(repo.write(delete).await.unwrap().deleted, 2);
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), usage(2, 11));
    // A record may come to say something else, and nothing sensible.
    let change = RecordWrite::put(second[1].clone(), &layer(&alice(), "m2", "sha256:ff", 100)).unwrap();
    let spoil = RecordWrite::Put {
        collection: nsid::HOLD_LAYER.parse().unwrap(),
        rkey: second[2].clone(),
        value: json!({ "digest": 7 }),
    };
    repo.write(vec![change, spoil]).await.unwrap();
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), usage(2, 110));
    assert_eq!(repo.usage_of(&bob()).await.unwrap(), usage(0, 0));
    // What a hostile client claims does not overflow.
    let monstrous: Vec<_> = (0..20)
        .map(|n| layer(&bob(), "m4", &format!("sha256:{n}"), (1 << 63) - 1))
        .collect();
    write_layers(&repo, &monstrous).await;
    assert_eq!(repo.usage_of(&bob()).await.unwrap(), usage(20, 20 << 43));
    repo.verify().await.unwrap();

    let answers = |repo: HoldRepo| async move {
        (
            repo.usage_of(&alice()).await.unwrap(),
            repo.usage_of(&bob()).await.unwrap(),
            repo.layers_of_manifest(&manifest(&alice(), "m2")).await.unwrap(),
        )
    };
    let before = answers(repo.clone()).await;
    repo.close().await;
    std::fs::remove_file(dir.path().join("repo/index.sqlite")).unwrap();
    let repo = open(dir.path()).await;
    assert_eq!(answers(repo.clone()).await, before);
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn members_are_found_by_what_their_record_says() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let member = |did: &Did, role: &str| CrewRecord::new(did.clone(), role, [crew::BLOB_READ], now());
    assert_eq!(repo.crew_by_member(&alice()).await.unwrap(), None);

    // Under the key that older holds chose, then also under ours, which wins.
    let old_key: RecordKey = alice().as_str().parse().unwrap();
    repo.write(vec![
        RecordWrite::put(old_key.clone(), &member(&alice(), "old")).unwrap(),
    ])
    .await
    .unwrap();
    let found = repo.crew_by_member(&alice()).await.unwrap().unwrap();
    assert_eq!(
        (found.rkey, found.record.role),
        (old_key.clone(), "old".to_owned())
    );
    let own_key = crew::rkey(&alice()).unwrap();
    repo.write(vec![
        RecordWrite::put(own_key.clone(), &member(&alice(), "new")).unwrap(),
    ])
    .await
    .unwrap();
    assert_eq!(
        repo.crew_by_member(&alice()).await.unwrap().unwrap().record.role,
        "new"
    );
    repo.write(vec![RecordWrite::delete::<CrewRecord>(own_key).unwrap()])
        .await
        .unwrap();
    assert_eq!(
        repo.crew_by_member(&alice()).await.unwrap().unwrap().rkey,
        old_key
    );

    let spoilt = RecordWrite::Put {
        collection: nsid::HOLD_CREW.parse().unwrap(),
        rkey: rkey("spoilt"),
        value: json!({ "member": "nobody" }),
    };
    let key = crew::rkey(&bob()).unwrap();
    repo.write(vec![
        spoilt,
        RecordWrite::create(Some(key), &member(&bob(), "member")).unwrap(),
    ])
    .await
    .unwrap();
    let mut members = Vec::new();
    let mut cursor = None;
    loop {
        let page = repo.crew_page(1, cursor.as_deref()).await.unwrap();
        members.extend(page.members.into_iter().map(|member| member.record.member));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    members.sort();
    assert_eq!(members, [alice(), bob()]);
}

#[tokio::test]
async fn a_record_that_several_commits_of_one_batch_change_counts_as_the_last_says() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let key = |name: &str| -> RecordKey { name.parse().unwrap() };
    let put = |name: &str, digest: &str, size| {
        vec![RecordWrite::put(key(name), &layer(&alice(), "m1", digest, size)).unwrap()]
    };
    let delete = |name: &str| vec![RecordWrite::delete::<LayerRecord>(key(name)).unwrap()];
    let calls = [
        put("a", "sha256:aa", 1),
        put("a", "sha256:bb", 10),
        put("b", "sha256:cc", 100),
        delete("b"),
        put("c", "sha256:dd", 1000),
        delete("c"),
        put("c", "sha256:ee", 10_000),
    ];
    for outcome in join_all(calls.map(|writes| repo.write(writes))).await {
        outcome.unwrap();
    }
    repo.verify().await.unwrap();
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), usage(2, 10_010));
}

#[tokio::test]
async fn the_captain_record_is_read_back() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    assert_eq!(repo.captain().await.unwrap(), None);
    let captain = CaptainRecord::new(alice(), now());
    repo.write(vec![
        RecordWrite::put(RecordKey::literal_self(), &captain).unwrap(),
    ])
    .await
    .unwrap();
    assert_eq!(repo.captain().await.unwrap(), Some(captain));
}

#[tokio::test]
async fn a_write_does_not_wait_for_the_index_and_queries_do() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let file = SqliteConnectOptions::new().filename(dir.path().join("repo/index.sqlite"));
    let mut other = SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // This transaction keeps every other writer out of the index.
    write_layers(&repo, &[layer(&alice(), "m1", "sha256:aa", 10)]).await;
    let user = alice();
    let mut asked = Box::pin(repo.usage_of(&user));
    for _ in 0..100 {
        assert!(futures_util::poll!(asked.as_mut()).is_pending());
        sqlx::query("SELECT 1").execute(&mut other).await.unwrap();
    }
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(asked.await.unwrap(), usage(1, 10));
}

#[tokio::test]
async fn a_query_does_not_wait_for_the_index_for_ever() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let file = SqliteConnectOptions::new().filename(dir.path().join("repo/index.sqlite"));
    let mut other = SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    write_layers(&repo, &[layer(&alice(), "m1", "sha256:aa", 10)]).await;
    // The time of a query passes at once; that of SQLite does not.
    tokio::time::pause();
    let refused = repo.usage_of(&alice()).await;
    assert!(matches!(refused, Err(RepoError::IndexBehind)), "{refused:?}");
    assert!(!repo.is_index_whole().await);
    tokio::time::resume();
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    while !repo.is_index_whole().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), usage(1, 10));
}

#[tokio::test]
async fn an_index_that_fails_is_brought_up_once_it_can_be_without_another_write() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let file = SqliteConnectOptions::new().filename(dir.path().join("repo/index.sqlite"));
    let mut other = SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    write_layers(&repo, &[layer(&alice(), "m1", "sha256:aa", 10)]).await;
    // SQLite gives up the wait for the lock.
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), usage(0, 0));
    assert_eq!(repo.index_lag_batches(), 1);
    assert!(repo.is_writable());
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    while repo.index_lag_batches() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(repo.usage_of(&alice()).await.unwrap(), usage(1, 10));
    repo.verify().await.unwrap();
}

#[tokio::test]
async fn blobs_to_which_very_many_records_refer_are_all_told_of_since_any_revision() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let blob = |number: usize| {
        let cid = cid_of(RAW, &number.to_le_bytes());
        json!({ "$type": "blob", "ref": { "$link": cid.to_string() }, "mimeType": "image/png", "size": 8 })
    };
    let record = |from: usize| RecordWrite::Create {
        collection: "com.example.album".parse().unwrap(),
        rkey: None,
        value: json!({ "pictures": (from..from + 1000).map(blob).collect::<Vec<_>>() }),
    };
    for album in 0..10 {
        repo.write(vec![record(album * 1000)]).await.unwrap();
    }
    let all = repo.referenced_blobs(20_000, None).await.unwrap();
    assert_eq!(all.len(), 10_000);
    let since = repo.latest_commit().rev;
    assert_eq!(repo.blobs_since(all.clone(), &since).await.unwrap(), []);
    // The last ones are now named again, and more records than are looked at name some of them.
    repo.write(vec![record(9000)]).await.unwrap();
    let newer = repo.blobs_since(all.clone(), &since).await.unwrap();
    let named = (9000..10_000).map(|number: usize| cid_of(RAW, &number.to_le_bytes()));
    for cid in named {
        assert!(newer.contains(&cid), "{cid}");
    }
}

/// The DIDs of a page.
fn members(page: &RosterPage) -> Vec<&str> {
    let ends = page.entries.iter().map(|entry| entry.member.as_str());
    ends.map(|did| did.rsplit(':').next().unwrap()).collect()
}

#[tokio::test]
async fn the_crew_is_searched_sorted_and_paged_in_both_directions() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let mut writes = Vec::new();
    for (index, name) in ["ann", "bo", "cy", "di", "eve"].into_iter().enumerate() {
        let member: Did = format!("did:web:{name}").parse().unwrap();
        let added: Datetime = format!("2026-05-0{}T12:00:00.000Z", index + 1).parse().unwrap();
        let mut record = CrewRecord::new(member.clone(), "member", ["blob:read", "blob:write"], added);
        record.tier = (index % 2 == 0).then(|| "bosun".to_owned());
        writes.push(RecordWrite::create(Some(crew::rkey(&member).unwrap()), &record).unwrap());
        if name != "eve" {
            let layer = layer(
                &member,
                "one",
                &format!("sha256:{name}"),
                100 * (5 - index as u64),
            );
            writes.push(RecordWrite::create(None, &layer).unwrap());
        }
    }
    // Another account has one of them, too: it counts once among all, and for each of the two.
    let shared = layer(&bob(), "one", "sha256:ann", 500);
    writes.push(RecordWrite::create(None, &shared).unwrap());
    repo.write(writes).await.unwrap();

    let query = |order, from| RosterQuery {
        order,
        from,
        limit: 2,
        ..RosterQuery::default()
    };
    let first = repo
        .roster(&query(RosterOrder::Newest, RosterFrom::Top))
        .await
        .unwrap();
    assert_eq!(members(&first), ["eve", "di"]);
    assert_eq!((first.has_above, first.has_below), (false, true));
    assert_eq!(first.entries[1].permissions, ["blob:read", "blob:write"]);
    let below = RosterFrom::Below(first.entries[1].place(RosterOrder::Newest));
    let second = repo.roster(&query(RosterOrder::Newest, below)).await.unwrap();
    assert_eq!(members(&second), ["cy", "bo"]);
    assert_eq!((second.has_above, second.has_below), (true, true));
    let above = RosterFrom::Above(second.entries[0].place(RosterOrder::Newest));
    let back = repo.roster(&query(RosterOrder::Newest, above)).await.unwrap();
    assert_eq!(back, first);
    let largest = repo
        .roster(&query(RosterOrder::Largest, RosterFrom::Top))
        .await
        .unwrap();
    assert_eq!(members(&largest), ["ann", "bo"]);
    assert_eq!(largest.entries[0].usage, usage(1, 500));

    let found = RosterQuery {
        text: "y".to_owned(),
        or_members: vec!["did:web:eve".to_owned()],
        limit: 10,
        ..RosterQuery::default()
    };
    assert_eq!(members(&repo.roster(&found).await.unwrap()), ["eve", "cy"]);
    let tier = RosterQuery {
        tier: Some("bosun".to_owned()),
        limit: 10,
        ..RosterQuery::default()
    };
    assert_eq!(members(&repo.roster(&tier).await.unwrap()), ["eve", "cy", "ann"]);
    assert_eq!(
        repo.crew_by_tier().await.unwrap(),
        [(None, 2), (Some("bosun".to_owned()), 3)]
    );

    let totals = repo.usage_totals().await.unwrap();
    assert_eq!((totals.accounts, totals.blobs, totals.bytes), (5, 5, 1900));
    let layers = repo.layer_totals(1).await.unwrap();
    assert_eq!((layers.blobs, layers.bytes), (4, 1400));
    assert_eq!(
        (layers.largest[0].digest.as_str(), layers.largest[0].records),
        ("sha256:ann", 2)
    );
    let largest = repo.largest_accounts(1).await.unwrap();
    assert_eq!(largest[0].usage, usage(1, 500));
    repo.close().await;
}

#[tokio::test]
async fn who_becomes_captain_or_crew_is_told_of_before_and_is_not_if_that_fails() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = told.clone();
    repo.tell_newcomers_to(Newcomers::new(move |dids| {
        let list = list.clone();
        Box::pin(async move {
            if dids.contains(&bob()) {
                return Err(std::io::Error::other("the list is full"));
            }
            list.lock().unwrap().extend(dids);
            Ok(())
        })
    }));
    let captain = CaptainRecord::new(alice(), now());
    let write = RecordWrite::put(rkey("self"), &captain).unwrap();
    repo.write(vec![write]).await.unwrap();
    write_layers(&repo, &[layer(&bob(), "one", "sha256:one", 1)]).await;
    assert_eq!(*told.lock().unwrap(), [alice()]);

    let member = CrewRecord::new(bob(), "member", [crew::BLOB_READ], now());
    let write = RecordWrite::create(None, &member).unwrap();
    let refused = repo.write(vec![write]).await.unwrap_err();
    assert!(matches!(refused, RepoError::Disk { .. }), "{refused}");
    assert!(repo.crew_by_member(&bob()).await.unwrap().is_none());
}
