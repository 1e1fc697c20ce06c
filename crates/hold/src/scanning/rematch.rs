//! Once a scanner has a newer vulnerability database, results are looked up in it again: from the lists of packages that are here, so many
//! in a minute, those first that are pulled most.

use std::collections::VecDeque;
use std::sync::PoisonError;

use atcr_oci::Digest;
use chrono::{DateTime, TimeDelta, Utc};

use super::intake::REMATCH;
use super::upkeep::INTERVAL;
use super::{ScanTableError, Scanning};

/// Results that are put in order at once. One that becomes popular meanwhile waits for the next time.
const ORDERED: u32 = 1000;

/// How long it is believed that nothing is left: a scan that began before the change may end after it.
const BELIEVED: TimeDelta = TimeDelta::hours(1);

/// Results that are looked up again.
const REMATCHED: &str = "hold_scan_rematches_total";

/// What is to be looked up again.
#[derive(Debug, Default)]
pub(super) struct Rematches {
    /// The next ones.
    next: VecDeque<Digest>,
    /// Since when nothing is left that is not of that database.
    nothing_left: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Up to when the rate is used up.
    used_until: Option<DateTime<Utc>>,
}

impl Rematches {
    fn wants_more(&self, newest: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let is_known = self
            .nothing_left
            .is_some_and(|(database, since)| database >= newest && now - since < BELIEVED);
        self.next.is_empty() && !is_known
    }

    /// As many of the next ones as may be handed out by `now`, at `rate` in a minute.
    fn take(&mut self, rate: u32, now: DateTime<Utc>) -> Vec<Digest> {
        let Some(each) = TimeDelta::minutes(1).checked_div(i32::try_from(rate).unwrap_or(i32::MAX)) else {
            return Vec::new();
        };
        // What was not used for longer than a round is lost.
        let round = TimeDelta::from_std(INTERVAL).unwrap_or(each);
        let used_until = self.used_until.unwrap_or(now - each);
        let mut used_until = used_until.max(now - each.max(round));
        let mut taken = Vec::new();
        while used_until + each <= now
            && let Some(digest) = self.next.pop_front()
        {
            used_until += each;
            taken.push(digest);
        }
        self.used_until = Some(used_until);
        taken
    }
}

impl Scanning {
    /// Queues results that are not of the database of `newest`, if scanners are idle. How many.
    pub(super) async fn rematch(
        &self,
        newest: Option<DateTime<Utc>>,
        is_idle: bool,
        now: DateTime<Utc>,
    ) -> Result<u64, ScanTableError> {
        let inner = &*self.inner;
        let rate = inner.options.rematches;
        inner.table.end_rematches(newest).await?;
        let Some(newest) = newest.filter(|_| is_idle && rate > 0) else {
            return Ok(0);
        };
        if self.with_rematches(|rematches| rematches.wants_more(newest, now)) {
            let outdated = inner.table.outdated(newest, ORDERED).await?;
            self.with_rematches(|rematches| {
                rematches.nothing_left = outdated.is_empty().then_some((newest, now));
                rematches.next = outdated.into();
            });
        }
        let due = self.with_rematches(|rematches| rematches.take(rate, now));
        if due.is_empty() {
            return Ok(0);
        }
        let queued = inner.table.queue_rematches(&due, newest, REMATCH, now).await?;
        if queued > 0 {
            metrics::counter!(REMATCHED).increment(queued);
            tracing::info!(queued, database = %newest, "packages are looked up again in a newer vulnerability database");
            inner.announce_ready();
        }
        Ok(queued)
    }

    fn with_rematches<T>(&self, look: impl FnOnce(&mut Rematches) -> T) -> T {
        look(
            &mut self
                .inner
                .rematches
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
