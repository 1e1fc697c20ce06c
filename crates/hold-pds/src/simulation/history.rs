//! One history: what is done in it, and what may go wrong. What must hold after each step is in [`invariants`], backups and what is made of them
//! in [`restores`].

mod invariants;
mod restores;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Did};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use self::restores::Copied;
use super::consumer::Consumer;
use super::disk::{Fault, SimDisk};
use crate::blocks::View;
use crate::disk::Disk;
use crate::engine::{Call, Engine, EngineOptions, Signers};
use crate::error::RepoError;
use crate::import::Build;
use crate::log::LogLimits;
use crate::progress::Progress;
use crate::repo::Seen;
use crate::writer::prepare::prepare;
use crate::writer::{Precondition, RecordWrite};

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
pub(super) struct TestClock(pub(super) AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

pub(super) struct History {
    random: StdRng,
    pub(super) disk: SimDisk,
    clock: Arc<TestClock>,
    tids: Arc<TidClock>,
    pub(super) engine: Option<Engine>,
    /// What was acknowledged.
    records: Records,
    /// What may be true instead: writes whose answer left it open.
    perhaps: Vec<Records>,
    pub(super) consumer: Consumer,
    /// The states that imports and restores made, by the roots of their trees.
    states: BTreeMap<Cid, Records>,
    /// What the bucket has, if it has anything.
    backup: Option<Copied>,
    pub(super) imports: usize,
    pub(super) restores: usize,
    /// Names of records that there once were.
    gone: BTreeSet<Cid>,
}

fn did() -> Did {
    "did:web:hold.example.com".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap()
}

/// The options of every start.
pub(super) fn options_of(clock: Arc<TestClock>, tids: Arc<TidClock>) -> EngineOptions {
    EngineOptions {
        did: did(),
        handle: None,
        endpoint: None,
        replaces: None,
        signing_key: key(),
        signers: Signers::Own,
        seen: Seen::default(),
        known: None,
        must_exist: false,
        node_cache_bytes: 64 * 1024,
        limits: LIMITS,
        clock,
        tids,
    }
}

fn content(text: &str) -> (serde_json::Value, Cid) {
    let value = json!({ "$type": COLLECTION, "text": text });
    let ipld = atcr_atproto::data_model::record_to_ipld(&value).unwrap();
    let cid = cid_of(DAG_CBOR, &serde_ipld_dagcbor::to_vec(&ipld).unwrap());
    (value, cid)
}

impl History {
    pub(super) fn new(seed: u64, lies: bool) -> Self {
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
            states: BTreeMap::new(),
            backup: None,
            imports: 0,
            restores: 0,
            gone: BTreeSet::new(),
        }
    }

    pub(super) fn run(&mut self) -> Result<(), String> {
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
            0..11 => self.write(),
            11 => self.import(),
            12 if self.random.random_bool(0.7) => self.back_up(),
            12 => self.lose_the_folder(),
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

    pub(super) fn reopen(&mut self) -> Result<(), String> {
        self.tids = Arc::new(TidClock::new(self.clock.clone()));
        let options = options_of(self.clock.clone(), self.tids.clone());
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

    pub(super) fn names(&self) -> Vec<String> {
        self.disk.sizes().into_iter().map(|(name, _)| name).collect()
    }

    pub(super) fn view(&self) -> &View {
        self.engine.as_ref().unwrap().view()
    }

    pub(super) fn write(&mut self) -> Result<(), String> {
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

    /// Records come from elsewhere, and become the state at once. A command does this, which ends when it fails.
    fn import(&mut self) -> Result<(), String> {
        if self.view().blocks.frozen.is_some() {
            return Ok(());
        }
        let mut records = Vec::new();
        let mut state = self.records.clone();
        for _ in 0..self.random.random_range(1..30) {
            let path = format!("{COLLECTION}/k{:02}", self.random.random_range(0..60));
            let (value, cid) = content(&format!("imported {}", self.random.random_range(0..6)));
            let ipld = atcr_atproto::data_model::record_to_ipld(&value).unwrap();
            state.insert(path.clone(), cid);
            records.push((path, cid, serde_ipld_dagcbor::to_vec(&ipld).unwrap()));
        }
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let engine = self.engine.as_mut().unwrap();
        let states = &mut self.states;
        let mut work = || -> Result<(), RepoError> {
            let mut build = Build::new(engine, &disk)?;
            for (path, cid, bytes) in &records {
                build.put(path, *cid, || Ok(bytes.clone().into()), &Progress::none())?;
            }
            let (staging, data) = build.finish()?;
            states.insert(data, state.clone());
            engine.adopt(staging, data)
        };
        match work() {
            Ok(()) => {
                self.gone.extend(self.records.values());
                self.records = state;
                self.perhaps.clear();
                self.imports += 1;
            }
            Err(RepoError::Disk { .. } | RepoError::PerhapsWritten(_)) => {
                self.perhaps.push(state);
                self.engine = None;
                return Ok(());
            }
            Err(error) => return Err(format!("an import failed: {error}")),
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
}

/// Only what was planned to go wrong may.
fn expect_fault(result: Result<(), RepoError>) -> Result<(), String> {
    match result {
        Err(error @ (RepoError::Corrupt { .. } | RepoError::Incomplete { .. })) => Err(error.to_string()),
        _ => Ok(()),
    }
}
