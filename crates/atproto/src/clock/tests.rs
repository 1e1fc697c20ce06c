use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::{ManualClock, TidClock, instant, moved};
use crate::syntax::Tid;

fn micros(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap()
}

#[test]
fn tids_grow_when_the_clock_stands_still_or_goes_back() {
    let clock = ManualClock::at(micros(1_700_000_000_000_000));
    let source = TidClock::with_clock_id(clock.clone(), 7);
    let first = source.next_tid();
    let second = source.next_tid();
    clock.set(micros(1_600_000_000_000_000));
    let third = source.next_tid();
    assert_eq!(first.micros(), 1_700_000_000_000_000);
    assert!(first < second && second < third, "{first} {second} {third}");
    assert_eq!(third.clock_id(), 7);
}

#[test]
fn tids_made_at_once_by_several_threads_are_distinct() {
    let source = TidClock::new(ManualClock::at(DateTime::UNIX_EPOCH));
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
    let source = TidClock::new(ManualClock::at(DateTime::UNIX_EPOCH));
    let known = Tid::from_parts(1_800_000_000_000_000, 1023);
    source.advance_past(&known);
    assert!(source.next_tid() > known);
}

proptest! {
    #[test]
    fn no_time_that_a_peer_names_leaves_the_calendar(seconds in any::<i64>(), by in any::<i64>()) {
        let by = TimeDelta::try_milliseconds(by).unwrap_or(TimeDelta::MAX);
        let at = instant(seconds);
        let later = moved(at, by);
        prop_assert!(at >= DateTime::<Utc>::MIN_UTC && later <= DateTime::<Utc>::MAX_UTC);
        let is_ordered = if by < TimeDelta::zero() { later <= at } else { later >= at };
        prop_assert!(is_ordered);
    }
}

#[test]
fn the_ends_of_the_calendar_are_where_times_stop() {
    assert_eq!(instant(i64::MAX), DateTime::<Utc>::MAX_UTC);
    assert_eq!(instant(i64::MIN), DateTime::<Utc>::MIN_UTC);
    assert_eq!(instant(1_800_000_000).timestamp(), 1_800_000_000);
    assert_eq!(
        moved(DateTime::<Utc>::MIN_UTC, -TimeDelta::seconds(10)),
        DateTime::<Utc>::MIN_UTC
    );
    assert_eq!(
        moved(DateTime::<Utc>::MAX_UTC, TimeDelta::MAX),
        DateTime::<Utc>::MAX_UTC
    );
}
