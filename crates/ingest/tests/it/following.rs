//! A firehose into the index.

use atcr_atproto::syntax::Datetime;
use atcr_index::ports::{IndexReader as _, IndexWriter as _};
use atcr_repo::firehose::{AccountEvent, Message, info};
use chrono::TimeDelta;

use crate::host::{Host, World, alice, bob, delete, now, put_manifest, put_post, put_tag};
use crate::streams::{self, Stream, firehose};

/// Follows the stream from where the index has it to its end. Returns how many frames there were.
async fn follow(world: &World, stream: &Stream, host: &Host) -> u64 {
    let (frames, ended) = streams::follow(world, &stream.place("host"), firehose(world, host)).await;
    ended.unwrap();
    frames
}

#[tokio::test]
async fn commits_are_in_the_index_without_a_listing() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    stream.push_commit(&host.commit(
        &alice(),
        vec![put_manifest("app", '1'), put_tag(&alice(), "app", "latest", '1')],
    ));
    stream.push_commit(&host.commit(&alice(), vec![put_post("hello")]));
    stream.push_commit(&host.commit(&alice(), vec![put_tag(&alice(), "app", "1.0", '1')]));
    stream.push_bytes(&b"what is this?"[..]);
    stream.push_commit(&host.commit(&alice(), vec![delete("io.atcr.tag/app_latest")]));
    assert_eq!(follow(&world, &stream, &host).await, 5);
    assert_eq!(world.scheduler.drain().await.unwrap(), 0);
    assert_eq!(host.pages(), 0);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!((view.card.tags, view.pull_tag.as_deref()), (1, Some("1.0")));
    assert_eq!(
        world.revision(&alice()).await,
        Some(host.change(&alice(), |account| account.rev()))
    );
    // The next connection begins behind what is written.
    assert_eq!(follow(&world, &stream, &host).await, 0);
    assert_eq!(world.store.take_source("host").await.unwrap().1, Some(5));
}

#[tokio::test]
async fn accounts_without_images_cost_nothing() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    for number in 0..5 {
        stream.push_commit(&host.commit(&alice(), vec![put_post(&format!("post{number}"))]));
    }
    follow(&world, &stream, &host).await;
    assert!(world.store.account(&alice()).await.unwrap().is_none());
    // Until the first image: then all of the account is listed.
    stream.push_commit(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    follow(&world, &stream, &host).await;
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_some());
}

#[tokio::test]
async fn a_lie_is_not_written_and_the_accounts_own_server_is_asked() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    stream.push_commit(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    follow(&world, &stream, &host).await;

    let mut foreign = host.commit(&bob(), vec![put_manifest("evil", '2')]);
    foreign.repo = alice();
    stream.push_commit(&foreign);
    let mut left_out = host.commit(
        &alice(),
        vec![put_manifest("app", '3'), put_tag(&alice(), "app", "x", '3')],
    );
    left_out.ops.pop();
    stream.push_commit(&left_out);
    follow(&world, &stream, &host).await;
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!((view.manifests, view.card.tags), (1, 0));
    assert!(world.store.repository(&alice(), "evil").await.unwrap().is_none());
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!((view.manifests, view.card.tags), (2, 1));
}

#[tokio::test]
async fn a_status_on_a_stream_is_what_the_accounts_own_server_says() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    stream.push_commit(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    follow(&world, &stream, &host).await;
    let gone = AccountEvent {
        seq: 2,
        did: alice(),
        time: Datetime::new(now()),
        active: false,
        status: Some("takendown".to_owned()),
    };
    stream.push(Message::Account(gone));
    follow(&world, &stream, &host).await;
    world.scheduler.drain().await.unwrap();
    // An old host that speaks last in a migration changes nothing.
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_some());
    host.change(&alice(), |account| {
        account.status = Some(atcr_index::change::Status::TakenDown);
    });
    world.clock.advance(TimeDelta::minutes(1));
    world.catch_up.run(&alice()).await.unwrap();
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_none());
}

#[tokio::test]
async fn a_relay_whose_numbers_begin_anew_is_read_from_its_start() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let relay = Stream::default();
    relay.push_commit(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    relay.push_commit(&host.commit(&alice(), vec![put_post("hello")]));
    follow(&world, &relay, &host).await;
    relay.begin_anew();
    relay.push_commit(&host.commit(&alice(), vec![put_tag(&alice(), "app", "1.0", '1')]));
    let (_, ended) = streams::follow(&world, &relay.place("host"), firehose(&world, &host)).await;
    assert!(ended.unwrap_err().to_string().contains("FutureCursor"));
    follow(&world, &relay, &host).await;
    assert_eq!(relay.connections(), [None, Some(2), Some(0)]);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 1);
}

