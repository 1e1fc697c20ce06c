//! Histories of the engine on a disk that forgets and fails: writes, crashes at any call, failed calls, snapshots, dropped
//! segments, and a follower that reads along. Each history follows from its seed.

#[path = "../../tests/it/consumer.rs"]
mod consumer;
pub(crate) mod disk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Did};
use atcr_repo::mst::{Tree, range};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::blocks::walk::{Step, Walk};
use crate::blocks::{BlockKey, View};
use crate::engine::{Call, Engine, EngineOptions};
use crate::error::RepoError;
use crate::log::LogLimits;
use crate::writer::prepare::prepare;
use crate::writer::{Precondition, RecordWrite};
use consumer::Consumer;
use disk::{Fault, SimDisk};

/// How many histories the test command takes; set the variable for more.
const HISTORIES: u64 = 500;
const VARIABLE: &str = "ATCR_SIMULATED_HISTORIES";
const FIRST_SEED: &str = "ATCR_SIMULATED_FIRST_SEED";
const STEPS: usize = 40;
const COLLECTION: &str = "com.example.record";
const LIMITS: LogLimits = LogLimits {
    segment_bytes: 24 * 1024,
    prefill_bytes: 2048,
    retention_micros: 20 * 1_000_000,
    retention_bytes: 256 * 1024,
    snapshot_after_bytes: 12 * 1024,
};

type Records = BTreeMap<String, Cid>;

#[derive(Debug)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

struct History {
    random: StdRng,
    disk: SimDisk,
    clock: Arc<TestClock>,
    tids: Arc<TidClock>,
    engine: Option<Engine>,
    /// What was acknowledged.
    records: Records,
    /// What may be true instead: writes whose answer left it open.
    perhaps: Vec<Records>,
    consumer: Consumer,
    /// Names of records that there once were.
    gone: BTreeSet<Cid>,
}

fn did() -> Did {
    "did:web:hold.example.com".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap()
}

fn content(text: &str) -> (serde_json::Value, Cid) {
    let value = json!({ "$type": COLLECTION, "text": text });
    let ipld = atcr_atproto::data_model::record_to_ipld(&value).unwrap();
    let cid = cid_of(DAG_CBOR, &serde_ipld_dagcbor::to_vec(&ipld).unwrap());
    (value, cid)
}

