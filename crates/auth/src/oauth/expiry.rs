//! When an access token ends, from what its server says.

use std::time::Duration;

use atcr_atproto::clock;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Number;

use crate::bounds::MAX_ACCESS_LIFE;

/// When a token ends whose server says that it lives `seconds`, any JSON number. The session is renewed before that; a clamped
/// value costs at most one extra refresh.
pub(super) fn expiry(now: DateTime<Utc>, seconds: &Number) -> DateTime<Utc> {
    let longest = MAX_ACCESS_LIFE.num_seconds();
    let seconds = match seconds.as_i64() {
        Some(seconds) => seconds.clamp(0, longest),
        None if seconds.as_f64().is_some_and(|seconds| seconds < 0.0) => 0,
        // A fraction, or beyond 64 bits.
        None => seconds
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map_or(longest, |life| {
                i64::try_from(life.as_secs()).unwrap_or(longest).min(longest)
            }),
    };
    clock::moved(now, TimeDelta::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::now;

    fn life(text: &str) -> TimeDelta {
        expiry(now(), &serde_json::from_str(text).unwrap()) - now()
    }

    #[test]
    fn a_token_s_life_is_clamped() {
        for (text, seconds) in [
            ("3600", 3600),
            ("3600.9", 3600),
            ("0", 0),
            ("-1", 0),
            ("-1e300", 0),
            ("-9223372036854775808", 0),
            ("9223372036854775807", 2_592_000),
            ("18446744073709551615", 2_592_000),
            ("1e300", 2_592_000),
        ] {
            assert_eq!(life(text), TimeDelta::seconds(seconds), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_number_gives_a_token_a_longer_life(whole in any::<i64>(), part in any::<f64>()) {
            let numbers = [Some(Number::from(whole)), Number::from_f64(part)];
            for number in numbers.into_iter().flatten() {
                let life = expiry(now(), &number) - now();
                prop_assert!(life >= TimeDelta::zero() && life <= MAX_ACCESS_LIFE);
            }
        }
    }
}
