//! What readiness asks: whether the hold is there, whether vulnerabilities are looked up, whether the disk has room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_server::Shutdown;
use atcr_server::disk_space::{DataFolder, DiskSpace};
use atcr_server::health::{self, Figures, Part, Readiness, Reason};

use super::jobs::Jobs;
use crate::scan::Scanner;
use crate::settings::ScannerSettings;

/// Free bytes that the work folder's disk needs: what a small image takes.
const FREE_BYTES: u64 = 256 << 20;

pub(super) fn of(
    settings: &ScannerSettings,
    scanner: &Arc<Scanner>,
    jobs: &Arc<Jobs>,
    is_connected: Arc<AtomicBool>,
    clock: &Arc<dyn Clock>,
    shutdown: Shutdown,
) -> Readiness {
    let work = DataFolder {
        name: "work",
        path: settings.work_folder.clone(),
    };
    let parts: Vec<Box<dyn Part>> = vec![
        Box::new(HoldPart {
            is_connected,
            jobs: Arc::clone(jobs),
        }),
        Box::new(VulnerabilitiesPart {
            scanner: Arc::clone(scanner),
            clock: Arc::clone(clock),
        }),
        Box::new(DiskSpace::new(vec![work], FREE_BYTES)),
    ];
    Readiness::new(parts, shutdown, health::FRESH_FOR)
}

/// Fails while there is no connection.
#[derive(Debug)]
struct HoldPart {
    is_connected: Arc<AtomicBool>,
    jobs: Arc<Jobs>,
}

#[async_trait]
impl Part for HoldPart {
    fn name(&self) -> &'static str {
        "hold"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        if !self.is_connected.load(Ordering::Relaxed) {
            return Err("there is no connection to the hold".into());
        }
        let (waiting, running) = self.jobs.figures();
        Ok(Figures::from([
            ("jobs_waiting", waiting as u64),
            ("jobs_running", running as u64),
        ]))
    }
}

/// Never fails: without a database packages are listed all the same.
#[derive(Debug)]
struct VulnerabilitiesPart {
    scanner: Arc<Scanner>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Part for VulnerabilitiesPart {
    fn name(&self) -> &'static str {
        "vulnerability_database"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        let databases = self.scanner.databases.as_ref();
        let current = databases.and_then(|databases| databases.current());
        let age = current
            .as_ref()
            .map(|current| current.age(self.clock.now()).as_secs());
        Ok(Figures::from([
            ("is_enabled", u64::from(databases.is_some())),
            ("is_there", u64::from(current.is_some())),
            ("age_seconds", age.unwrap_or_default()),
        ]))
    }
}
