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
        if !self.inner.options.nightly {
            return;
        }
        let gc = self.clone();
        let stop = shutdown.soft().clone();
        NIGHTLY.every_from(LOOK_EVERY, LOOK_EVERY, shutdown, move || {
            let (gc, stop) = (gc.clone(), stop.clone());
            async move {
                if !gc.is_due().await? {
                    return Ok(());
                }
                // What is left of a run that is cut off here, the next one does.
                tokio::select! {
                    () = stop.cancelled() => Ok(()),
                    outcome = gc.run() => match outcome {
                        Err(GcError::Busy) => Ok(()),
                        outcome => outcome.map(drop),
                    },
                }
            }
        });
    }

    /// Whether no run began since the last night's hour, or one was interrupted.
    async fn is_due(&self) -> Result<bool, GcError> {
        let Some(last) = self.inner.table.runs(1).await?.into_iter().next() else {
            return Ok(true);
        };
        let is_interrupted = matches!(
            last.state,
            RunState::Reading | RunState::Listing | RunState::Running
        );
        let hour = last_hour(self.inner.clock.now(), self.inner.options.hour);
        Ok(is_interrupted || last.began_at < hour)
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
