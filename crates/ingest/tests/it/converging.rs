//! Whatever happens on the way, the index ends as one that was made from the network anew.

use atcr_atproto::syntax::{Datetime, Did};
use atcr_index::Collection;
use atcr_index::change::Status;
use atcr_ingest::Index;
use atcr_ingest::discovery::List;
use atcr_ingest::firehose::Firehose;
use atcr_ingest::follow::Intake;
use atcr_ingest::jetstream::Jetstream;
use atcr_repo::firehose::{AccountEvent, CommitEvent, IdentityEvent, Message, SyncEvent, info};
use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::sync::Arc;

use crate::discovering::discovery;
use crate::host::{Host, World, Writes, alice, bob, delete, now, put_manifest, put_post, put_tag};
use crate::streams::{self, Crashing, Lists, Stream, follow, hint_1, hint_2};

/// Writes of all kinds.
fn random_writes(rng: &mut StdRng, did: &Did) -> Writes {
    (0..rng.random_range(1..4))
        .map(|_| {
            let digit = char::from(b'1' + rng.random_range(0..4));
            let name = format!("1.{}", rng.random_range(0..30));
            match rng.random_range(0..6) {
                0 | 1 => put_manifest("app", digit),
                2 | 3 => put_tag(did, "app", &name, digit),
                4 => delete(&format!("io.atcr.tag/app_{name}")),
                _ => put_post(&name),
            }
        })
        .collect()
}

/// What a relay makes of a commit: it loses some, sends some twice, and lies.
fn relayed(rng: &mut StdRng, event: &CommitEvent, other: &Did) -> Vec<Message> {
    let commit = |event: &CommitEvent| Message::Commit(Box::new(event.clone()));
    let mut lie = event.clone();
    match rng.random_range(0..14) {
        0 => vec![],
        1 => vec![commit(event), commit(event)],
        2 => {
            lie.ops.pop();
            vec![commit(&lie), commit(event)]
        }
        3 => {
            lie.repo = other.clone();
            vec![commit(&lie), commit(event)]
        }
        4 => {
            lie.rev = atcr_atproto::syntax::Tid::from_parts(u64::MAX >> 12, 0);
            vec![commit(&lie), commit(event)]
        }
        5 => {
            lie.since = None;
            lie.prev_data = None;
            vec![commit(&lie), commit(event)]
        }
        6 => vec![
            commit(event),
            Message::Account(AccountEvent {
                seq: 0,
                did: other.clone(),
                time: Datetime::new(now()),
                active: false,
                status: Some("takendown".to_owned()),
            }),
        ],
        7 => vec![Message::Sync(SyncEvent {
            seq: 0,
            did: event.repo.clone(),
            time: Datetime::new(now()),
            rev: event.rev.clone(),
            blocks: event.blocks.clone(),
        })],
        8 => vec![
            Message::Identity(IdentityEvent {
                seq: 0,
                did: event.repo.clone(),
                time: Datetime::new(now()),
                handle: Some("stolen.example".to_owned()),
            }),
            commit(event),
        ],
        _ => vec![commit(event)],
    }
}

/// Follows `stream` once, with an index that may die in the middle of it.
async fn follow_somehow(
    rng: &mut StdRng,
    world: &World,
    stream: &Stream,
    name: &str,
    intake: impl Intake + 'static,
) {
    if rng.random_bool(0.3) {
        stream.lose_after(rng.random_range(0..6));
    }
    // It ends, or it dies: the next one goes on.
    let _ = follow(world, &stream.place(name), intake).await;
}

