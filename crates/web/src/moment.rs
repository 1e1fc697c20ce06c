//! Points in time, as people read them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// A point in time, for `<time>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For programs: RFC 3339.
    pub iso: String,
    /// For people: how long ago, or the day.
    pub text: String,
    /// For people who want to know exactly.
    pub full: String,
}

impl Moment {
    /// `at`, seen from `now`.
    #[must_use]
    pub fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let ago = now - at;
        let text = if ago < TimeDelta::minutes(1) {
            "just now".to_owned()
        } else if ago < TimeDelta::hours(1) {
            count(ago.num_minutes(), "minute")
        } else if ago < TimeDelta::days(1) {
            count(ago.num_hours(), "hour")
        } else if ago < TimeDelta::days(7) {
            count(ago.num_days(), "day")
        } else {
            at.format("%-d %B %Y").to_string()
        };
        Self {
            iso: at.to_rfc3339_opts(SecondsFormat::Secs, true),
            text,
            full: at.format("%-d %B %Y, %H:%M UTC").to_string(),
        }
    }
}

fn count(number: i64, unit: &str) -> String {
    if number == 1 {
        format!("1 {unit} ago")
    } else {
        format!("{number} {unit}s ago")
    }
}
