//! Limits on how much one account may have recorded: the hold's repository keeps every commit for a long time, and an open hold
//! takes notices from every account of the network.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_server::Rate;
use atcr_server::rate_limit::{Limited, Now, RateLimit};

const HOUR: Duration = Duration::from_hours(1);

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

impl From<Limited> for TooOften {
    fn from(limited: Limited) -> Self {
        Self {
            retry_after: limited.retry_after,
        }
    }
}

/// What each account has left.
#[derive(Debug)]
pub(super) struct Budgets {
    notices: RateLimit<Did>,
    layer_records: RateLimit<Did>,
    pulled_by: RateLimit<Did>,
    pulled: RateLimit<()>,
}

impl Budgets {
    pub(super) fn new(limits: &NoticeLimits, clock: Arc<dyn Clock>) -> Self {
        let now = Now::new(move || clock.now());
        let hourly = |count: NonZeroU32| Rate::new(count.get(), HOUR);
        let share = limits.new_repositories_per_hour.get() / ACCOUNT_SHARE;
        Self {
            notices: RateLimit::new("notices", hourly(limits.notices_per_hour), now.clone()),
            layer_records: RateLimit::new(
                "layer_records",
                hourly(limits.layer_records_per_hour),
                now.clone(),
            ),
            pulled_by: RateLimit::new(
                "new_repositories_of_account",
                Rate::new(share.max(1), HOUR),
                now.clone(),
            ),
            pulled: RateLimit::new("new_repositories", hourly(limits.new_repositories_per_hour), now),
        }
    }

    /// Takes one notice of `account`.
    pub(super) fn notice(&self, account: &Did) -> Result<(), TooOften> {
        Ok(self.notices.take(account)?)
    }

    /// Takes `count` layer records of `account`; none of them when there is no room for all.
    pub(super) fn layer_records(&self, account: &Did, count: usize) -> Result<(), TooOften> {
        match NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX)) {
            None => Ok(()),
            Some(count) => Ok(self.layer_records.take_many(account, count)?),
        }
    }

    /// Takes one repository that is counted because `account` pulled it; false when there is no room.
    pub(super) fn pulled_repository(&self, account: &Did) -> bool {
        self.pulled_by.take(account).is_ok() && self.pulled.take(&()).is_ok()
    }
}