#[tokio::test]
async fn faults_lies_and_deaths_end_in_what_the_network_has() {
    for seed in 0..16 {
        let mut rng = StdRng::seed_from_u64(seed);
        let host = Host::with(&[alice(), bob()]);
        for (did, handle) in [(alice(), "alice.example"), (bob(), "bob.example")] {
            host.change(&did, |account| account.handle = handle.to_owned());
        }
        let world = World::new(&host).await;
        let relays = [Stream::default(), Stream::default()];
        let jetstream = Stream::default();
        let dying: Index = Crashing::index(&world, seed, 0.15);
        let firehose = || Firehose::new(dying.clone(), Arc::new(host.clone()), world.clock.clone());
        let hints = || Jetstream::new(dying.clone(), Arc::new(host.clone()), world.clock.clone());
        for round in 0..24 {
            let mut sent: [Vec<Message>; 2] = [Vec::new(), Vec::new()];
            for step in 0..rng.random_range(1..5) {
                let (did, other) = if rng.random_bool(0.5) {
                    (alice(), bob())
                } else {
                    (bob(), alice())
                };
                let event = host.commit(&did, random_writes(&mut rng, &did));
                for relay in &mut sent {
                    relay.extend(relayed(&mut rng, &event, &other));
                }
                let micros = round * 1_000 + step;
                let write = if rng.random_bool(0.5) { hint_1 } else { hint_2 };
                for operation in event.ops.iter().filter(|_| rng.random_bool(0.7)) {
                    jetstream.push_hint(micros, write(&did, &event.rev, &operation.path, micros));
                }
            }
            for (relay, mut messages) in relays.iter().zip(sent) {
                if rng.random_bool(0.5) {
                    messages.shuffle(&mut rng);
                }
                match rng.random_range(0..12) {
                    0 => relay.begin_anew(),
                    1 => relay.push_bytes(info("OutdatedCursor", "").unwrap()),
                    2 => relay.push_bytes(&b"\xa2at\x67#commitbop\x01 and what is this?"[..]),
                    _ => {}
                }
                for message in messages {
                    relay.push(message);
                }
            }
            if rng.random_bool(0.1) {
                let status = rng.random_bool(0.5).then_some(Status::Deactivated);
                host.change(&bob(), |account| account.status = status);
            }
            for (number, relay) in relays.iter().enumerate() {
                if rng.random_bool(0.5) {
                    follow_somehow(&mut rng, &world, relay, &format!("relay {number}"), firehose()).await;
                }
            }
            if rng.random_bool(0.5) {
                follow_somehow(&mut rng, &world, &jetstream, "jetstream", hints()).await;
            }
            if rng.random_bool(0.3) {
                world.scheduler.drain().await.unwrap();
            }
            world.clock.advance(TimeDelta::minutes(1));
        }
        // Of an account that is not served there is nothing to compare with.
        host.change(&bob(), |account| account.status = None);
        // The last word is a lie each time, and the truth comes right behind it: no later reading of the account would find what is wrong.
        let relay = &relays[0];
        world.clock.advance(TimeDelta::days(1));
        for did in [alice(), bob()] {
            world.catch_up.run(&did).await.unwrap();
        }
        for number in 0..12 {
            let did = if number % 2 == 0 { alice() } else { bob() };
            let event = host.commit(&did, vec![put_tag(&did, "app", &format!("last.{number}"), '1')]);
            let mut lie = event.clone();
            lie.ops.pop();
            relay.push_commit(&lie);
            relay.push_commit(&event);
        }
        let place = relay.place("relay 0");
        while follow(&world, &place, streams::firehose(&world, &host))
            .await
            .1
            .is_err()
        {}
        // What was lost and never followed by anything is found by the next reading of the lists.
        let lists = Lists::default();
        for did in [alice(), bob()] {
            lists.add(List::With(Collection::Manifest), &did, None);
        }
        world.clock.advance(TimeDelta::days(1));
        discovery(&world, &lists, Vec::new()).run_all().await.unwrap();
        world.scheduler.drain().await.unwrap();
        let fresh = World::new(&host).await;
        discovery(&fresh, &lists, Vec::new()).run_all().await.unwrap();
        fresh.scheduler.drain().await.unwrap();
        assert_eq!(world.dump().await, fresh.dump().await, "seed {seed}");
    }
}
