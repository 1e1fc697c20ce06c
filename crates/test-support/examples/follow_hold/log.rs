//! What relay and tap complain about in their logs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// What is said of a host that is away for a moment.
const OF_RESTARTS: [&str; 2] = ["dialing failed", "host connection failed"];
/// What a relay says of an event that comes again: it connects with a position before the last event that it took.
const AGAIN: &str = "dropping commit with old rev";

/// How often each warning and error was logged, but those that belong to a restart of the hold.
pub(crate) fn complaints(log: &Path) -> Result<BTreeMap<String, usize>> {
    let mut complaints = BTreeMap::new();
    for line in std::fs::read_to_string(log)?.lines() {
        // Requests are logged in another form.
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let message = line["msg"].as_str().unwrap_or_default();
        let is_complaint = line["level"] == "WARN" || line["level"] == "ERROR";
        let is_again = message == AGAIN && line["rev"] == line["prevRev"];
        if is_complaint && !OF_RESTARTS.contains(&message) && !is_again {
            *complaints.entry(message.to_owned()).or_default() += 1;
        }
    }
    Ok(complaints)
}

/// How many lines have both texts.
pub(crate) fn lines_with(log: &Path, text: &str, other: &str) -> Result<usize> {
    let log = std::fs::read_to_string(log)?;
    Ok(log
        .lines()
        .filter(|line| line.contains(text) && line.contains(other))
        .count())
}
