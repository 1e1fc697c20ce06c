use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

use super::{Clock, TidClock};
use crate::syntax::Tid;

#[derive(Debug, Default)]
struct SettableClock(AtomicI64);

impl Clock for SettableClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

#[test]
fn tids_grow_when_the_clock_stands_still_or_goes_back() {
    let clock = Arc::new(SettableClock::default());
    let source = TidClock::with_clock_id(clock.clone(), 7);
    clock.0.store(1_700_000_000_000_000, Ordering::SeqCst);
    let first = source.next_tid();
    let second = source.next_tid();
    clock.0.store(1_600_000_000_000_000, Ordering::SeqCst);
    let third = source.next_tid();
    assert_eq!(first.micros(), 1_700_000_000_000_000);
    assert!(first < second && second < third, "{first} {second} {third}");
    assert_eq!(third.clock_id(), 7);
}

#[test]
fn tids_made_at_once_by_several_threads_are_distinct() {
    let source = TidClock::new(Arc::new(SettableClock::default()));
    let mut all: Vec<Tid> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..500).map(|_| source.next_tid()).collect::<Vec<_>>()))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 2000);
}

#[test]
fn a_source_continues_after_the_newest_known_tid() {
    let source = TidClock::new(Arc::new(SettableClock::default()));
    let known = Tid::from_parts(1_800_000_000_000_000, 1023);
    source.advance_past(&known);
    assert!(source.next_tid() > known);
}
