//! What time does to jobs: leases lapse, tries become due, results grow old.

use std::time::Duration;

use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::TimeDelta;

use super::intake::RESCAN;
use super::{Claim, ScanTableError, Scanning};

const UPKEEP: Task = Task::new("scan_upkeep");
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// Lapsed leases that one round ends.
const LAPSED: u32 = 1000;
/// How long an image without a result is remembered after its end, and how many one round forgets.
const REMEMBERED: TimeDelta = TimeDelta::days(30);
const EXPIRED: u32 = 500;
/// Old results that are made again in one round.
const AGAIN: u32 = 10;

/// Jobs; label `state`.
const JOBS: &str = "hold_scan_jobs";
/// Connected scanners.
const SCANNERS: &str = "hold_scanners";
/// Seconds since the oldest waiting job was queued.
const WAIT: &str = "hold_scan_oldest_wait_seconds";

impl Scanning {
    /// One round: gives back what lapsed, wakes what is due, forgets what is long over, and queues old results again if scanners have nothing to do.
    ///
    /// # Errors
    /// The table's.
    pub async fn look_after(&self) -> Result<(), ScanTableError> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        for seq in inner.table.lapsed(now, LAPSED).await? {
            self.lose(seq, Claim::Lapse(now)).await?;
        }
        if inner.table.wake(now).await? > 0 {
            inner.announce_ready();
        }
        inner.table.expire(now - REMEMBERED, EXPIRED).await?;
        let figures = inner.table.figures().await?;
        let (scanners, places, jobs, newest) = inner.with_scanners(|scanners| {
            let all = scanners.values();
            let places: usize = all.clone().map(|scanner| scanner.places).sum();
            let jobs: usize = all.clone().map(|scanner| scanner.jobs).sum();
            (
                scanners.len(),
                places,
                jobs,
                all.filter_map(|scanner| scanner.database).max(),
            )
        });
        let is_idle = figures.ready == 0 && places > jobs;
        let rematched = self.rematch(newest, is_idle, now).await?;
        if let Some(interval) = inner.options.rescan_interval
            && is_idle
            && rematched == 0
        {
            let age = TimeDelta::from_std(interval).unwrap_or(TimeDelta::MAX);
            let before = now.checked_sub_signed(age).unwrap_or_default();
            let again = inner.table.queue_again(before, RESCAN, AGAIN, now).await?;
            if again > 0 {
                tracing::info!(again, "images are scanned again: their results are old");
                inner.announce_ready();
            }
        }
        for (state, count) in [
            ("ready", figures.ready),
            ("resting", figures.resting),
            ("running", figures.running),
        ] {
            metrics::gauge!(JOBS, "state" => state).set(as_gauge(count));
        }
        metrics::gauge!(SCANNERS).set(as_gauge(scanners as u64));
        let wait = figures.oldest.map_or(0, |oldest| (now - oldest).num_seconds());
        metrics::gauge!(WAIT).set(as_gauge(u64::try_from(wait).unwrap_or_default()));
        Ok(())
    }

    /// Looks after the queue from now on, until the soft shutdown.
    pub fn start_upkeep(&self, shutdown: &Shutdown) {
        let scanning = self.clone();
        UPKEEP.every(INTERVAL, shutdown, move || {
            let scanning = scanning.clone();
            async move { scanning.look_after().await }
        });
    }
}

fn as_gauge(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
