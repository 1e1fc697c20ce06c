//! What users keep, against a recount.

use std::collections::{BTreeMap, BTreeSet};

use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_hold_pds::{HoldRepo, RecordWrite, Usage};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::repository::{open, scratch};

const USERS: usize = 4;
const DIGESTS: u32 = 12;
const KEYS: u32 = 300;
/// Operations of one commit, and commits.
const OPS: usize = 200;
const COMMITS: usize = 500;

fn user(number: usize) -> Did {
    format!("did:web:user{number}.test").parse().unwrap()
}

fn key(number: u32) -> RecordKey {
    format!("layer{number:04}").parse().unwrap()
}

/// What a layer record says.
#[derive(Clone, Copy)]
struct Layer {
    user: usize,
    digest: u32,
    size: u64,
}

fn put(number: u32, layer: Layer) -> RecordWrite {
    let user = user(layer.user);
    let record = LayerRecord::new(
        format!("sha256:{:064}", layer.digest),
        layer.size,
        "application/octet-stream",
        format!("at://{user}/{}/m{number}", nsid::MANIFEST)
            .parse()
            .unwrap(),
        user,
        "2026-05-01T12:00:00.000Z".parse().unwrap(),
    );
    RecordWrite::put(key(number), &record).unwrap()
}

fn delete(number: u32) -> RecordWrite {
    RecordWrite::Delete {
        collection: nsid::HOLD_LAYER.parse().unwrap(),
        rkey: key(number),
    }
}

fn recount(layers: &BTreeMap<u32, Layer>, user: usize) -> Usage {
    let mut sizes = BTreeMap::new();
    for layer in layers.values().filter(|layer| layer.user == user) {
        let size: &mut u64 = sizes.entry(layer.digest).or_default();
        *size = layer.size.max(*size);
    }
    Usage {
        unique_blobs: sizes.len() as u64,
        total_bytes: sizes.values().sum(),
    }
}

async fn check(repo: &HoldRepo, layers: &BTreeMap<u32, Layer>) {
    for number in 0..USERS {
        assert_eq!(
            repo.usage_of(&user(number)).await.unwrap(),
            recount(layers, number),
            "user {number}"
        );
    }
}

#[tokio::test]
async fn what_is_kept_is_what_a_recount_finds_after_a_hundred_thousand_changes_and_a_rebuild() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let mut rng = StdRng::seed_from_u64(13);
    let mut layers = BTreeMap::new();
    for commit in 0..COMMITS {
        let mut numbers = BTreeSet::new();
        while numbers.len() < OPS {
            numbers.insert(rng.random_range(0..KEYS));
        }
        // Sometimes almost everything goes, so that users come down to nothing.
        let kept = rng.random_range(0.02..0.9);
        let mut writes = Vec::with_capacity(OPS);
        for number in numbers {
            if rng.random_bool(kept) {
                let digest = rng.random_range(0..DIGESTS);
                // Most records say what the store says; some that were imported say something else.
                let size = if rng.random_bool(0.8) {
                    u64::from(digest)
                } else {
                    rng.random_range(0..20)
                };
                let layer = Layer {
                    user: rng.random_range(0..USERS),
                    digest,
                    size,
                };
                layers.insert(number, layer);
                writes.push(put(number, layer));
            } else {
                layers.remove(&number);
                writes.push(delete(number));
            }
        }
        repo.write(writes).await.unwrap();
        if commit % 10 == 0 {
            check(&repo, &layers).await;
        }
    }
    check(&repo, &layers).await;
    repo.verify().await.unwrap();
    repo.close().await;
    HoldRepo::discard_index(&dir.path().join("repo")).unwrap();
    let repo = open(dir.path()).await;
    check(&repo, &layers).await;
    repo.verify().await.unwrap();
}
