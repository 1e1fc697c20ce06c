//! When the vulnerability database is renewed, and what becomes of those before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::{DateTime, Utc};
use url::Url;

use super::Databases;
use crate::error::ScanError;

/// The background task.
const TASK: Task = Task::new("vulnerability_database");

/// How often it is looked whether something is to be done.
const ROUND: Duration = Duration::from_mins(1);

/// How long after a failure it is tried again: each try may be a download of the whole.
const AGAIN: Duration = Duration::from_hours(1);

/// The age of the content in use, in seconds; there is no value without a database.
const AGE: &str = "atcr_vulnerability_database_age_seconds";

/// Updates; label `outcome` (`new`, `unchanged`, `failed`).
const UPDATES: &str = "atcr_vulnerability_database_updates_total";

/// What came of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// A new database is in use.
    New,
    /// There is no newer one.
    Unchanged,
}

/// Renews the database.
#[derive(Debug)]
pub struct Updater {
    databases: Arc<Databases>,
    from: Option<Url>,
    clock: Arc<dyn Clock>,
    /// When it is looked for a newer one again; `None`: now.
    due: Mutex<Option<DateTime<Utc>>>,
}

impl Updater {
    /// Renews `databases` from `from`, or from where the tool has it.
    #[must_use]
    pub fn new(databases: Arc<Databases>, from: Option<Url>, clock: Arc<dyn Clock>) -> Self {
        Self {
            databases,
            from,
            clock,
            due: Mutex::default(),
        }
    }

    /// Looks for a newer database and uses it.
    ///
    /// # Errors
    /// `Database`, `Workspace`; the one in use stays in use.
    pub async fn update(&self) -> Result<Updated, ScanError> {
        let outcome = self.renew().await;
        let label = match &outcome {
            Ok(Updated::New) => "new",
            Ok(Updated::Unchanged) => "unchanged",
            Err(_) => "failed",
        };
        metrics::counter!(UPDATES, "outcome" => label).increment(1);
        outcome
    }

    async fn renew(&self) -> Result<Updated, ScanError> {
        let databases = &self.databases;
        let grype = &databases.grype;
        let from = self.from.as_ref();
        if let Some(current) = databases.current() {
            let own = databases.work_folder()?;
            if !grype.has_newer(current.folder(), own.path(), from).await? {
                return Ok(Updated::Unchanged);
            }
        }
        let fill =
            async |database: &std::path::Path, own: &std::path::Path| grype.update(database, own, from).await;
        databases.make(fill).await?;
        Ok(Updated::New)
    }

    /// Renews the database now if there is none, and every `interval`. `None` never asks; a database that another process brings in
    /// is used all the same.
    pub fn start(self: Arc<Self>, interval: Option<Duration>, shutdown: &Shutdown) {
        TASK.every(ROUND, shutdown, move || {
            let this = Arc::clone(&self);
            async move { this.round(interval).await }
        });
    }

    async fn round(&self, interval: Option<Duration>) -> Result<(), ScanError> {
        self.databases.follow_pointer().await?;
        let updated = match interval {
            Some(interval) if self.is_due() => {
                let updated = self.update().await;
                *self.due.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(self.clock.now() + pause_after(&updated, interval));
                updated.map(drop)
            }
            _ => Ok(()),
        };
        if let Some(current) = self.databases.current() {
            metrics::gauge!(AGE).set(current.age(self.clock.now()).as_secs_f64());
        }
        self.databases.remove_old();
        updated
    }

    fn is_due(&self) -> bool {
        let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.is_none_or(|due| self.clock.now() >= due)
    }
}

/// How long after an update with this outcome the next one is due.
fn pause_after(updated: &Result<Updated, ScanError>, interval: Duration) -> Duration {
    match updated {
        Ok(_) => interval,
        Err(_) => interval.min(AGAIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_failed_is_not_tried_again_at_once() {
        let day = Duration::from_hours(24);
        assert_eq!(pause_after(&Ok(Updated::Unchanged), day), day);
        let failed = || Err(ScanError::Database("x".to_owned()));
        assert_eq!(pause_after(&failed(), day), AGAIN);
        assert_eq!(
            pause_after(&failed(), Duration::from_mins(5)),
            Duration::from_mins(5)
        );
    }
}
