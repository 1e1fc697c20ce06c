//! How many events the repository makes. A relay takes only so many from a host that it does not know: beyond that it falls
//! behind until it has lost the chain of commits.

use std::time::Duration;

use tokio::time::Instant;

const HOUR: Duration = Duration::from_hours(1);
const HOURS: usize = 24;
/// A burst is this part of an hour's worth.
const BURST: u32 = 10;

/// How many events the repository may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBudget {
    /// Commits of an hour that background writes wait for. A tenth of them may come at once.
    pub per_hour: u32,
    /// The longest that a background write waits.
    pub longest_wait: Duration,
    /// Events of a day beyond which the log says so.
    pub warn_per_day: u64,
}

impl EventBudget {
    /// 1,000 an hour, 30 s, 15,000 a day: a relay takes some 2,600 an hour and 21,000 a day.
    pub const DEFAULT: Self = Self {
        per_hour: 1000,
        longest_wait: Duration::from_secs(30),
        warn_per_day: 15_000,
    };
}

/// What is left.
#[derive(Debug)]
pub(super) struct Tokens {
    budget: EventBudget,
    /// When the bucket will be, or was, full.
    full_at: Instant,
    /// Events of each of the last hours, the present one first.
    hours: [u64; HOURS],
    hour_began: Instant,
    is_warned: bool,
}

impl Tokens {
    pub(super) fn new(budget: EventBudget, now: Instant) -> Self {
        Self {
            budget,
            full_at: now,
            hours: [0; HOURS],
            hour_began: now,
            is_warned: false,
        }
    }

    /// The time in which one token comes back.
    fn period(&self) -> Duration {
        HOUR / self.budget.per_hour.max(1)
    }

    /// When a background write that has waited since `since` may be committed.
    pub(super) fn due(&self, since: Instant) -> Instant {
        let burst = (self.budget.per_hour / BURST).max(1);
        // One token is there when all but one of the bucket's are missing.
        let filling = self.period() * burst.saturating_sub(1);
        let token_at = self.full_at.checked_sub(filling).unwrap_or(since);
        let latest = since + self.budget.longest_wait;
        token_at.max(since).min(latest)
    }

    /// Counts events that were made. Whether there have been too many today, said once until there are fewer.
    pub(super) fn took(&mut self, events: usize, now: Instant) -> bool {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let burst = (self.budget.per_hour / BURST).max(1);
        let emptied = now + self.period() * burst;
        self.full_at = (self.full_at.max(now) + self.period().saturating_mul(events)).min(emptied);
        while now.duration_since(self.hour_began) >= HOUR {
            self.hours.rotate_right(1);
            self.hours[0] = 0;
            self.hour_began += HOUR;
        }
        self.hours[0] += u64::from(events);
        let is_too_many = self.of_day() > self.budget.warn_per_day;
        let is_new = is_too_many && !self.is_warned;
        self.is_warned = is_too_many;
        is_new
    }

    /// Events of the last day, to the hour.
    pub(super) fn of_day(&self) -> u64 {
        self.hours.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_free_and_then_each_commit_waits_for_its_token_but_not_too_long() {
        let budget = EventBudget {
            per_hour: 360,
            ..EventBudget::DEFAULT
        };
        let start = Instant::now();
        let mut tokens = Tokens::new(budget, start);
        for taken in 0..36 {
            assert_eq!(tokens.due(start), start, "{taken}");
            tokens.took(1, start);
        }
        // One token in ten seconds.
        assert_eq!(tokens.due(start), start + 10 * SECOND);
        let later = start + 10 * SECOND;
        assert_eq!(tokens.due(later), later);
        tokens.took(1, later);
        assert_eq!(tokens.due(later), later + 10 * SECOND);
        // What a person waits for takes tokens as well, and never more than there are.
        tokens.took(1000, later);
        assert_eq!(tokens.due(later), later + 10 * SECOND);
        let slow = EventBudget {
            per_hour: 10,
            ..budget
        };
        let mut tokens = Tokens::new(slow, start);
        tokens.took(1, start);
        assert_eq!(tokens.due(start), start + 30 * SECOND, "never later than that");
    }

    #[test]
    fn too_many_events_of_a_day_are_said_once() {
        let budget = EventBudget {
            warn_per_day: 100,
            ..EventBudget::DEFAULT
        };
        let start = Instant::now();
        let mut tokens = Tokens::new(budget, start);
        assert!(!tokens.took(100, start));
        assert!(tokens.took(1, start));
        assert!(!tokens.took(1, start));
        assert_eq!(tokens.of_day(), 102);
        let tomorrow = start + 24 * HOUR;
        assert!(!tokens.took(1, tomorrow));
        assert_eq!(tokens.of_day(), 1);
        assert!(tokens.took(100, tomorrow));
    }
}
