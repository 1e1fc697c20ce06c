//! Requests to one host, one after the other at a bounded rate: people who push and pull share our address with the index.

use std::time::Duration;

use atcr_server::Rate;
use atcr_server::rate_limit::{Now, RateLimit};
use chrono::{DateTime, TimeDelta};
use moka::sync::Cache;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::source::SourceError;

/// Requests to one host. The reference PDS takes ten a second from one address.
const REQUESTS: Rate = Rate::new(40, Duration::from_secs(5));

/// The longest that one request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// Hosts that asked to be left alone, at most.
const REMEMBERED: u64 = 10_000;

/// Whose turn it is. Clones share it.
#[derive(Clone)]
pub(super) struct HostTurns {
    rate: RateLimit<String>,
    left_alone: Cache<String, Instant>,
}

impl HostTurns {
    pub(super) fn new() -> Self {
        Self {
            rate: RateLimit::new("index_requests", REQUESTS, real_time()),
            left_alone: Cache::builder().max_capacity(REMEMBERED).build(),
        }
    }

    /// Waits until the next request to `host` may be made.
    ///
    /// # Errors
    /// [`SourceError::Later`] when that is too long to wait for.
    pub(super) async fn turn(&self, host: &Url) -> Result<(), SourceError> {
        let name = host_of(host);
        let busy = |after| SourceError::Later {
            detail: "its server has had enough requests for now".to_owned(),
            after: Some(after),
        };
        if let Some(until) = self.left_alone.get(&name) {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Err(busy(left));
            }
            self.left_alone.invalidate(&name);
        }
        let begun = Instant::now();
        while let Err(limited) = self.rate.take(&name) {
            if begun.elapsed() + limited.retry_after > PATIENCE {
                return Err(busy(limited.retry_after));
            }
            sleep(limited.retry_after).await;
        }
        Ok(())
    }

    /// No request is made to `host` for `pause`.
    pub(super) fn leave_alone(&self, host: &Url, pause: Duration) {
        if let Some(until) = Instant::now().checked_add(pause) {
            self.left_alone.insert(host_of(host), until);
        }
    }
}

/// Real time, whatever time the server's clock has: it bounds what goes over the wire.
pub(super) fn real_time() -> Now {
    let start = Instant::now();
    Now::new(move || {
        let passed = TimeDelta::from_std(start.elapsed()).unwrap_or(TimeDelta::MAX);
        DateTime::UNIX_EPOCH
            .checked_add_signed(passed)
            .unwrap_or(DateTime::<chrono::Utc>::MAX_UTC)
    })
}

fn host_of(host: &Url) -> String {
    host.authority().to_owned()
}
