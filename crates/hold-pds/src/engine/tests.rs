//! What the engine keeps in memory.

use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::Curve;
use serde_json::json;

use super::*;
use crate::simulation::disk::SimDisk;
use crate::writer::RecordWrite;
use crate::writer::prepare::prepare;

const PATH: &str = "com.example.record/a";

struct Written {
    engine: Engine,
    did: Did,
    tids: Arc<TidClock>,
}

impl Written {
    fn new() -> Self {
        let did: Did = "did:web:hold.example.com".parse().unwrap();
        let clock = Arc::new(SystemClock);
        let tids = Arc::new(TidClock::new(clock.clone()));
        let options = RepoOptions::new(
            "",
            did.clone(),
            SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap(),
        )
        .with_segment_bytes(1024 * 1024);
        let options = EngineOptions::of(options, clock, Arc::clone(&tids));
        let engine = Engine::open(Arc::new(SimDisk::new(1, false)), options).unwrap();
        Self { engine, did, tids }
    }

    /// Writes other content to the same record, in one commit.
    fn update(&mut self, number: usize) {
        let put = RecordWrite::Put {
            collection: "com.example.record".parse().unwrap(),
            rkey: "a".parse().unwrap(),
            value: json!({ "$type": "com.example.record", "number": number }),
        };
        let prepared = prepare(&self.did, &self.tids, vec![put], Vec::new()).unwrap();
        let call = Call { prepared, ticket: () };
        let outcome = self.engine.write_batch(&mut VecDeque::from([call]));
        assert!(outcome.answers.iter().all(|((), answer)| answer.is_ok()));
    }
}

#[test]
fn what_is_known_of_blocks_does_not_grow_with_updates_and_a_reader_of_an_old_commit_finds_all_of_it() {
    let mut written = Written::new();
    written.update(0);
    let old = written.engine.view().clone();
    let record = old.record(PATH).unwrap().unwrap();
    (1..100).for_each(|number| written.update(number));
    assert_eq!(old.record(PATH).unwrap(), Some(record));
    old.block(&record).unwrap();
    old.block(&old.head.commit).unwrap();
    assert!(written.engine.view().blocks.recent.len() > 200);

    drop(old);
    (100..110).for_each(|number| written.update(number));
    assert!(written.engine.view().blocks.recent.len() < 20);
    let new = written.engine.view();
    new.block(&new.record(PATH).unwrap().unwrap()).unwrap();
    new.block(&new.head.commit).unwrap();
}

#[test]
fn a_snapshot_is_due_when_much_is_known_of_blocks() {
    let mut written = Written::new();
    written.update(0);
    assert!(!written.engine.wants_snapshot());
    let slots = (0..MAX_RECENT).map(|number| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_be_bytes());
        (BlockKey(key), crate::blocks::recent::Slot::new(1, 1, 1, 1))
    });
    let blocks = &written.engine.view.blocks;
    written.engine.view.blocks = Arc::new(Blocks {
        snapshot: blocks.snapshot.clone(),
        frozen: None,
        recent: Arc::new(Recent::of(slots.collect())),
    });
    assert!(written.engine.wants_snapshot());
}
