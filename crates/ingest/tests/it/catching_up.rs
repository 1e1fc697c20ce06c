//! Accounts listed from their own servers.

use std::collections::BTreeMap;
use std::time::Duration;

use atcr_index::change::{Coverage, Lane, QueuedWork, Status};
use atcr_index::ports::{IndexReader as _, WorkQueue as _};
use atcr_ingest::catch_up::{Limits, Outcome};
use atcr_ingest::schedule::Look;
use atcr_server::Shutdown;
use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::timeout;

use crate::host::{Host, World, alice, bob, delete, now, put_manifest, put_post, put_tag};

fn many_tags(count: usize) -> Vec<(String, Option<serde_json::Value>)> {
    (0..count)
        .map(|number| put_tag(&alice(), "app", &format!("1.{number}"), '1'))
        .collect()
}

#[tokio::test]
async fn an_account_is_listed_whole_and_what_is_gone_is_removed() {
    let host = Host::with(&[alice()]);
    host.commit(
        &alice(),
        vec![put_manifest("app", '1'), put_tag(&alice(), "app", "latest", '1')],
    );
    host.commit(&alice(), many_tags(10));
    let world = World::new(&host).await;
    let outcome = world.catch_up.run(&alice()).await.unwrap();
    assert_eq!(
        outcome,
        Outcome::Caught {
            changes: 12,
            is_whole: true
        }
    );
    assert_eq!(world.catch_up.run(&alice()).await.unwrap(), Outcome::Current);
    host.commit(
        &alice(),
        vec![
            delete("io.atcr.tag/app_latest"),
            put_tag(&alice(), "app", "1.3", '2'),
        ],
    );
    let outcome = world.catch_up.run(&alice()).await.unwrap();
    assert_eq!(
        outcome,
        Outcome::Caught {
            changes: 2,
            is_whole: true
        }
    );
    let card = world
        .store
        .repository(&alice(), "app")
        .await
        .unwrap()
        .unwrap()
        .card;
    assert_eq!(card.tags, 10);
    // What others wrote moves the account all the same.
    host.commit(&alice(), vec![put_post("hello")]);
    assert_eq!(
        world.catch_up.run(&alice()).await.unwrap(),
        Outcome::Caught {
            changes: 0,
            is_whole: true
        }
    );
    world.dump().await;
}

#[tokio::test]
async fn an_account_that_changes_while_it_is_listed_is_listed_again() {
    let host = Host::with(&[alice()]);
    host.commit(&alice(), many_tags(5));
    let world = World::new(&host).await;
    host.commit_during_listing(
        &alice(),
        vec![
            delete("io.atcr.tag/app_1.0"),
            put_tag(&alice(), "app", "new", '2'),
        ],
    );
    let outcome = world.catch_up.run(&alice()).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Caught { is_whole: true, .. }),
        "{outcome:?}"
    );
    let fresh = World::new(&host).await;
    fresh.catch_up.run(&alice()).await.unwrap();
    assert_eq!(world.dump().await, fresh.dump().await);
}

#[tokio::test]
async fn an_account_that_never_stands_still_is_left_for_later() {
    let host = Host::with(&[alice()]);
    host.commit(&alice(), many_tags(2));
    let world = World::new(&host).await;
    for number in 0..200 {
        host.commit_during_listing(&alice(), vec![put_post(&format!("p{number}"))]);
    }
    assert_eq!(world.catch_up.run(&alice()).await.unwrap(), Outcome::Moving);
}

#[tokio::test]
async fn more_than_is_listed_of_one_account_is_cut_and_says_so() {
    let host = Host::with(&[alice()]);
    host.commit(&alice(), many_tags(20));
    let limits = Limits {
        records: 10,
        bytes: 1_000_000,
    };
    let world = World::within(&host, limits).await;
    let outcome = world.catch_up.run(&alice()).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Caught { is_whole: false, .. }),
        "{outcome:?}"
    );
    let account = world.store.account(&alice()).await.unwrap().unwrap();
    assert_eq!(account.coverage, Coverage::Cut);
}

