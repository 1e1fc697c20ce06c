use atcr_atproto::clock::ManualClock;

use super::*;

fn limits() -> (ListingLimits, Arc<ManualClock>, Did) {
    let clock = ManualClock::at(DateTime::UNIX_EPOCH);
    let bounds = ListingBounds {
        records: 1_000,
        bytes: 1_000_000,
        page_time: Duration::from_secs(15),
    };
    let did = "did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    (ListingLimits::new(bounds, Arc::clone(&clock) as _), clock, did)
}

#[test]
fn a_small_account_may_be_listed_some_times_in_a_row_and_then_now_and_then() {
    let (limits, clock, did) = limits();
    for listing in 0..10 {
        assert_eq!(limits.pause(&did), None, "listing {listing}");
        let mut meter = limits.meter(&did);
        meter.charge();
        meter.charge();
    }
    assert_eq!(
        limits.pause(&did),
        None,
        "the allowance is used up, not overdrawn"
    );
    limits.meter(&did).charge();
    assert_eq!(limits.pause(&did), Some(Duration::from_secs(1)));
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(limits.pause(&did), None);
    let other = "did:plc:bobaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    assert_eq!(limits.pause(&other), None);
}

#[test]
fn a_large_or_slow_account_waits_longer_and_never_longer_than_five_minutes() {
    let (limits, clock, did) = limits();
    let mut meter = limits.meter(&did);
    clock.advance(TimeDelta::seconds(40));
    meter.charge();
    assert_eq!(
        limits.pause(&did),
        Some(Duration::from_secs(20)),
        "one page of 40 s"
    );
    for _ in 0..10_000 {
        meter.charge();
    }
    assert_eq!(limits.pause(&did), Some(Duration::from_mins(5)));
    clock.advance(TimeDelta::minutes(5));
    assert_eq!(limits.pause(&did), None);
}

#[test]
fn a_listing_ends_after_enough_records_or_bytes_or_time() {
    let (limits, clock, did) = limits();
    let mut meter = limits.meter(&did);
    meter.count(999, 999_999);
    assert!(!meter.is_used_up());
    meter.count(1, 0);
    assert!(meter.is_used_up());
    let mut meter = limits.meter(&did);
    meter.count(0, 1_000_000);
    assert!(meter.is_used_up());
    let meter = limits.meter(&did);
    assert!(!meter.is_used_up());
    clock.advance(TimeDelta::seconds(60));
    assert!(meter.is_used_up());
}

#[tokio::test(start_paused = true)]
async fn readers_wait_for_one_another_but_writers_do_not_wait_for_readers() {
    let (limits, ..) = limits();
    let mut permits = Vec::new();
    for n in 0..READERS {
        let pds = format!("{n}.example");
        permits.push(limits.permit(ListingFor::Reader, &pds).await.unwrap());
    }
    assert!(matches!(
        limits.permit(ListingFor::Reader, "one.more.example").await,
        Err(RegistryError::TooManyRequests { .. })
    ));
    drop(limits.permit(ListingFor::Writer, "0.example").await.unwrap());
    permits.pop();
    drop(
        limits
            .permit(ListingFor::Reader, "one.more.example")
            .await
            .unwrap(),
    );
}

#[tokio::test(start_paused = true)]
async fn one_pds_takes_no_more_than_its_share_and_those_that_wait_for_it_are_in_nobodys_way() {
    let (limits, ..) = limits();
    let slow = || limits.permit(ListingFor::Reader, "slow.example");
    let mut permits = Vec::new();
    for _ in 0..FROM_ONE_PDS {
        permits.push(slow().await.unwrap());
    }
    let waiting = futures_util::future::join_all((0..READERS).map(|_| slow()));
    let other = limits.permit(ListingFor::Reader, "other.example");
    let (waited, other) = tokio::join!(waiting, other);
    assert!(other.is_ok());
    assert!(waited.iter().all(Result::is_err));
}
