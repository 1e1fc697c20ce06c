//! How long this server asks its clients to wait before another try.

use std::time::Duration;

use http::HeaderValue;

/// The value of `Retry-After` that asks a client to wait for `wait`: whole seconds, rounded up, at least one.
#[must_use]
pub fn header_value(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_seconds(wait))
}

/// `wait` in whole seconds, rounded up, at least one.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_asked_for_whole_seconds_and_never_for_none() {
        assert_eq!(header_value(Duration::ZERO), "1");
        assert_eq!(header_value(Duration::from_millis(1001)), "2");
        assert_eq!(header_value(Duration::from_secs(90)), "90");
    }
}