#[tokio::test]
async fn an_account_that_is_not_served_is_hidden_until_it_is() {
    let host = Host::with(&[alice()]);
    host.commit(&alice(), many_tags(2));
    let world = World::new(&host).await;
    world.catch_up.run(&alice()).await.unwrap();
    let is_seen = async || world.store.repository(&alice(), "app").await.unwrap().is_some();
    assert!(is_seen().await);
    host.change(&alice(), |account| account.status = Some(Status::Deactivated));
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(
        world.catch_up.run(&alice()).await.unwrap(),
        Outcome::Hidden(Status::Deactivated)
    );
    assert!(!is_seen().await);
    host.change(&alice(), |account| account.status = None);
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(world.catch_up.run(&alice()).await.unwrap(), Outcome::Current);
    assert!(is_seen().await);
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_is_new_is_looked_at_once() {
    let host = Host::with(&[alice()]);
    host.commit(&alice(), many_tags(2));
    let world = World::new(&host).await;
    host.go_down(true);
    let due = QueuedWork {
        did: alice(),
        lane: Lane::Gap,
        due: now(),
    };
    world.store.enqueue(&[due]).await.unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    assert_eq!(world.revision(&alice()).await, None);
    host.go_down(false);
    assert_eq!(world.scheduler.drain().await.unwrap(), 0, "not before its time");
    world.scheduler.queue(&alice(), Lane::Gap).await.unwrap();
    assert_eq!(
        world.scheduler.drain().await.unwrap(),
        0,
        "nor because of an event"
    );
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    assert!(world.revision(&alice()).await.is_some());
    assert_eq!(world.scheduler.drain().await.unwrap(), 0);

    let outcome = world
        .scheduler
        .look_at(&alice(), Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(outcome, Some(Outcome::Current));
    // No such account: anybody can name one, so it leaves no row.
    let outcome = world
        .scheduler
        .look_at(&bob(), Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(outcome, Some(Outcome::WithoutRecords));
    assert!(world.store.account(&bob()).await.unwrap().is_none());
    for _ in 0..2 {
        let look = world
            .scheduler
            .looked_at(&bob(), false, Duration::from_mins(1))
            .await;
        assert_eq!(look, Look::WithoutRecords);
    }
}

#[tokio::test]
async fn what_changed_since_is_enough_and_says_the_same_as_a_listing() {
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(seed);
        let host = Host::with(&[alice()]);
        host.commit(&alice(), many_tags(60));
        let world = World::new(&host).await;
        world.catch_up.run(&alice()).await.unwrap();
        let pages = host.pages();
        for round in 0..12 {
            // A commit that changes nothing has nothing to tell by.
            host.commit(&alice(), vec![put_post(&format!("round{round}"))]);
            for _ in 0..rng.random_range(1..4) {
                let writes = (0..rng.random_range(1..6)).map(|_| {
                    let tag = format!("1.{}", rng.random_range(0..80));
                    match rng.random_range(0..5) {
                        0 | 1 => (format!("io.atcr.tag/app_{tag}"), None),
                        2 => put_post(&tag),
                        _ => put_tag(&alice(), "app", &tag, char::from(b'1' + rng.random_range(0..3))),
                    }
                });
                // One write a record.
                let writes: BTreeMap<_, _> = writes.collect();
                host.commit_existing(&alice(), writes.into_iter().collect());
            }
            world.catch_up.run(&alice()).await.unwrap();
        }
        assert_eq!(host.pages(), pages, "nothing was listed");
        let fresh = World::new(&host).await;
        fresh.catch_up.run(&alice()).await.unwrap();
        assert_eq!(world.dump().await, fresh.dump().await, "seed {seed}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_say_what_changed_is_listed() {
    let host = Host::with(&[alice()]);
    host.commit(&alice(), many_tags(3));
    let world = World::new(&host).await;
    world.catch_up.run(&alice()).await.unwrap();
    let pages = host.pages();
    host.change(&alice(), |account| account.is_silent = true);
    host.commit(&alice(), vec![delete("io.atcr.tag/app_1.0")]);
    world.catch_up.run(&alice()).await.unwrap();
    assert!(host.pages() > pages);
    let card = world
        .store
        .repository(&alice(), "app")
        .await
        .unwrap()
        .unwrap()
        .card;
    assert_eq!(card.tags, 2);
}

#[tokio::test]
async fn accounts_whose_servers_do_not_answer_leave_room_for_the_others() {
    let host = Host::with(&[alice(), bob()]);
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    host.commit(&bob(), vec![put_manifest("app", '1')]);
    let world = World::new(&host).await;
    let slow: Vec<_> = (0..20).map(|number| host.add_without_answer(number)).collect();
    for did in &slow {
        world.scheduler.queue(did, Lane::Gap).await.unwrap();
    }
    world.scheduler.queue(&alice(), Lane::Discovered).await.unwrap();
    world.scheduler.queue(&bob(), Lane::Audit).await.unwrap();
    let mut read = host.read_accounts();
    let shutdown = Shutdown::new();
    world.scheduler.clone().spawn(&shutdown);
    let both = read.wait_for(|read| read.len() == 2);
    timeout(Duration::from_secs(20), both).await.unwrap().unwrap();
    shutdown.hard().cancel();
}

#[tokio::test]
async fn an_account_that_was_only_named_is_given_up_when_its_server_stays_away() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    host.go_down(true);
    world.scheduler.queue(&alice(), Lane::Discovered).await.unwrap();
    let mut attempts = 0;
    for _ in 0..20 {
        attempts += world.scheduler.drain().await.unwrap();
        world.clock.advance(TimeDelta::hours(7));
    }
    assert_eq!(attempts, 9);
}

#[tokio::test]
async fn an_account_that_has_had_its_turns_waits_but_not_for_a_clock_that_was_set_back() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let turn = async |number: usize| {
        host.commit(
            &alice(),
            vec![put_tag(&alice(), "app", &format!("1.{number}"), '1')],
        );
        world.scheduler.queue(&alice(), Lane::Gap).await.unwrap();
        assert_eq!(world.scheduler.drain().await.unwrap(), 1);
        world.revision(&alice()).await == Some(host.change(&alice(), |account| account.rev()))
    };
    for number in 0..60 {
        assert!(turn(number).await, "turn {number}");
    }
    world.clock.advance(TimeDelta::hours(-2));
    assert!(turn(60).await, "an hour that has not begun yet is not waited for");
    for number in 61..120 {
        assert!(turn(number).await, "turn {number}");
    }
    assert!(!turn(120).await, "it has had enough");
    world.clock.advance(TimeDelta::minutes(3));
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 121);
}
