//! A firehose into the index.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use atcr_atproto::syntax::{Datetime, Did};
use atcr_index::ports::{IndexReader as _, IndexWriter as _};
use atcr_ingest::follow::{EventSource, Events, Follower, StreamError};
use atcr_repo::firehose::{AccountEvent, CommitEvent};
use bytes::Bytes;
use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::host::{Host, World, alice, bob, delete, now, put_manifest, put_post, put_tag};

/// Frames that a host has kept, from which each connection gets those behind its cursor.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Vec<(i64, Bytes)>>>);

impl Stream {
    /// Appends a commit under the next number.
    fn push(&self, event: &CommitEvent) {
        let mut frames = self.0.lock().unwrap();
        let seq = i64::try_from(frames.len()).unwrap() + 1;
        let mut event = event.clone();
        event.seq = seq.try_into().unwrap();
        frames.push((seq, event.encode().unwrap().frame));
    }

    fn push_bytes(&self, bytes: &'static [u8]) {
        let mut frames = self.0.lock().unwrap();
        let seq = i64::try_from(frames.len()).unwrap() + 1;
        frames.push((seq, Bytes::from_static(bytes)));
    }
}

struct Frames(VecDeque<Bytes>);

#[async_trait]
impl Events for Frames {
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        Ok(self.0.pop_front())
    }
}

#[async_trait]
impl EventSource for Stream {
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError> {
        let frames = self.0.lock().unwrap();
        let behind = frames
            .iter()
            .filter(|(seq, _)| cursor.is_none_or(|cursor| *seq > cursor));
        Ok(Box::new(Frames(behind.map(|(_, frame)| frame.clone()).collect())))
    }
}

fn follower(world: &World, stream: &Stream, host: &Host) -> Follower {
    Follower::new(
        "host",
        Arc::new(stream.clone()),
        world.index.clone(),
        Arc::new(host.clone()),
        world.clock.clone(),
    )
}

#[tokio::test]
async fn commits_are_in_the_index_without_a_listing() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    stream.push(&host.commit(
        &alice(),
        vec![put_manifest("app", '1'), put_tag(&alice(), "app", "latest", '1')],
    ));
    stream.push(&host.commit(&alice(), vec![put_post("hello")]));
    stream.push(&host.commit(&alice(), vec![put_tag(&alice(), "app", "1.0", '1')]));
    stream.push_bytes(b"what is this?");
    stream.push(&host.commit(&alice(), vec![delete("io.atcr.tag/app_latest")]));
    let follower = follower(&world, &stream, &host);
    assert_eq!(follower.follow_once().await.unwrap(), 5);
    assert_eq!(world.scheduler.drain().await.unwrap(), 0);
    assert_eq!(host.pages(), 0);
    let view = world.store.repository(&alice(), "app").await.unwrap().unwrap();
    assert_eq!((view.card.tags, view.pull_tag.as_deref()), (1, Some("1.0")));
    assert_eq!(
        world.revision(&alice()).await,
        Some(host.change(&alice(), |account| account.rev()))
    );
    // The next connection begins behind what is written.
    assert_eq!(follower.follow_once().await.unwrap(), 0);
    assert_eq!(world.store.take_source("host").await.unwrap().1, Some(5));
}

#[tokio::test]
async fn accounts_without_images_cost_nothing() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    for number in 0..5 {
        stream.push(&host.commit(&alice(), vec![put_post(&format!("post{number}"))]));
    }
    follower(&world, &stream, &host).follow_once().await.unwrap();
    assert!(world.store.account(&alice()).await.unwrap().is_none());
    // Until the first image: then all of the account is listed.
    stream.push(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    follower(&world, &stream, &host).follow_once().await.unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_some());
}

#[tokio::test]
async fn a_lie_is_not_written_and_the_accounts_own_server_is_asked() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    stream.push(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    follower(&world, &stream, &host).follow_once().await.unwrap();

    let mut foreign = host.commit(&bob(), vec![put_manifest("evil", '2')]);
    foreign.repo = alice();
    stream.push(&foreign);
    let mut left_out = host.commit(
        &alice(),
        vec![put_manifest("app", '3'), put_tag(&alice(), "app", "x", '3')],
    );
    left_out.ops.pop();
    stream.push(&left_out);
    follower(&world, &stream, &host).follow_once().await.unwrap();
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
    stream.push(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    follower(&world, &stream, &host).follow_once().await.unwrap();
    let gone = AccountEvent {
        seq: 2,
        did: alice(),
        time: Datetime::new(now()),
        active: false,
        status: Some("takendown".to_owned()),
    };
    let frame = gone.encode().unwrap();
    stream.0.lock().unwrap().push((2, frame));
    follower(&world, &stream, &host).follow_once().await.unwrap();
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

/// Writes of all kinds to both accounts.
fn random_writes(rng: &mut StdRng, did: &Did) -> Vec<(String, Option<serde_json::Value>)> {
    (0..rng.random_range(1..4))
        .map(|_| {
            let digit = char::from(b'1' + rng.random_range(0..4));
            let name = format!("1.{}", rng.random_range(0..4));
            match rng.random_range(0..6) {
                0 | 1 => put_manifest("app", digit),
                2 | 3 => put_tag(did, "app", &name, digit),
                4 => delete(&format!("io.atcr.tag/app_{name}")),
                _ => put_post(&name),
            }
        })
        .collect()
}

#[tokio::test]
async fn events_lost_doubled_and_out_of_order_end_in_the_listing() {
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(seed);
        let host = Host::with(&[alice(), bob()]);
        let world = World::new(&host).await;
        let stream = Stream::default();
        let mut events = Vec::new();
        for _ in 0..40 {
            let did = if rng.random_bool(0.5) { alice() } else { bob() };
            let event = host.commit(&did, random_writes(&mut rng, &did));
            match rng.random_range(0..10) {
                0 => {}
                1 => events.extend([event.clone(), event]),
                2 => {
                    let mut lie = event.clone();
                    lie.ops.pop();
                    events.extend([lie, event]);
                }
                _ => events.push(event),
            }
        }
        let width = rng.random_range(1..6);
        for window in events.chunks_mut(width) {
            window.shuffle(&mut rng);
        }
        for event in &events {
            stream.push(event);
            if rng.random_bool(0.1) {
                follower(&world, &stream, &host).follow_once().await.unwrap();
            }
            if rng.random_bool(0.05) {
                world.scheduler.drain().await.unwrap();
            }
        }
        follower(&world, &stream, &host).follow_once().await.unwrap();
        world.scheduler.drain().await.unwrap();
        // The last event of an account may have been lost: nothing says so but its own server.
        for did in [alice(), bob()] {
            world.catch_up.run(&did).await.unwrap();
        }
        let fresh = World::new(&host).await;
        for did in [alice(), bob()] {
            fresh.catch_up.run(&did).await.unwrap();
        }
        assert_eq!(world.dump().await, fresh.dump().await, "seed {seed}");
    }
}
