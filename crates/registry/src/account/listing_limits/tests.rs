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

fn pds(host: &str) -> Url {
    Url::parse(&format!("https://{host}/")).unwrap()
}

async fn read(limits: &ListingLimits, requester: &str, host: &str) -> Result<ListingPermit, RegistryError> {
    limits
        .permit(ListingFor::Reader(requester), Some(&pds(host)))
        .await
}

#[tokio::test(start_paused = true)]
async fn readers_wait_for_one_another_but_writers_do_not_wait_for_readers() {
    let (limits, ..) = limits();
    let mut permits = Vec::new();
    for n in 0..READERS {
        let (requester, host) = (format!("reader {n}"), format!("{n}.of{n}.example"));
        permits.push(read(&limits, &requester, &host).await.unwrap());
    }
    assert!(matches!(
        read(&limits, "one more", "one.more.example").await,
        Err(RegistryError::TooManyRequests { .. })
    ));
    let busy = pds("0.of0.example");
    let writer = limits.permit(ListingFor::Writer("alice"), Some(&busy));
    drop(writer.await.unwrap());
    permits.pop();
    drop(read(&limits, "one more", "one.more.example").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_pds_takes_no_more_than_its_share_and_those_that_wait_for_it_are_in_no_others_way() {
    let (limits, ..) = limits();
    let slow = async |n: usize| read(&limits, &format!("reader {n}"), "slow.example").await;
    let mut permits = Vec::new();
    for n in 0..FROM_ONE_PDS {
        permits.push(slow(n).await.unwrap());
    }
    let waiting = futures_util::future::join_all((0..READERS).map(|n| slow(10 + n)));
    let other = read(&limits, "other", "other.example");
    let (waited, other) = tokio::join!(waiting, other);
    assert!(other.is_ok());
    assert!(waited.iter().all(Result::is_err));
}

#[tokio::test(start_paused = true)]
async fn one_requester_and_one_owner_of_many_servers_leave_room_for_others() {
    let (limits, ..) = limits();
    let mut held = Vec::new();
    for n in 0..READERS / REQUESTERS {
        let host = format!("pds.of{n}.example");
        held.push(read(&limits, "mallory", &host).await.unwrap());
    }
    assert!(read(&limits, "mallory", "pds.more.example").await.is_err());
    for n in 0..READERS / PARTIES {
        let (requester, host) = (format!("sybil {n}"), format!("h{n}.evil.example"));
        held.push(read(&limits, &requester, &host).await.unwrap());
    }
    assert!(read(&limits, "sybil", "more.evil.example").await.is_err());
    read(&limits, "alice", "pds.good.example").await.unwrap();
}