#[tokio::test]
async fn what_a_relay_no_longer_has_is_read_from_the_accounts_themselves() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let relay = Stream::default();
    relay.push_commit(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    follow(&world, &relay, &host).await;
    host.commit(&alice(), vec![put_tag(&alice(), "app", "lost", '1')]);
    relay.push_bytes(info("OutdatedCursor", "").unwrap());
    follow(&world, &relay, &host).await;
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 1);
}

#[tokio::test]
async fn an_account_that_a_relay_only_names_leaves_no_row() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_post("hello")]);
    host.commit(&bob(), vec![put_manifest("app", '1')]);
    let relay = Stream::default();
    // Alice never pushed an image, but the relay says so.
    let mut lie = host.commit(&bob(), vec![put_manifest("app", '2')]);
    lie.repo = alice();
    relay.push_commit(&lie);
    // That it is her first commit is believed no more.
    lie.since = None;
    relay.push_commit(&lie);
    relay.push_commit(&host.commit(&bob(), vec![put_manifest("app", '3')]));
    follow(&world, &relay, &host).await;
    assert_eq!(world.scheduler.drain().await.unwrap(), 2);
    assert!(world.store.account(&alice()).await.unwrap().is_none());
    let view = world.store.repository(&bob(), "app").await.unwrap().unwrap();
    assert_eq!(view.manifests, 3);
}

#[tokio::test]
async fn a_commit_that_a_relay_calls_the_first_does_not_hide_what_was_before() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    let relay = Stream::default();
    let mut second = host.commit(&alice(), vec![put_manifest("app", '2')]);
    second.since = None;
    relay.push_commit(&second);
    follow(&world, &relay, &host).await;
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_none());
    world.scheduler.drain().await.unwrap();
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.manifests, 2);
}

#[tokio::test]
async fn a_commit_that_a_relay_drops_behind_a_listing_is_missed() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    world.catch_up.run(&alice()).await.unwrap();
    let listed = host.change(&alice(), |account| account.rev());
    // The next commit is dropped, and the one behind it says to be based on the revision that was listed.
    host.commit(&alice(), vec![put_manifest("app", '2')]);
    let mut third = host.commit(&alice(), vec![put_manifest("app", '3')]);
    third.since = Some(listed);
    let relay = Stream::default();
    relay.push_commit(&third);
    follow(&world, &relay, &host).await;
    world.scheduler.drain().await.unwrap();
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.manifests, 3);
    // From then on commits are written as they come.
    let relay = Stream::default();
    relay.push_commit(&host.commit(&alice(), vec![put_tag(&alice(), "app", "1.0", '1')]));
    let place = relay.place("another");
    let ended = streams::follow(&world, &place, firehose(&world, &host)).await.1;
    ended.unwrap();
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 1);
}

#[tokio::test]
async fn a_relay_that_keeps_losing_events_has_accounts_compared_once_an_hour() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    world.catch_up.run(&alice()).await.unwrap();
    let relay = Stream::default();
    let intake = firehose(&world, &host);
    for (minutes, compared) in [(0, 1), (5, 0), (54, 0)] {
        world.clock.advance(TimeDelta::minutes(minutes));
        relay.push_bytes(info("OutdatedCursor", "").unwrap());
        relay.push_commit(&host.commit(&bob(), vec![put_post(&format!("after{minutes}"))]));
        let ended = streams::follow(&world, &relay.place("host"), intake.clone())
            .await
            .1;
        ended.unwrap();
        assert_eq!(world.scheduler.drain().await.unwrap(), compared);
    }
    // What was missed meanwhile is not forgotten.
    world.clock.advance(TimeDelta::minutes(1));
    relay.push_commit(&host.commit(&bob(), vec![put_post("hello")]));
    let ended = streams::follow(&world, &relay.place("host"), intake).await.1;
    ended.unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_up_no_comparison() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    world.catch_up.run(&alice()).await.unwrap();
    let relay = Stream::default();
    let intake = firehose(&world, &host);
    for hours in [0, -5, 1] {
        world.clock.advance(TimeDelta::hours(hours));
        relay.push_bytes(info("OutdatedCursor", "").unwrap());
        relay.push_commit(&host.commit(&bob(), vec![put_post(&format!("after{hours}"))]));
        let ended = streams::follow(&world, &relay.place("host"), intake.clone())
            .await
            .1;
        ended.unwrap();
        assert_eq!(world.scheduler.drain().await.unwrap(), 1, "{hours}");
    }
}
