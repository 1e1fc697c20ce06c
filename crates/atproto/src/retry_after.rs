//! How long a peer asks to be left alone, by `Retry-After`. The value is the peer's, so each kind of peer has a longest one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::RETRY_AFTER;

/// How long to wait for one kind of peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// The wait for a peer that names none.
    pub unsaid: Duration,
    /// The longest wait; a longer one is clamped.
    pub longest: Duration,
}

impl RetryAfter {
    /// Waits `unsaid` if the peer names no wait, and never longer than `longest`.
    #[must_use]
    pub const fn new(unsaid: Duration, longest: Duration) -> Self {
        Self { unsaid, longest }
    }

    /// The wait that an answer with `headers`, received at `now`, asks for.
    #[must_use]
    pub fn read(&self, headers: &HeaderMap, now: DateTime<Utc>) -> Duration {
        self.of(asked(headers, Some(now)))
    }

    /// The wait for a peer that asked for `asked`.
    #[must_use]
    pub fn of(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.unsaid).min(self.longest)
    }
}

/// What `Retry-After` asks for: seconds, or a date, measured from `now` if that is known (zero if it has passed). `None` without the
/// header and for anything else. The value is the peer's and has no bound.
///
/// # Spec
/// RFC 9110 §10.2.3.
#[must_use]
pub fn asked(headers: &HeaderMap, now: Option<DateTime<Utc>>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some(at.signed_duration_since(now?).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const POLICY: RetryAfter = RetryAfter::new(Duration::from_secs(30), Duration::from_mins(10));

    fn read(value: &str) -> Duration {
        let now = DateTime::parse_from_rfc3339("2026-11-30T00:00:00Z")
            .unwrap()
            .to_utc();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        POLICY.read(&headers, now)
    }

    #[test]
    fn both_forms_are_read_and_nothing_a_peer_says_is_longer_than_the_bound() {
        assert_eq!(read("7"), Duration::from_secs(7));
        assert_eq!(read("Mon, 30 Nov 2026 00:01:00 GMT"), Duration::from_mins(1));
        assert_eq!(read("Mon, 30 Nov 2020 00:01:00 GMT"), Duration::ZERO);
        for huge in ["18446744073709551615", "Mon, 30 Nov 2099 00:00:00 GMT"] {
            assert_eq!(read(huge), POLICY.longest);
        }
        for nonsense in ["-1", "soon", "1.5", "18446744073709551616"] {
            assert_eq!(read(nonsense), POLICY.unsaid, "{nonsense}");
        }
        assert_eq!(POLICY.of(None), POLICY.unsaid);
    }
}
