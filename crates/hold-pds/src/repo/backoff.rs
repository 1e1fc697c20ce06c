//! How long to leave the disk alone after it failed.

use std::time::{Duration, Instant};

/// Waits that double with each failure, up to a limit.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    wait: Duration,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            wait: first,
            until: None,
        }
    }

    /// How long to wait after the next failure, or until the next try.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.until = now.checked_add(self.wait);
        self.wait = self.wait.saturating_mul(2).min(self.longest);
    }

    pub(super) fn worked(&mut self) {
        self.wait = self.first;
        self.until = None;
    }

    /// Whether the wait after the last failure goes on.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_anew_after_success() {
        let minute = Duration::from_mins(1);
        let mut now = Instant::now();
        let mut backoff = Backoff::new(minute, minute * 5);
        assert!(!backoff.is_waiting(now));
        for minutes in [1, 2, 4, 5, 5] {
            backoff.failed(now);
            let wait = minute * minutes;
            assert!(backoff.is_waiting(now + wait.saturating_sub(Duration::from_millis(1))));
            now += wait;
            assert!(!backoff.is_waiting(now));
        }
        backoff.failed(now);
        backoff.worked();
        assert!(!backoff.is_waiting(now));
        assert_eq!(backoff.wait(), minute);
    }
}
