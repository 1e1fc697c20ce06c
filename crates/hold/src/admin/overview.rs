//! How the hold is, in one look, and what needs the captain's attention.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_hold_pds::{AccountUsage, HoldRepo, LayerTotals, UsageTotals};
use atcr_server::Shutdown;
use atcr_server::health::{PartState, Readiness};
use atcr_server::supervise::Task;
use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::AdminError;
use crate::backup::Backup;
use crate::firehose::Firehose;
use crate::relays::{Announcements, RelayState};
use crate::scanning::{QueueFigures, Scanning};

/// Counting layers, in logs and metrics.
const COUNT: Task = Task::new("count_layers");
/// How long a count of layers is shown before it is made again.
const COUNT_FRESH_FOR: TimeDelta = TimeDelta::minutes(5);
/// If accounts keep something else by then, it is made again earlier: after so many times what it took.
const COUNT_REST: i32 = 100;
/// Accounts and layers in the lists of the largest.
pub const LARGEST: usize = 50;
/// A backup that is behind by more than that needs attention.
const BACKUP_LATE: Duration = Duration::from_mins(10);
/// A job that waits longer than that for a scanner needs attention.
const SCAN_LATE: TimeDelta = TimeDelta::hours(6);
/// A disk with less than so many times what readiness asks for needs attention.
const DISK_MARGIN: u64 = 8;

/// What the overview looks at.
#[derive(Clone, Debug)]
pub struct OverviewParts {
    /// The records.
    pub repo: HoldRepo,
    /// Whether each part works.
    pub readiness: Readiness,
    /// The copy of the repository.
    pub backup: Option<Backup>,
    /// The relays.
    pub relays: Announcements,
    /// Who follows the repository.
    pub firehose: Firehose,
    /// The queue of scans.
    pub scanning: Scanning,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ends what runs in the background.
    pub shutdown: Shutdown,
    /// Bytes that must be free on each disk.
    pub free_disk_bytes: u64,
}

/// A count of layers, and when it was made.
#[derive(Clone, Debug)]
pub struct LayerCount {
    /// The count.
    pub totals: Arc<LayerTotals>,
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub took: TimeDelta,
    /// What accounts kept just before.
    pub usage: UsageTotals,
}

impl LayerCount {
    /// Whether another count is due at `now`, when accounts keep `usage`.
    fn is_old(&self, now: DateTime<Utc>, usage: UsageTotals) -> bool {
        let age = now - self.at;
        age >= COUNT_FRESH_FOR || (usage != self.usage && age >= self.took * COUNT_REST)
    }
}

/// The overview. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Overview {
    parts: OverviewParts,
    layers: Arc<Mutex<Counting>>,
}

#[derive(Debug, Default)]
struct Counting {
    last: Option<LayerCount>,
    is_under_way: bool,
}

/// A part of the hold, and why it does not work if it does not.
#[derive(Clone, Debug)]
pub struct PartStanding {
    /// Its name.
    pub name: &'static str,
    /// Why it does not work.
    pub reason: Option<String>,
}

/// How far the backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupStanding {
    /// There is none.
    None,
    /// Everything is in it.
    Complete,
    /// Something is not in it, for so long.
    Behind(Duration),
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// What, in a sentence.
    pub text: String,
    /// The page where it can be mended or is explained.
    pub href: &'static str,
    /// Nothing works while it is so.
    pub is_urgent: bool,
}

/// How the hold is.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What needs attention, the urgent first.
    pub attention: Vec<Attention>,
    /// Members of each tier; `None` is for those without one.
    pub tiers: Vec<(Option<String>, u64)>,
    /// What accounts keep.
    pub usage: UsageTotals,
    /// What the layers are together; `None` while they are counted for the first time.
    pub layers: Option<LayerCount>,
    /// Whether each part works.
    pub parts: Vec<PartStanding>,
    /// Bytes that are free on each disk.
    pub disks: Vec<(&'static str, u64)>,
    /// The backup.
    pub backup: BackupStanding,
    /// The relays.
    pub relays: Vec<(Url, RelayState)>,
    /// Who follows the repository.
    pub subscribers: u64,
    /// The queue of scans, and how many scanners are connected; `None` without scanners' secret.
    pub scans: Option<(QueueFigures, u64)>,
}

impl Standing {
    /// All members.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.tiers.iter().map(|(_, members)| members).sum()
    }
}

impl Overview {
    /// Looks at `parts`.
    #[must_use]
    pub fn new(parts: OverviewParts) -> Self {
        Self {
            parts,
            layers: Arc::default(),
        }
    }

    /// How the hold is now.
    ///
    /// # Errors
    /// The index's or a table's.
    pub async fn standing(&self) -> Result<Standing, AdminError> {
        let parts = &self.parts;
        let report = parts.readiness.report().await;
        let standings = report
            .iter()
            .map(|(name, state)| PartStanding {
                name,
                reason: state.reason().map(str::to_owned),
            })
            .collect();
        let disks = report.get("disk").map_or_else(Vec::new, |disk| {
            let free = |name| disk.figure(name).map(|bytes| (name, bytes));
            ["data", "objects"].into_iter().filter_map(free).collect()
        });
        let scans = if parts.scanning.is_enabled() {
            let (figures, scanners) = parts.scanning.standing().await?;
            Some((figures, scanners as u64))
        } else {
            None
        };
        let usage = parts.repo.usage_totals().await?;
        let mut standing = Standing {
            attention: Vec::new(),
            tiers: parts.repo.crew_by_tier().await?,
            usage,
            layers: self.layers(usage),
            parts: standings,
            disks,
            backup: self.backup(),
            relays: parts.relays.states().into_iter().collect(),
            subscribers: parts.firehose.subscribers().len() as u64,
            scans,
        };
        standing.attention = self.attention(&standing);
        Ok(standing)
    }

