//! When the collection runs by itself.

use std::time::Duration;

use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::{Gc, GcError, RunState};

/// The task that saves the uptime.
const SAVING: Task = Task::new("gc_uptime");
/// The task that runs the collection.
const NIGHTLY: Task = Task::new("gc");

const SAVE_EVERY: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_mins(10);

impl Gc {
    /// Saves the uptime from now on, and runs every night if the settings say so, until the soft shutdown.
    pub fn start(&self, shutdown: &Shutdown) {
        let gc = self.clone();
        SAVING.every(SAVE_EVERY, shutdown, move || {
            let gc = gc.clone();
            async move { gc.save().await }
        });
        self.keep_claiming(shutdown);
        let (gc, stop) = (self.clone(), shutdown.soft().clone());
        shutdown.spawn(async move {
            stop.cancelled().await;
            gc.stop();
        });
        if !self.inner.options.nightly {
            return;
        }
        let gc = self.clone();
        NIGHTLY.every_from(LOOK_EVERY, LOOK_EVERY, shutdown, move || {
            let gc = gc.clone();
            async move {
                if !gc.is_due().await? {
                    return Ok(());
                }
                match gc.run().await {
                    // What is left of a run that is cut off, the next one does.
                    Err(GcError::Busy | GcError::Stopping) => Ok(()),
                    outcome => outcome.map(drop),
                }
            }
        });
    }

    /// Whether no run began since the last night's hour, or one was interrupted.
    ///
    /// # Errors
    /// The tables'.
    pub async fn is_due(&self) -> Result<bool, GcError> {
        let Some(last) = self.inner.table.runs(1).await?.into_iter().next() else {
            return Ok(true);
        };
        let is_interrupted = matches!(
            last.state,
            RunState::Reading | RunState::Listing | RunState::Running
        );
        let now = self.inner.clock.now();
        // One of the future: the clock was ahead once.
        let is_ahead = last.began_at > now;
        Ok(is_interrupted || is_ahead || last.began_at < last_hour(now, self.inner.options.hour))
    }
}

/// When it was last `hour` o'clock.
fn last_hour(now: DateTime<Utc>, hour: u32) -> DateTime<Utc> {
    let time = NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or_default();
    let today = now.date_naive().and_time(time).and_utc();
    if today <= now {
        today
    } else {
        today - TimeDelta::days(1)
    }
}
