//! `gc.*`: when what nothing names is removed.

use atcr_server::Problems;

use crate::config::HoldConfig;
use crate::gc::GcOptions;

/// Hours of a day.
const HOURS: u32 = 24;
/// Days of grace. A longer one than the upper bound keeps everything.
const GRACE_DAYS: std::ops::RangeInclusive<u32> = 1..=3650;

pub(super) fn gc(config: &HoldConfig, problems: &mut Problems) -> GcOptions {
    let section = &config.gc;
    problems.require(section.hour < HOURS, "gc.hour", "must be between 0 and 23");
    problems.require(
        GRACE_DAYS.contains(&section.grace_days),
        "gc.grace_days",
        "must be between 1 and 3650",
    );
    GcOptions {
        nightly: section.enabled,
        hour: section.hour,
        grace: std::time::Duration::from_hours(24 * u64::from(section.grace_days)),
        removals_per_second: section.removals_per_second,
        ..GcOptions::default()
    }
}
