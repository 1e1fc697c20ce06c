//! Several servers on one database.

use std::time::Duration;

use atcr_index::IndexError;
use atcr_index::change::{Applied, Batch, Fence, Lane, QueuedWork};
use atcr_index::ports::{IndexReader as _, IndexWriter as _, Leases as _, WorkQueue as _};
use atcr_index_suite::Subject as _;
use atcr_index_suite::subject::{alice, bob, image, now, put_manifest, put_tag, step};

use crate::Store;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_lease_is_one_holders_until_its_time_is_over_or_it_is_given_up() {
    let store = Store::new().await;
    let (one, two) = (store.index(), store.opened_again().await);
    assert!(one.hold_lease("ingest", "one", MINUTE).await.unwrap());
    assert!(!two.hold_lease("ingest", "two", MINUTE).await.unwrap());
    assert!(two.hold_lease("other", "two", MINUTE).await.unwrap());
    assert!(one.hold_lease("ingest", "one", MINUTE).await.unwrap());
    // Not its own.
    two.give_up_lease("ingest", "two").await.unwrap();
    assert!(!two.hold_lease("ingest", "two", MINUTE).await.unwrap());
    one.give_up_lease("ingest", "one").await.unwrap();
    assert!(two.hold_lease("ingest", "two", MINUTE).await.unwrap());
    // The holder has died.
    store.run("UPDATE atcr_index.lease SET expires_at = clock_timestamp() WHERE name = 'ingest'");
    assert!(one.hold_lease("ingest", "one", MINUTE).await.unwrap());
    assert!(!two.hold_lease("ingest", "two", MINUTE).await.unwrap());
}

#[tokio::test]
async fn servers_that_write_at_once_lose_no_count() {
    let store = Store::new().await;
    let other = store.opened_again().await;
    let (one, two) = (store.index().clone(), other);
    let mut writing = tokio::task::JoinSet::new();
    for (index, owner) in [(one, alice()), (two, bob())] {
        writing.spawn(async move {
            for number in 0..20 {
                let base = (number > 0).then_some(number);
                let digit = char::from(b'a' + u8::try_from(number % 6).unwrap());
                // Both star the same repository, whose total is one number.
                let star = atcr_atproto::lexicon::star::StarRecord::new(
                    &alice(),
                    "app",
                    atcr_index_suite::subject::at(0),
                )
                .unwrap();
                let changes = vec![
                    put_manifest(&owner, &image("app", digit)),
                    put_tag(&owner, "app", &format!("v{number}"), digit, 1),
                    atcr_index_suite::subject::put(
                        &owner,
                        atcr_index::Collection::Star,
                        &format!("s{number}").parse().unwrap(),
                        &star,
                    ),
                ];
                let batch = Batch::of(step(&owner, base, number + 1, changes));
                assert_eq!(index.apply(&batch, now()).await.unwrap(), [Applied::Done]);
            }
        });
    }
    writing.join_all().await;
    // The totals agree with their rows.
    store.dump().await;
    let view = store.index().repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!((view.card.tags, view.card.stars), (20, 2));
}

/// While a writer of another server takes its time, this one's batches wait without its connections: leases are renewed, accounts are
/// claimed, and it knows that it can write.
#[tokio::test]
async fn leases_and_the_queue_do_not_wait_behind_writers() {
    let store = Store::new().await;
    let mut other = store.connection().await;
    sqlx::raw_sql("SELECT pg_advisory_lock(7022347061016749176)")
        .execute(&mut other)
        .await
        .unwrap();
    let mut writing = tokio::task::JoinSet::new();
    for number in 0..12 {
        let index = store.index().clone();
        writing.spawn(async move {
            let base = (number > 0).then_some(number);
            let changes = vec![put_tag(&alice(), "app", &format!("v{number}"), '1', 1)];
            let batch = Batch::of(step(&alice(), base, number + 1, changes));
            index.apply(&batch, now()).await.unwrap();
        });
    }
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while store.run(waiting).trim().parse::<usize>().unwrap() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        assert!(store.index().hold_lease("ingest", "one", MINUTE).await.unwrap());
        store.index().check().await.unwrap();
        let claimed = store.index().claim(&Lane::ALL, 1, now(), now() + MINUTE).await;
        assert_eq!(claimed.unwrap(), []);
    }
    assert_eq!(store.run(waiting).trim(), "2");
    drop(other);
    writing.join_all().await;
    store.dump().await;
}

#[tokio::test]
async fn an_account_is_claimed_by_one_server() {
    let store = Store::new().await;
    let other = store.opened_again().await;
    let work: Vec<QueuedWork> = (0..200)
        .map(|number| QueuedWork {
            did: format!("did:plc:{number:024}")
                .replace('0', "a")
                .replace('1', "b")
                .replace('8', "c")
                .replace('9', "d")
                .parse()
                .unwrap(),
            lane: Lane::Gap,
            due: now(),
        })
        .collect();
    store.index().enqueue(&work).await.unwrap();
    let queued: u64 = store
        .run("SELECT count(*) FROM atcr_index.work")
        .trim()
        .parse()
        .unwrap();
    let mut claiming = tokio::task::JoinSet::new();
    for index in [store.index().clone(), other] {
        claiming.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = index.claim(&Lane::ALL, 7, now(), now() + MINUTE).await.unwrap();
                if claimed.is_empty() {
                    break mine;
                }
                mine.extend(claimed.into_iter().map(|work| work.did));
            }
        });
    }
    let mut all: Vec<_> = claiming.join_all().await.into_iter().flatten().collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(
        (u64::try_from(count).unwrap(), u64::try_from(all.len()).unwrap()),
        (queued, queued)
    );
}

#[tokio::test]
async fn the_batch_of_a_leader_that_was_replaced_is_refused_whole() {
    let store = Store::new().await;
    let successor = store.opened_again().await;
    let (old, _) = store.index().take_source("relay").await.unwrap();
    let (new, cursor) = successor.take_source("relay").await.unwrap();
    assert_eq!((new, cursor), (old + 1, None));
    let batch = |epoch, owner, cursor| Batch {
        fence: Some(Fence {
            source: "relay".to_owned(),
            epoch,
            cursor,
        }),
        ..Batch::of(step(
            &owner,
            None,
            1,
            vec![put_manifest(&owner, &image("app", '1'))],
        ))
    };
    let refused = store.index().apply(&batch(old, alice(), Some(5)), now()).await;
    assert!(matches!(refused, Err(IndexError::Fenced(_))));
    assert!(successor.account(&alice()).await.unwrap().is_none());
    successor.apply(&batch(new, bob(), Some(6)), now()).await.unwrap();
    assert_eq!(successor.take_source("relay").await.unwrap(), (new + 1, Some(6)));
}
