use std::sync::Mutex;

use super::*;

/// A limit and the hand that moves its clock.
fn limit(rate: &str) -> (RateLimit<u8>, impl Fn(u64)) {
    let time = Arc::new(Mutex::new(DateTime::from_timestamp(1_790_000_000, 0).unwrap()));
    let now = {
        let time = Arc::clone(&time);
        Now::new(move || *time.lock().unwrap())
    };
    let advance = move |seconds| *time.lock().unwrap() += Duration::from_secs(seconds);
    (RateLimit::new("test", rate.parse().unwrap(), now), advance)
}

#[test]
fn a_limit_allows_a_burst_and_then_one_after_the_other() {
    let (limit, advance) = limit("3/1m");
    for _ in 0..3 {
        assert_eq!(limit.take(&1), Ok(()));
    }
    let refused = limit.take(&1).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(20));
    // It was not counted: waiting as long as was asked for helps.
    advance(20);
    assert_eq!(limit.take(&1), Ok(()));
    assert!(limit.take(&1).is_err());
    advance(60);
    for _ in 0..3 {
        assert_eq!(limit.take(&1), Ok(()));
    }
    assert!(limit.take(&1).is_err());
}

#[test]
fn one_key_does_not_use_up_what_another_has() {
    let (limit, _) = limit("1/1m");
    assert_eq!(limit.take(&1), Ok(()));
    assert!(limit.take(&1).is_err());
    assert_eq!(limit.take(&2), Ok(()));
}

#[test]
fn looking_counts_nothing_and_agrees_with_taking() {
    let (limit, advance) = limit("5/1m");
    let mut refused = 0;
    for step in 0..200_u64 {
        advance(step * 7 % 31);
        for _ in 0..step % 4 {
            let looked = limit.check(&1);
            assert_eq!(looked, limit.check(&1));
            let taken = limit.take(&1);
            assert_eq!(looked, taken, "step {step}");
            refused += u32::from(taken.is_err());
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_limit_that_is_off_refuses_nothing() {
    let (limit, _) = limit("off");
    for _ in 0..100_000 {
        assert_eq!(limit.take(&1), Ok(()));
    }
    assert_eq!(limit.check(&1), Ok(()));
}

#[test]
fn the_keys_of_a_flood_are_forgotten_and_the_memory_is_bounded() {
    let now = Now::new(|| DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    let limit: RateLimit<u64> = RateLimit::new("test", "1/1m".parse().unwrap(), now);
    for key in 0..2 * REMEMBERED_KEYS {
        assert_eq!(limit.take(&key), Ok(()));
    }
    let states = &limit.limiter.as_ref().unwrap().states.0;
    states.run_pending_tasks();
    assert!(states.entry_count() <= REMEMBERED_KEYS);
    // The last ones are counted still.
    assert!(limit.take(&(2 * REMEMBERED_KEYS - 1)).is_err());
}

#[test]
fn extreme_rates_neither_panic_nor_refuse_everything() {
    for rate in ["1/1ns", "4294967295/1ns", "4294967295/366days", "1/366days"] {
        let (limit, advance) = limit(rate);
        assert_eq!(limit.take(&1), Ok(()), "{rate}");
        let _ = limit.take(&1);
        advance(1);
        let _ = limit.check(&1);
    }
}

#[test]
fn several_are_taken_together_or_not_at_all() {
    let (limit, advance) = limit("6/1m");
    let many = |count| NonZeroU32::new(count).unwrap();
    assert_eq!(limit.take_many(&1, many(4)), Ok(()));
    let refused = limit.take_many(&1, many(4)).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(20));
    assert_eq!(limit.take_many(&1, many(2)), Ok(()));
    advance(60);
    let never = limit.take_many(&1, many(7)).unwrap_err();
    assert_eq!(never.retry_after, Duration::from_mins(1));
    assert_eq!(limit.take_many(&1, many(6)), Ok(()));
}

#[test]
fn attempts_at_once_count_as_failures_and_those_that_succeed_are_given_back() {
    let (limit, advance) = limit("3/1m");
    let limit = FailureLimit(limit);
    for _ in 0..100 {
        limit.begin(1).unwrap().succeeded();
    }
    let attempts: Vec<_> = (0..3).map(|_| limit.begin(1).unwrap()).collect();
    let refused = limit.begin(1).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(20));
    assert!(limit.begin(2).is_ok());
    let mut attempts = attempts.into_iter();
    attempts.next().unwrap().succeeded();
    drop(attempts);
    limit.begin(1).unwrap().succeeded();
    let _failed = limit.begin(1).unwrap();
    assert!(limit.begin(1).is_err());
    advance(20);
    limit.begin(1).unwrap().succeeded();
    assert!(limit.begin(1).is_ok());
}
