use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use super::{Limited, RateLimit, client_key};

#[test]
fn a_limit_holds_for_its_window_and_its_key() {
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let limit = RateLimit::new(2, TimeDelta::minutes(10));
    assert_eq!(limit.take(&1, now), Ok(()));
    assert_eq!(limit.take(&1, now + TimeDelta::minutes(4)), Ok(()));
    let refused = limit.take(&1, now + TimeDelta::minutes(4));
    assert_eq!(
        refused,
        Err(Limited {
            retry_after: Duration::from_mins(6)
        })
    );
    assert!(limit.check(&1, now + TimeDelta::minutes(5)).is_err());
    assert_eq!(limit.take(&2, now), Ok(()));
    assert_eq!(limit.take(&1, now + TimeDelta::minutes(10)), Ok(()));
}

#[test]
fn an_ipv6_network_is_one_client() {
    let key = |text: &str| client_key(text.parse::<IpAddr>().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}
