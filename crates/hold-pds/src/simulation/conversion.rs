//! The repository of an older version on a disk that stops anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atcr_atproto::clock::TidClock;
use atcr_repo::firehose::Message;

use super::disk::{Fault, SimDisk};
use super::history::{TestClock, options_of};
use crate::disk::Disk as _;
use crate::engine::Engine;
use crate::error::RepoError;

const OLD_LOG: &[u8] = include_bytes!("../../tests/it/fixtures/old-blocks.log");

fn old_repository(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed, false);
    let file = disk.create("blocks.log").unwrap();
    file.write_at(0, OLD_LOG).unwrap();
    file.sync().unwrap();
    disk.sync_names().unwrap();
    disk
}

/// Each start is a second after the one before.
fn open(disk: &SimDisk, clock: &Arc<TestClock>) -> Result<Engine, RepoError> {
    clock.0.fetch_add(1_000_000, Ordering::SeqCst);
    let tids = Arc::new(TidClock::new(clock.clone()));
    Engine::open(Arc::new(disk.clone()), options_of(clock.clone(), tids))
}

/// The kinds of the events in the new log.
fn events(engine: &Engine) -> Vec<&'static str> {
    let view = engine.view().clone();
    let mut reader = view.reader(view.seek(view.dropped_seq));
    let mut kinds = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let frame = entry.header.frame(entry.bytes).unwrap();
        kinds.push(match Message::decode(frame).unwrap() {
            Message::Commit(_) => "commit",
            Message::Sync(_) => "sync",
            Message::Identity(_) => "identity",
            Message::Account(_) => "account",
        });
    }
    kinds
}

#[test]
fn a_conversion_that_stops_anywhere_is_announced_at_the_next_start() {
    let mut stopped = 0;
    for calls in 0.. {
        let disk = old_repository(u64::from(calls));
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000_000)));
        disk.plan(calls, Fault::Crash);
        let first = open(&disk, &clock);
        disk.unplan();
        if first.is_ok() && !disk.is_stopped() {
            break;
        }
        stopped += 1;
        drop(first);
        disk.restart();
        let engine = open(&disk, &clock).unwrap_or_else(|error| panic!("stopped at call {calls}: {error}"));
        let kinds = events(&engine);
        assert_eq!(kinds.last(), Some(&"sync"), "stopped at call {calls}: {kinds:?}");
        // The next start has nothing to announce.
        drop(engine);
        assert_eq!(
            events(&open(&disk, &clock).unwrap()),
            kinds,
            "stopped at call {calls}"
        );
    }
    assert!(stopped > 10, "{stopped} calls");
}