impl History {
    fn new(seed: u64, lies: bool) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000_000)));
        Self {
            random: StdRng::seed_from_u64(seed),
            disk: SimDisk::new(seed.wrapping_mul(31), lies),
            tids: Arc::new(TidClock::with_clock_id(clock.clone(), 7)),
            clock,
            engine: None,
            records: Records::new(),
            perhaps: Vec::new(),
            consumer: Consumer::default(),
            gone: BTreeSet::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        for step in 0..STEPS {
            self.clock
                .0
                .fetch_add(self.random.random_range(0..3_000_000), Ordering::SeqCst);
            self.plan_fault();
            self.step().map_err(|error| format!("step {step}: {error}"))?;
            self.disk.unplan();
            let names = self.names();
            let is_open = self.engine.is_some() && !self.disk.is_stopped();
            if is_open && names.iter().any(|name| name.ends_with(".tmp")) {
                return Err(format!("step {step}: an unfinished file stays: {names:?}"));
            }
            if self.disk.is_stopped() || self.random.random_bool(0.05) {
                self.engine = None;
                self.disk.restart();
            }
        }
        self.engine = None;
        self.disk.restart();
        self.reopen()?;
        self.check_all()
    }

    fn plan_fault(&mut self) {
        let calls = self.random.random_range(0..30);
        match self.random.random_range(0..10) {
            0..3 => self.disk.plan(calls, Fault::Crash),
            3..5 => self.disk.plan(calls, Fault::Fail),
            _ => {}
        }
    }

    fn step(&mut self) -> Result<(), String> {
        if self.engine.is_none() {
            return self.reopen();
        }
        match self.random.random_range(0..20) {
            0..13 => self.write(),
            13..16 => self.snapshot(),
            16 => self.check_all(),
            17 if self.random.random_bool(0.5) => {
                let healed = self.engine.as_mut().map_or(Ok(()), Engine::heal);
                expect_fault(healed)
            }
            17 => {
                let dropped = self.engine.as_mut().map_or(Ok(()), Engine::drop_old);
                expect_fault(dropped)
            }
            _ => {
                // The process ends, the machine does not.
                self.engine = None;
                Ok(())
            }
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.tids = Arc::new(TidClock::new(self.clock.clone()));
        let options = EngineOptions {
            did: did(),
            handle: None,
            signing_key: key(),
            accept_new_key: false,
            node_cache_bytes: 64 * 1024,
            limits: LIMITS,
            clock: self.clock.clone(),
            tids: self.tids.clone(),
        };
        match Engine::open(Arc::new(self.disk.clone()), options) {
            Err(RepoError::Disk { .. } | RepoError::PerhapsWritten(_)) => return Ok(()),
            Err(error) => return Err(format!("does not open: {error}")),
            Ok(engine) => self.engine = Some(engine),
        }
        // Reading for the checks does not go wrong.
        self.disk.unplan();
        if self.disk.is_stopped() {
            return Ok(());
        }
        let found = self.found()?;
        if found != self.records && !self.perhaps.contains(&found) {
            return Err("acknowledged writes are missing, or refused ones are there".to_owned());
        }
        self.records = found;
        self.perhaps.clear();
        self.follow()
    }

    fn names(&self) -> Vec<String> {
        self.disk.sizes().into_iter().map(|(name, _)| name).collect()
    }

    fn view(&self) -> &View {
        self.engine.as_ref().unwrap().view()
    }

    fn found(&self) -> Result<Records, String> {
        let view = self.view();
        let tree = view.tree().map_err(|error| error.to_string())?;
        let keys = range::ascending(&tree, view, "", None, usize::MAX).map_err(|error| error.to_string())?;
        Ok(keys
            .into_iter()
            .map(|(key, cid)| (key.to_string(), cid))
            .collect())
    }

    /// The follower reads what is new.
    fn follow(&mut self) -> Result<(), String> {
        let view = self.view().clone();
        if self.consumer.seq < view.dropped_seq {
            return Err("events were dropped that a follower of the last seconds has not read".to_owned());
        }
        let mut reader = view.reader(view.seek(self.consumer.seq));
        while let Some(entry) = reader.next_entry().map_err(|error| error.to_string())? {
            if entry.header.seq > self.consumer.seq {
                let frame = entry
                    .header
                    .frame(entry.bytes)
                    .map_err(|damage| damage.0.to_owned())?;
                self.consumer.take(frame, &key().public_key())?;
            }
        }
        if self.consumer.seq != view.last.0 {
            return Err(format!(
                "the follower is at {} and the log at {}",
                self.consumer.seq, view.last.0
            ));
        }
        if self.consumer.records != self.records {
            return Err("the follower has other records".to_owned());
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        let mut queue = VecDeque::new();
        let mut calls: Vec<Vec<(String, Option<Cid>)>> = Vec::new();
        for ticket in 0..self.random.random_range(1..5) {
            let mut writes = Vec::new();
            let mut effects = BTreeMap::new();
            for _ in 0..self.random.random_range(1..4) {
                let name = format!("k{:02}", self.random.random_range(0..40));
                let path = format!("{COLLECTION}/{name}");
                if effects.contains_key(&path) {
                    continue;
                }
                let (collection, rkey) = (COLLECTION.parse().unwrap(), name.parse().unwrap());
                if self.random.random_bool(0.35) {
                    writes.push(RecordWrite::Delete { collection, rkey });
                    effects.insert(path, None);
                } else {
                    let size = self.random.random_range(0..600);
                    let text = format!("{}{}", "x".repeat(size), self.random.random_range(0..6));
                    let (value, cid) = content(&text);
                    writes.push(RecordWrite::Put {
                        collection,
                        rkey,
                        value,
                    });
                    effects.insert(path, Some(cid));
                }
            }
            let precondition = match self.random.random_range(0..8) {
                0 => vec![Precondition::Commit(self.view().head.commit)],
                1 => vec![Precondition::Commit(content("never").1)],
                _ => Vec::new(),
            };
            let prepared = prepare(&did(), &self.tids, writes, precondition).unwrap();
            queue.push_back(Call { prepared, ticket });
            calls.push(effects.into_iter().collect());
        }
        let mut answers = BTreeMap::new();
        while !queue.is_empty() {
            let outcome = self.engine.as_mut().unwrap().write_batch(&mut queue);
            answers.extend(outcome.answers);
        }
        let mut open = false;
        let mut state = self.records.clone();
        for (ticket, effects) in calls.into_iter().enumerate() {
            let apply = |records: &mut Records| {
                for (path, cid) in &effects {
                    match cid {
                        Some(cid) => records.insert(path.clone(), *cid),
                        None => records.remove(path),
                    };
                }
            };
            match answers.remove(&ticket) {
                Some(Ok(_)) if open => {
                    return Err("a write was acknowledged after one of the batch was not".to_owned());
                }
                Some(Ok(_)) => {
                    self.gone.extend(self.records.values());
                    apply(&mut self.records);
                    apply(&mut state);
                    self.perhaps.clear();
                }
                Some(Err(RepoError::CommitSwapped { .. })) => {}
                Some(Err(RepoError::PerhapsWritten(_))) => {
                    open = true;
                    apply(&mut state);
                    self.perhaps.push(state.clone());
                }
                Some(Err(RepoError::Disk { .. })) => {}
                Some(Err(error)) => return Err(format!("a write failed: {error}")),
                None => return Err("a write got no answer".to_owned()),
            }
        }
        if self.disk.is_stopped() {
            return Ok(());
        }
        self.disk.unplan();
        self.follow()
    }

    /// Writes go on while a snapshot is written.
    fn snapshot(&mut self) -> Result<(), String> {
        let job = self
            .engine
            .as_mut()
            .unwrap()
            .begin_snapshot(Arc::new(AtomicBool::new(false)));
        let Some(job) = job else {
            return Ok(());
        };
        if self.random.random_bool(0.5) {
            self.write()?;
            self.plan_fault();
        }
        let snapshot = match job.run() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                expect_fault(Err(error))?;
                None
            }
        };
        if self.random.random_bool(0.5) && !self.disk.is_stopped() {
            self.write()?;
            self.plan_fault();
        }
        let finished = self.engine.as_mut().unwrap().finish_snapshot(snapshot);
        expect_fault(finished)
    }

    /// Every block is there, the tree is the one that these records make, and what is gone is not served.
    fn check_all(&mut self) -> Result<(), String> {
        self.disk.unplan();
        if self.disk.is_stopped() || self.engine.is_none() {
            return Ok(());
        }
        let view = self.view().clone();
        let mut walk = Walk::new(view.clone(), 0);
        let mut found = Records::new();
        while let Some(step) = walk.step().map_err(|error| error.to_string())? {
            if let Step::Record { path, cid, .. } = step {
                found.insert(path.to_string(), cid);
            }
        }
        if found != self.records {
            return Err("the walk finds other records".to_owned());
        }
        let mut tree = Tree::empty();
        for (path, cid) in &found {
            tree = tree.put(&view, path, *cid).map_err(|error| error.to_string())?;
        }
        if tree.finish().unwrap().root != view.head.data {
            return Err("the tree is not the one that these records make".to_owned());
        }
        let live: BTreeSet<Cid> = found.into_values().collect();
        for cid in self.gone.iter().chain(&live) {
            let is_live = view.blocks.is_live(&BlockKey::of(cid).unwrap());
            if is_live.map_err(|error| error.to_string())? != live.contains(cid) {
                return Err(format!("{cid} is live: {}", !live.contains(cid)));
            }
        }
        let bytes: usize = self.disk.sizes().iter().map(|(_, size)| size).sum();
        if bytes > 2_000_000 {
            return Err(format!("the folder has {bytes} bytes: {:?}", self.disk.sizes()));
        }
        Ok(())
    }
}

