//! Whatever events come, in whatever order, with whatever is lost: the index ends as a fresh listing would make it.

use std::collections::{BTreeMap, BTreeSet};

use atcr_atproto::lexicon::repo_page::{self, RepoPageRecord};
use atcr_atproto::lexicon::star::StarRecord;
use atcr_atproto::lexicon::stats::{self, StatsRecord};
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::lexicon::{manifest, tag};
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_index::change::{
    Applied, Batch, Change, Coverage, Fence, Proof, Status, StatusStep, Step, TakedownStep,
};
use atcr_index::ports::{IndexReader as _, IndexWriter as _};
use atcr_index::{Collection, IndexError};
use chrono::TimeDelta;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::subject::{Subject, alice, at, bob, digest, hold, image, now, put, put_value, rev, step};

const REPOSITORIES: [&str; 3] = ["app", "app_x", "web/app"];
const TAGS: [&str; 4] = [
    "latest",
    "1.0",
    "x_1.0",
    "sha256-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// What an account has: its records, as the last commit left them.
type Records = BTreeMap<(Collection, RecordKey), Change>;

fn key(change: &Change) -> (Collection, RecordKey) {
    let (collection, rkey) = change.record();
    (collection, rkey.clone())
}

fn pick<'t, T>(rng: &mut StdRng, from: &'t [T]) -> &'t T {
    &from[rng.random_range(0..from.len())]
}

/// A record that an account might write. Few names, so that records meet; odd keys, so that several records are about one thing.
fn record(rng: &mut StdRng, owner: &Did, everyone: &[Did]) -> Change {
    let repository = *pick(rng, &REPOSITORIES);
    let digit = *pick(rng, &['1', '2', '3']);
    let odd: RecordKey = format!("odd-{}", rng.random_range(0..3)).parse().unwrap();
    match rng.random_range(0..12) {
        0..=3 => {
            let name = *pick(rng, &TAGS);
            let minutes = rng.random_range(0..3);
            let record =
                TagRecord::new(owner, repository, name, digest(digit).as_str(), at(minutes)).unwrap();
            let derived = tag::rkey(repository, name).unwrap();
            put(
                owner,
                Collection::Tag,
                if rng.random_bool(0.2) { &odd } else { &derived },
                &record,
            )
        }
        4..=6 => {
            let mut record = image(repository, digit);
            if rng.random_bool(0.3) {
                record.subject = Some(atcr_atproto::lexicon::manifest::BlobReference::new(
                    "x/y",
                    digest('1').as_str(),
                    1,
                ));
            }
            if rng.random_bool(0.3) {
                record.hold_did = Some(alice());
            }
            let derived = manifest::rkey(&record.digest).unwrap();
            let beside = manifest::rkey_in_repository(&record.digest, repository).unwrap();
            let rkey = match rng.random_range(0..4) {
                0 => odd,
                1 => beside,
                _ => derived,
            };
            put(owner, Collection::Manifest, &rkey, &record)
        }
        7..=8 => {
            let record = StarRecord::new(pick(rng, everyone), repository, at(0)).unwrap();
            put(owner, Collection::Star, &odd, &record)
        }
        9 => {
            let mut record = RepoPageRecord::new(repository, at(0));
            record.description = Some(format!("About {digit}."));
            put(
                owner,
                Collection::RepoPage,
                &repo_page::rkey(repository).unwrap(),
                &record,
            )
        }
        10 => {
            let subject = pick(rng, everyone);
            let mut record = StatsRecord::new(subject.clone(), repository, at(0));
            record.pull_count = rng.random_range(0..50);
            put(
                owner,
                Collection::Stats,
                &stats::rkey(subject, repository).unwrap(),
                &record,
            )
        }
        _ => {
            let collection = *pick(rng, &[Collection::Tag, Collection::Manifest, Collection::Star]);
            put_value(
                owner,
                collection,
                &odd,
                json!({ "nothing": rng.random_range(0..2) }),
            )
        }
    }
}

/// An account's history: one step for each commit, and what it has in the end.
fn history(rng: &mut StdRng, owner: &Did, everyone: &[Did], commits: u64) -> (Vec<Step>, Records) {
    let mut records = Records::new();
    let mut steps = Vec::new();
    for number in 1..=commits {
        let mut changes: Records = Records::new();
        for _ in 0..rng.random_range(1..4) {
            let change = if !records.is_empty() && rng.random_bool(0.3) {
                let keys: Vec<_> = records.keys().cloned().collect();
                let (collection, rkey) = pick(rng, &keys).clone();
                Change::Delete { collection, rkey }
            } else {
                record(rng, owner, everyone)
            };
            changes.insert(key(&change), change);
        }
        for (key, change) in &changes {
            match change {
                Change::Put(_) => records.insert(key.clone(), change.clone()),
                Change::Delete { .. } => records.remove(key),
            };
        }
        let base = (number > 1).then(|| number - 1);
        steps.push(step(owner, base, number, changes.into_values().collect()));
    }
    (steps, records)
}

