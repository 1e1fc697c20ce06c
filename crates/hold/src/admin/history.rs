//! How much there was on each day: noted every hour, so that the last note of a day stands for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_hold_pds::HoldRepo;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::{Days, NaiveDate};

use super::{AdminError, TableError};
use crate::manifests::Counts;

/// Noting, in logs and metrics.
const NOTE: Task = Task::new("note_day");
/// How often.
const EVERY: Duration = Duration::from_hours(1);
/// Days that are shown.
pub const SHOWN: u64 = 60;

/// How much there was on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Pushes since the beginning.
    pub pushes: u64,
    /// Pulls since the beginning.
    pub pulls: u64,
    /// Bytes that accounts keep.
    pub bytes: u64,
    /// Accounts that keep something.
    pub accounts: u64,
    /// Members.
    pub members: u64,
}

/// Port: days at rest. Every error is the database's.
#[async_trait]
pub trait DayTable: fmt::Debug + Send + Sync {
    /// Keeps `found` for `day`, over what was noted earlier that day.
    async fn note(&self, day: NaiveDate, found: Day) -> Result<(), TableError>;

    /// The days from `first` on.
    async fn since(&self, first: NaiveDate) -> Result<BTreeMap<NaiveDate, Day>, TableError>;
}

/// What a day brought; `None` where a note is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The day.
    pub day: NaiveDate,
    /// Pushes on that day.
    pub pushes: Option<u64>,
    /// Pulls on that day.
    pub pulls: Option<u64>,
    /// Bytes at its end.
    pub bytes: Option<u64>,
}

/// The history of the hold.
#[derive(Clone, Debug)]
pub struct History {
    table: Arc<dyn DayTable>,
    repo: HoldRepo,
    counts: Counts,
    clock: Arc<dyn Clock>,
}

impl History {
    /// Keeps days in `table`.
    #[must_use]
    pub fn new(table: Arc<dyn DayTable>, repo: HoldRepo, counts: Counts, clock: Arc<dyn Clock>) -> Self {
        Self {
            table,
            repo,
            counts,
            clock,
        }
    }

    /// Notes every hour from now on, until the soft shutdown.
    pub fn start(&self, shutdown: &Shutdown) {
        let history = self.clone();
        NOTE.every(EVERY, shutdown, move || {
            let history = history.clone();
            async move { history.note().await }
        });
    }

    /// Notes how much there is now.
    ///
    /// # Errors
    /// The index's or the database's.
    pub async fn note(&self) -> Result<(), AdminError> {
        let (pushes, pulls) = self.counts.totals().await?;
        let usage = self.repo.usage_totals().await?;
        let members = self.repo.crew_by_tier().await?;
        let found = Day {
            pushes,
            pulls,
            bytes: usage.bytes,
            accounts: usage.accounts,
            members: members.iter().map(|(_, members)| members).sum(),
        };
        self.table.note(self.clock.now().date_naive(), found).await?;
        Ok(())
    }

    /// The last [`SHOWN`] days, the oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn days(&self) -> Result<Vec<Shown>, AdminError> {
        let today = self.clock.now().date_naive();
        let first = today.checked_sub_days(Days::new(SHOWN)).unwrap_or(today);
        let noted = self.table.since(first).await?;
        Ok(shown(&noted, first, today))
    }
}

/// What each day after `first` brought, up to `today`.
fn shown(noted: &BTreeMap<NaiveDate, Day>, first: NaiveDate, today: NaiveDate) -> Vec<Shown> {
    let mut before = noted.get(&first);
    first
        .iter_days()
        .skip(1)
        .take_while(|day| *day <= today)
        .map(|day| {
            let found = noted.get(&day);
            // A count that fell began anew; what came since then is not known.
            let grew = |of: fn(&Day) -> u64| of(found?).checked_sub(of(before?));
            let shown = Shown {
                day,
                pushes: grew(|day| day.pushes),
                pulls: grew(|day| day.pulls),
                bytes: found.map(|found| found.bytes),
            };
            before = found;
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_brings_what_the_count_grew_by_since_the_day_before() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 5, day).expect("a day");
        let found = |pushes, bytes| Day {
            pushes,
            bytes,
            ..Day::default()
        };
        let noted = BTreeMap::from([
            (day(1), found(5, 100)),
            (day(2), found(9, 300)),
            (day(4), found(10, 300)),
            (day(5), found(2, 50)),
            (day(6), found(3, 60)),
        ]);
        let shown = shown(&noted, day(1), day(6));
        let pushes: Vec<Option<u64>> = shown.iter().map(|shown| shown.pushes).collect();
        assert_eq!(pushes, [Some(4), None, None, None, Some(1)]);
        let bytes: Vec<Option<u64>> = shown.iter().map(|shown| shown.bytes).collect();
        assert_eq!(bytes, [Some(300), None, Some(300), Some(50), Some(60)]);
    }
}
