//! Histories of the engine on a disk that forgets and fails: writes, crashes at any call, failed calls, snapshots, dropped
//! segments, and a follower that reads along. Each history follows from its seed.

#[path = "../../tests/it/consumer.rs"]
mod consumer;
mod conversion;
pub(crate) mod disk;
mod history;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use disk::{Fault, SimDisk};
use history::History;

use crate::error::RepoError;

/// How many histories the test command takes; set the variable for more.
const HISTORIES: u64 = 500;
const VARIABLE: &str = "ATCR_SIMULATED_HISTORIES";
const FIRST_SEED: &str = "ATCR_SIMULATED_FIRST_SEED";

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_and_followers_never_lose_their_chain() {
    let first = number(FIRST_SEED, 0);
    let (mut commits, mut imports, mut restores) = (0, 0, 0);
    for seed in first..first + number(VARIABLE, HISTORIES) {
        let mut history = History::new(seed, false);
        if let Err(error) = history.run() {
            panic!("history {seed}: {error}");
        }
        commits += history.consumer.commits;
        imports += history.imports;
        restores += history.restores;
    }
    assert!(commits > 0);
    // A single history may have none of them.
    if number(VARIABLE, HISTORIES) >= HISTORIES {
        assert!(imports > 0 && restores > 0);
    }
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
fn a_restore_that_finds_no_room_says_so_and_leaves_nothing() {
    let mut history = History::new(5, false);
    history.reopen().unwrap();
    for round in 0..12 {
        history.write().unwrap();
        if round == 6 {
            let job = history.engine.as_mut().unwrap().begin_snapshot(Arc::default());
            let snapshot = job.unwrap().run().unwrap();
            history
                .engine
                .as_mut()
                .unwrap()
                .finish_snapshot(snapshot)
                .unwrap();
        }
    }
    history.back_up().unwrap();
    let mut failures = 0;
    for room in (0..).step_by(256) {
        let to = SimDisk::new(room as u64, false);
        to.set_room(Some(room));
        match history.restore_into(&to) {
            Ok(_) => break,
            Err(RepoError::Disk { source, .. }) => assert_eq!(source.kind(), ErrorKind::StorageFull),
            Err(error) => panic!("with room for {room} bytes: {error}"),
        }
        assert_eq!(to.sizes(), [], "with room for {room} bytes");
        failures += 1;
    }
    assert!(failures > 20, "{failures}");
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let failed = (0..60)
        .filter(|seed| History::new(*seed, true).run().is_err())
        .count();
    assert!(failed > 0, "the histories show nothing");
}
