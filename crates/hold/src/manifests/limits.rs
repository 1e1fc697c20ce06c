//! Limits on how much one account may have recorded: the hold's repository keeps every commit for a long time, and an open hold
//! takes notices from every account of the network.

use std::num::NonZeroU32;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

/// Accounts remembered before those whose budget is whole again are forgotten.
const MAX_ACCOUNTS: usize = 10_000;

/// Of the repositories that pulls alone may add, one account adds this part at most.
const ACCOUNT_SHARE: u32 = 10;

/// The limits on notices, each with room for an hour's worth at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeLimits {
    /// Layers of one manifest. At most `layer_records_per_hour`.
    pub layers_per_notice: u32,
    /// Notices of one account.
    pub notices_per_hour: NonZeroU32,
    /// Layer records that pushes of one account add.
    pub layer_records_per_hour: NonZeroU32,
    /// Repositories that the hold begins to count because of pulls alone, for all accounts together.
    pub new_repositories_per_hour: NonZeroU32,
}

/// An account has used up its hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many manifests have been recorded for this account; try again later")]
pub struct TooOften {
    /// When there is room again.
    pub retry_after: Duration,
}

/// What each account has left.
#[derive(Debug)]
pub(super) struct Budgets {
    notices: DefaultKeyedRateLimiter<Did>,
    layer_records: DefaultKeyedRateLimiter<Did>,
    pulled_by: DefaultKeyedRateLimiter<Did>,
    pulled: DefaultDirectRateLimiter,
}

impl Budgets {
    pub(super) fn new(limits: &NoticeLimits) -> Self {
        let share = limits.new_repositories_per_hour.get() / ACCOUNT_SHARE;
        let share = NonZeroU32::new(share).unwrap_or(NonZeroU32::MIN);
        Self {
            notices: RateLimiter::keyed(Quota::per_hour(limits.notices_per_hour)),
            layer_records: RateLimiter::keyed(Quota::per_hour(limits.layer_records_per_hour)),
            pulled_by: RateLimiter::keyed(Quota::per_hour(share)),
            pulled: RateLimiter::direct(Quota::per_hour(limits.new_repositories_per_hour)),
        }
    }

    /// Takes one notice of `account`.
    pub(super) fn notice(&self, account: &Did) -> Result<(), TooOften> {
        take(&self.notices, account, NonZeroU32::MIN)
    }

    /// Takes `count` layer records of `account`; none of them when there is no room for all.
    pub(super) fn layer_records(&self, account: &Did, count: usize) -> Result<(), TooOften> {
        let Some(count) = NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX)) else {
            return Ok(());
        };
        take(&self.layer_records, account, count)
    }

    /// Takes one repository that is counted because `account` pulled it; false when there is no room.
    pub(super) fn pulled_repository(&self, account: &Did) -> bool {
        take(&self.pulled_by, account, NonZeroU32::MIN).is_ok() && self.pulled.check().is_ok()
    }
}

fn take(limiter: &DefaultKeyedRateLimiter<Did>, account: &Did, count: NonZeroU32) -> Result<(), TooOften> {
    if limiter.len() > MAX_ACCOUNTS {
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }
    match limiter.check_key_n(account, count) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(not_until)) => Err(later(&not_until)),
        // More than an hour's worth: the settings keep a notice below that.
        Err(_) => Err(TooOften {
            retry_after: Duration::from_hours(1),
        }),
    }
}

fn later(not_until: &NotUntil<<DefaultClock as governor::clock::Clock>::Instant>) -> TooOften {
    TooOften {
        retry_after: not_until.wait_time_from(DefaultClock::default().now()),
    }
}
