//! Comparison of a repository's revisions, which detects a server that goes back to an older state.
//!
//! A revision is a [`Tid`], and each commit has a greater one than the commit before. A client that remembers the newest revision
//! of an account can therefore tell an older state from a newer one without checking a signature.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::moved;
use crate::syntax::Tid;

/// How far a revision may be ahead of our clock. One from beyond is not remembered: everything after it would look old.
///
/// # Spec
/// atproto specs "Repository", commit objects: revisions in the far future are to be refused.
pub const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);

/// What a revision is beside the newest one that is known of the same account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// The newest so far: remember it. The first one is newer than none.
    Newer,
    /// The one that is known.
    Same,
    /// Older than what is known: the server went back.
    RolledBack,
    /// So far ahead of our clock that it cannot be true.
    FromTheFuture,
}

impl Revision {
    /// Compares `seen` with the newest known revision, at `now`.
    #[must_use]
    pub fn judge(seen: &Tid, newest: Option<&Tid>, now: DateTime<Utc>) -> Self {
        let latest = moved(now, MAX_AHEAD).timestamp_micros();
        if u64::try_from(latest).is_ok_and(|latest| seen.micros() > latest) {
            return Self::FromTheFuture;
        }
        match newest.map(|newest| seen.cmp(newest)) {
            None | Some(std::cmp::Ordering::Greater) => Self::Newer,
            Some(std::cmp::Ordering::Equal) => Self::Same,
            Some(std::cmp::Ordering::Less) => Self::RolledBack,
        }
    }

    /// Whether the state of that revision may be used.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Newer | Self::Same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    fn at(micros: u64) -> Tid {
        Tid::from_parts(micros, 0)
    }

    fn judge(seen: &Tid, newest: Option<&Tid>) -> Revision {
        Revision::judge(seen, newest, DateTime::from_timestamp(1_800_000_000, 0).unwrap())
    }

    #[test]
    fn a_revision_is_newer_the_same_or_older() {
        let known = at(NOW - 1000);
        assert_eq!(judge(&known, None), Revision::Newer);
        assert_eq!(judge(&known, Some(&known)), Revision::Same);
        assert_eq!(judge(&at(NOW - 999), Some(&known)), Revision::Newer);
        assert_eq!(judge(&at(NOW - 1001), Some(&known)), Revision::RolledBack);
        // Made in the same microsecond on another clock.
        assert_eq!(
            judge(&Tid::from_parts(NOW - 1000, 1), Some(&known)),
            Revision::Newer
        );
        assert_eq!(judge(&at(0), Some(&known)), Revision::RolledBack);
        assert!(!Revision::RolledBack.is_good() && Revision::Same.is_good());
    }

    #[test]
    fn a_revision_from_the_future_is_not_believed() {
        let limit = NOW + 5 * 60 * 1_000_000;
        assert_eq!(judge(&at(limit), None), Revision::Newer);
        for seen in [limit + 1, (1 << 53) - 1] {
            assert_eq!(judge(&at(seen), None), Revision::FromTheFuture);
            assert_eq!(judge(&at(seen), Some(&at(NOW))), Revision::FromTheFuture);
        }
        let ends = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC];
        for now in ends {
            // No panic, whatever the clock says.
            let _ = Revision::judge(&at(NOW), None, now);
        }
    }
}