/// Lists the account whole, from whatever the index has of it, in one step or in parts.
async fn catch_up(store: &impl Subject, did: &Did, records: &Records, head: u64, part: usize) {
    let mut known: BTreeMap<(Collection, RecordKey), String> = BTreeMap::new();
    for collection in Collection::ALL {
        for record in store.index().known_records(did, collection).await.unwrap() {
            known.insert((record.collection, record.rkey), record.cid.to_string());
        }
    }
    let mut changes: Vec<Change> = Vec::new();
    for (collection, rkey) in known.keys().filter(|key| !records.contains_key(*key)) {
        changes.push(Change::Delete {
            collection: *collection,
            rkey: rkey.clone(),
        });
    }
    for (key, change) in records {
        if let Change::Put(record) = change
            && known.get(key) != Some(&record.cid.to_string())
        {
            changes.push(change.clone());
        }
    }
    let account = store.index().account(did).await.unwrap();
    let mut base = account.and_then(|account| account.rev);
    let parts: Vec<Vec<Change>> = if changes.is_empty() {
        vec![Vec::new()]
    } else {
        changes.chunks(part).map(<[Change]>::to_vec).collect()
    };
    let count = parts.len();
    for (number, changes) in parts.into_iter().enumerate() {
        let Step::Records(mut step) = step(did, None, head, changes) else {
            unreachable!()
        };
        step.base = base.clone();
        step.proof = Proof::Owner;
        step.coverage = Some(if number + 1 == count {
            Coverage::Whole
        } else {
            Coverage::Cut
        });
        assert_eq!(store.apply(vec![Step::Records(step)]).await, [Applied::Done]);
        base = Some(rev(head));
    }
}

fn marks(rng: &mut StdRng, did: &Did) -> Vec<Step> {
    let mut steps = Vec::new();
    for minutes in 0..rng.random_range(0..3) {
        steps.push(Step::Status(StatusStep {
            did: did.clone(),
            status: *pick(rng, &[Status::Active, Status::Deactivated, Status::TakenDown]),
            at: now() + TimeDelta::minutes(minutes),
        }));
    }
    for minutes in 0..rng.random_range(0..3) {
        steps.push(Step::Takedown(TakedownStep {
            source: bob(),
            did: did.clone(),
            repository: rng
                .random_bool(0.6)
                .then(|| (*pick(rng, &REPOSITORIES)).to_owned()),
            applies: rng.random_bool(0.6),
            at: now() + TimeDelta::minutes(minutes),
        }));
    }
    steps
}

async fn converges<S: Subject>(seed: u64, commits: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let everyone = [alice(), bob(), hold()];
    let histories: Vec<(Did, Vec<Step>, Records)> = everyone
        .iter()
        .map(|did| {
            let (steps, records) = history(&mut rng, did, &everyone, commits);
            (did.clone(), steps, records)
        })
        .collect();
    let marks: Vec<Step> = everyone.iter().flat_map(|did| marks(&mut rng, did)).collect();

    // Some events are lost, some come twice, and they come in pieces out of order.
    let mut events: Vec<Step> = Vec::new();
    for step in histories.iter().flat_map(|(_, steps, _)| steps) {
        for _ in 0..*pick(&mut rng, &[0, 1, 1, 1, 1, 1, 2]) {
            events.push(step.clone());
        }
    }
    events.extend(marks.iter().cloned());
    let width = rng.random_range(1..8);
    for window in events.chunks_mut(width) {
        window.shuffle(&mut rng);
    }
    let disturbed = S::new().await;
    let (epoch, _) = disturbed.index().take_source("here").await.unwrap();
    let mut behind: BTreeSet<Did> = BTreeSet::new();
    let mut rest = events.as_slice();
    while !rest.is_empty() {
        let (taken, left) = rest.split_at(rng.random_range(1..=rest.len().min(5)));
        let mut batch = Batch {
            steps: taken.to_vec(),
            ..Batch::default()
        };
        if rng.random_bool(0.2) {
            // The process dies before the commit; the events come again.
            batch.fence = Some(Fence {
                source: "here".to_owned(),
                epoch: epoch - 1,
                cursor: Some(1),
            });
            let refused = disturbed.index().apply(&batch, now()).await;
            assert!(matches!(refused, Err(IndexError::Fenced(_))));
            batch.fence = None;
        }
        let answers = disturbed.index().apply(&batch, now()).await.unwrap();
        for (step, answer) in taken.iter().zip(answers) {
            if let (Step::Records(step), Applied::Gap { .. }) = (step, answer) {
                behind.insert(step.did.clone());
            }
        }
        rest = left;
    }
    for (did, _, records) in &histories {
        let account = disturbed.index().account(did).await.unwrap();
        let at_head = account.is_some_and(|account| account.rev == Some(rev(commits)));
        if !at_head || behind.contains(did) && rng.random_bool(0.5) {
            let head = if at_head { commits + 1 } else { commits };
            catch_up(&disturbed, did, records, head, rng.random_range(1..6)).await;
        }
    }
    disturbed.apply(marks.clone()).await;

    let fresh = S::new().await;
    for (did, _, records) in &histories {
        catch_up(&fresh, did, records, commits, 1_000).await;
    }
    fresh.apply(marks).await;
    assert_eq!(disturbed.dump().await, fresh.dump().await);
}

/// Any events in any order with losses and crashes end in the listing.
pub fn any_events_in_any_order_with_losses_and_crashes_end_in_the_listing<S: Subject>() {
    let config = ProptestConfig {
        cases: 48,
        ..ProptestConfig::default()
    };
    proptest!(config, |(seed in any::<u64>(), commits in 1_u64..16)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(converges::<S>(seed, commits));
    });
}