    /// Whether every part works.
    pub async fn works(&self) -> bool {
        let report = self.parts.readiness.report().await;
        report.values().all(PartState::works)
    }

    /// The newest event that each subscriber has got.
    #[must_use]
    pub fn subscribers(&self) -> Vec<u64> {
        self.parts.firehose.subscribers()
    }

    /// The accounts that keep most.
    ///
    /// # Errors
    /// The index's.
    pub async fn largest_accounts(&self, limit: usize) -> Result<Vec<AccountUsage>, AdminError> {
        Ok(self.parts.repo.largest_accounts(limit).await?)
    }

    /// What the layers are together; `None` while they are counted for the first time.
    ///
    /// # Errors
    /// The index's.
    pub async fn layer_count(&self) -> Result<Option<LayerCount>, AdminError> {
        let usage = self.parts.repo.usage_totals().await?;
        Ok(self.layers(usage))
    }

    /// The last count of layers, while accounts keep `usage`. An old one is made again in the background: it looks at all of them. None is
    /// shown that found nothing where there is something by now.
    fn layers(&self, usage: UsageTotals) -> Option<LayerCount> {
        let now = self.parts.clock.now();
        let mut counting = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = counting.last.as_ref().is_none_or(|last| last.is_old(now, usage));
        if is_old && !counting.is_under_way {
            counting.is_under_way = true;
            let overview = self.clone();
            COUNT.spawn(&self.parts.shutdown, async move { overview.count(usage).await });
        }
        let last = counting.last.clone();
        last.filter(|last| last.totals.blobs > 0 || usage.blobs == 0)
    }

    /// How far the backup is.
    #[must_use]
    pub fn backup(&self) -> BackupStanding {
        match self.parts.backup.as_ref().map(Backup::behind) {
            None => BackupStanding::None,
            Some(Duration::ZERO) => BackupStanding::Complete,
            Some(behind) => BackupStanding::Behind(behind),
        }
    }

    async fn count(&self, usage: UsageTotals) {
        // Also when the count panics, the next page may count again.
        let under_way = UnderWay(self.layers.clone());
        let at = self.parts.clock.now();
        match self.parts.repo.layer_totals(LARGEST).await {
            Ok(totals) => {
                let count = LayerCount {
                    totals: Arc::new(totals),
                    at,
                    took: self.parts.clock.now() - at,
                    usage,
                };
                let mut counting = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
                counting.last = Some(count);
            }
            Err(error) => tracing::warn!(%error, "the layers cannot be counted"),
        }
        drop(under_way);
    }

    fn attention(&self, standing: &Standing) -> Vec<Attention> {
        let mut found = Vec::new();
        let mut say = |is_urgent, href, text| {
            found.push(Attention {
                text,
                href,
                is_urgent,
            });
        };
        for part in &standing.parts {
            if let Some(reason) = &part.reason {
                say(
                    true,
                    "/admin",
                    format!("The part “{}” does not work: {reason}.", part.name),
                );
            }
        }
        for (name, free) in &standing.disks {
            if *free < self.parts.free_disk_bytes.saturating_mul(DISK_MARGIN) {
                say(
                    false,
                    "/admin/storage",
                    format!(
                        "The disk of the {name} is nearly full: {} are free.",
                        atcr_web::figures::Bytes(*free)
                    ),
                );
            }
        }
        match standing.backup {
            BackupStanding::None => say(
                false,
                "/admin/backup",
                "The repository is not backed up: with this disk the hold's identity and records are lost."
                    .to_owned(),
            ),
            BackupStanding::Behind(behind) if behind > BACKUP_LATE => say(
                true,
                "/admin/backup",
                format!("The backup is behind by {} minutes.", behind.as_secs() / 60),
            ),
            _ => {}
        }
        for (relay, state) in &standing.relays {
            if let Some(error) = state.error.as_ref().filter(|_| !state.accepted) {
                let host = relay.host_str().unwrap_or_default();
                say(
                    false,
                    "/admin/relays",
                    format!("The relay {host} does not follow this hold: {error}."),
                );
            }
        }
        if let Some((figures, scanners)) = &standing.scans {
            let is_late = figures
                .oldest
                .is_some_and(|oldest| self.parts.clock.now() - oldest > SCAN_LATE);
            if *scanners == 0 && figures.ready > 0 {
                say(
                    false,
                    "/admin/scans",
                    "Images wait to be scanned, and no scanner is connected.".to_owned(),
                );
            } else if is_late {
                say(
                    false,
                    "/admin/scans",
                    "Images have waited to be scanned for more than six hours.".to_owned(),
                );
            }
        }
        found.sort_by_key(|attention| !attention.is_urgent);
        found
    }
}

struct UnderWay(Arc<Mutex<Counting>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counting.is_under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_made_again_after_a_time_and_earlier_if_something_changed() {
        let count = LayerCount {
            totals: Arc::default(),
            at: DateTime::UNIX_EPOCH,
            took: TimeDelta::milliseconds(200),
            usage: UsageTotals::default(),
        };
        let changed = UsageTotals {
            bytes: 1,
            ..count.usage
        };
        for (seconds, usage, is_old) in [
            (19, count.usage, false),
            (19, changed, false),
            (20, count.usage, false),
            (20, changed, true),
            (300, count.usage, true),
        ] {
            let now = count.at + TimeDelta::seconds(seconds);
            assert_eq!(count.is_old(now, usage), is_old, "{seconds}");
        }
    }
}
