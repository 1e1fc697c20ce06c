//! A Jetstream: it hints, and is never believed.

use atcr_index::ports::{IndexReader as _, IndexWriter as _};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::host::{Host, World, alice, bob, now, put_manifest, put_post, put_tag, rev};
use crate::streams::{Stream, follow, hint_1, hint_2, jetstream};

const SECOND: i64 = 1_000_000;

#[tokio::test]
async fn a_hint_has_the_accounts_own_server_asked_and_nothing_else() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    host.commit(&bob(), vec![put_post("hello")]);
    let head = host.change(&alice(), |account| account.rev());
    stream.push_hint(
        -60 * SECOND,
        hint_1(&alice(), &head, "io.atcr.tag/app_forged", -60 * SECOND),
    );
    // Bob has no image, whatever is said of him.
    stream.push_hint(
        -59 * SECOND,
        hint_2(&bob(), &head, "io.atcr.manifest/forged", -59 * SECOND),
    );
    stream.push_hint(-58 * SECOND, "{ not json");
    stream.push_hint(
        -40 * SECOND,
        hint_1(&bob(), &head, "app.bsky.feed.post/x", -40 * SECOND),
    );
    let (frames, ended) = follow(&world, &stream.place("one"), jetstream(&world, &host)).await;
    ended.unwrap();
    assert_eq!(frames, 4);
    assert_eq!(world.scheduler.drain().await.unwrap(), 2);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!((view.manifests, view.card.tags), (1, 0));
    assert!(
        world
            .store
            .repository(&alice(), "forged")
            .await
            .unwrap()
            .is_none()
    );
    assert!(world.store.account(&bob()).await.unwrap().is_none());

    // What is known costs nothing; what is new is fetched; no future is believed in.
    stream.push_hint(
        -20 * SECOND,
        hint_2(&alice(), &head, "io.atcr.tag/app_1", -20 * SECOND),
    );
    follow(&world, &stream.place("one"), jetstream(&world, &host))
        .await
        .1
        .unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 0);
    host.commit(&alice(), vec![put_tag(&alice(), "app", "2.0", '1')]);
    let future = atcr_atproto::syntax::Tid::from_parts(u64::MAX >> 12, 0);
    stream.push_hint(
        -5 * SECOND,
        hint_2(&alice(), &future, "io.atcr.tag/app_2", -5 * SECOND),
    );
    follow(&world, &stream.place("one"), jetstream(&world, &host))
        .await
        .1
        .unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 1);
}

#[tokio::test]
async fn the_next_jetstream_goes_on_a_little_before_where_the_last_one_was() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    let (one, two) = (Stream::default(), Stream::default());
    let minute = 60 * SECOND;
    one.push_hint(-minute, hint_1(&alice(), &rev(1), "io.atcr.manifest/1", -minute));
    // A time that has not come yet counts as now.
    one.push_hint(0, hint_1(&alice(), &rev(1), "io.atcr.manifest/1", minute));
    follow(&world, &one.place("one"), jetstream(&world, &host))
        .await
        .1
        .unwrap();
    let reached = now().timestamp_micros();
    assert_eq!(
        world.store.take_source("jetstream").await.unwrap().1,
        Some(reached)
    );
    two.push_hint(-1, hint_2(&alice(), &rev(1), "io.atcr.manifest/1", -1));
    follow(&world, &two.place("two"), jetstream(&world, &host))
        .await
        .1
        .unwrap();
    assert_eq!(two.connections(), [Some(reached - 10_000_000)]);
    // What comes again moves nothing back.
    assert_eq!(
        world.store.take_source("jetstream").await.unwrap().1,
        Some(reached)
    );
    world.scheduler.drain().await.unwrap();

    // After a day nobody has what was missed: every account is compared with its server.
    host.commit(&alice(), vec![put_tag(&alice(), "app", "missed", '1')]);
    world.clock.advance(TimeDelta::hours(25));
    follow(&world, &Stream::default().place("one"), jetstream(&world, &host))
        .await
        .1
        .unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 1);
}

#[tokio::test]
async fn what_happens_to_an_account_is_asked_of_its_own_server() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    world.catch_up.run(&alice()).await.unwrap();
    let stream = Stream::default();
    let about = |did: &atcr_atproto::syntax::Did, kind: &str| {
        json!({ "did": did.as_str(), "time_us": now().timestamp_micros(), "kind": kind }).to_string()
    };
    // The first connection has every account compared; what follows is told by the stream alone.
    stream.push_hint(0, about(&bob(), "account"));
    follow(&world, &stream.place("one"), jetstream(&world, &host))
        .await
        .1
        .unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    host.change(&alice(), |account| {
        account.handle = "renamed.example".to_owned();
    });
    stream.push_hint(1, about(&alice(), "identity"));
    stream.push_hint(2, about(&bob(), "identity"));
    follow(&world, &stream.place("one"), jetstream(&world, &host))
        .await
        .1
        .unwrap();
    // Bob is nobody's concern.
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    let former = world
        .store
        .former_owner(&"someone.example".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(former, Some(alice()));
    let renamed = world
        .store
        .account_by_handle(&"renamed.example".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(renamed.unwrap().owner.did, alice());
}

#[tokio::test]
async fn no_time_that_a_jetstream_names_ends_the_following() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    let stream = Stream::default();
    let earliest = DateTime::<Utc>::MIN_UTC.timestamp_micros();
    for time in [earliest, earliest + 1, i64::MIN, i64::MAX, 0] {
        let hint = json!({ "did": alice().as_str(), "time_us": time, "kind": "account" }).to_string();
        stream.push_hint(0, hint);
        let (_, ended) = follow(&world, &stream.place("one"), jetstream(&world, &host)).await;
        ended.unwrap();
    }
    stream.push_hint(1, hint_1(&alice(), &rev(1), "io.atcr.manifest/1", 0));
    let (_, ended) = follow(&world, &stream.place("one"), jetstream(&world, &host)).await;
    ended.unwrap();
    world.scheduler.drain().await.unwrap();
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_some());
}