/// Only what was planned to go wrong may.
fn expect_fault(result: Result<(), RepoError>) -> Result<(), String> {
    match result {
        Err(error @ (RepoError::Corrupt { .. } | RepoError::Incomplete { .. })) => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_and_followers_never_lose_their_chain() {
    let first = number(FIRST_SEED, 0);
    let mut commits = 0;
    for seed in first..first + number(VARIABLE, HISTORIES) {
        let mut history = History::new(seed, false);
        if let Err(error) = history.run() {
            panic!("history {seed}: {error}");
        }
        commits += history.consumer.commits;
    }
    assert!(commits > 0);
    println!("{commits} commits were followed");
}

#[test]
fn a_write_whose_sync_fails_goes_to_another_file_and_nothing_of_the_first_try_comes_back() {
    let mut history = History::new(1, false);
    history.reopen().unwrap();
    history.write().unwrap();
    let segment = history.view().end.segment;
    // The second call of a write that needs no more room is its sync.
    let mut failed = 0;
    for calls in 0..12 {
        history.disk.plan(calls, Fault::Fail);
        history.write().unwrap();
        failed += usize::from(history.view().end.segment > segment);
        assert!(
            history.engine.as_ref().unwrap().is_healthy() || history.engine.as_mut().unwrap().heal().is_ok()
        );
        history.engine = None;
        history.reopen().unwrap();
        history.check_all().unwrap();
    }
    assert!(failed > 0);
}

#[test]
fn a_snapshot_that_finds_no_room_leaves_nothing_and_the_next_one_is_written() {
    let mut history = History::new(2, false);
    history.reopen().unwrap();
    for _ in 0..6 {
        history.write().unwrap();
    }
    let before = history.names();
    let (mut unwritten, mut unpublished) = (0, 0);
    for room in (0..).step_by(96) {
        history.disk.set_room(Some(room));
        let engine = history.engine.as_mut().unwrap();
        let job = engine.begin_snapshot(Arc::default()).unwrap();
        match job.run() {
            Err(_) => {
                unwritten += 1;
                engine.finish_snapshot(None).unwrap();
            }
            written => match engine.finish_snapshot(written.unwrap()) {
                Err(_) => unpublished += 1,
                Ok(()) => break,
            },
        }
        assert_eq!(history.names(), before, "with room for {room} bytes");
    }
    assert!(unwritten > 0 && unpublished > 0, "{unwritten}, {unpublished}");
    history.disk.set_room(None);
    history.write().unwrap();
    history.engine = None;
    history.reopen().unwrap();
    history.check_all().unwrap();
}

#[test]
fn a_snapshot_that_was_stopped_leaves_nothing() {
    let mut history = History::new(4, false);
    history.reopen().unwrap();
    history.write().unwrap();
    let before = history.names();
    let engine = history.engine.as_mut().unwrap();
    let job = engine.begin_snapshot(Arc::new(AtomicBool::new(true))).unwrap();
    assert!(job.run().unwrap().is_none());
    assert_eq!(history.names(), before);
}

#[test]
fn a_log_that_finds_no_room_does_not_fill_the_disk_and_goes_on_once_there_is_room() {
    let mut history = History::new(3, false);
    history.reopen().unwrap();
    history.disk.set_room(Some(0));
    while history.engine.as_ref().unwrap().is_healthy() {
        history.write().unwrap();
    }
    let before = history.names();
    let (mut without_segment, mut without_manifest) = (0, 0);
    for room in (0..).step_by(32) {
        history.disk.set_room(Some(room));
        for _ in 0..3 {
            history.engine.as_mut().unwrap().heal().unwrap_err();
            let names = history.names();
            // The segment that was made is taken at the next try.
            assert!(names.len() <= before.len() + 1, "{names:?}");
            assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
            if names == before {
                without_segment += 1;
            } else {
                without_manifest += 1;
            }
        }
        if without_manifest > 0 {
            break;
        }
    }
    assert!(without_segment > 0, "a segment takes no room");
    history.disk.set_room(None);
    history.write().unwrap();
    assert!(history.engine.as_ref().unwrap().is_healthy());
    let named = history.view().segments.len();
    let kept = history
        .names()
        .iter()
        .filter(|name| name.ends_with(".seg"))
        .count();
    assert_eq!(kept, named);
    history.engine = None;
    history.reopen().unwrap();
    history.check_all().unwrap();
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let failed = (0..60)
        .filter(|seed| History::new(*seed, true).run().is_err())
        .count();
    assert!(failed > 0, "the histories show nothing");
}
