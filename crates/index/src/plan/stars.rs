//! Stars. A repository's total counts the visible accounts that starred it, each once: keys are free, so one account may have several
//! records for one repository.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Write;
use crate::fact::Fact;
use crate::judge::Accounts;
use crate::row;
use crate::row::Row;
use crate::stored::{cid_bytes, seen_micros};

/// An account and what it starred: (starrer, owner, repository).
pub type Given = (i64, String, String);

/// The rows of the records, and what they star goes to `affected`.
pub fn rows(writes: &[Write<'_>], affected: &mut BTreeSet<Given>, now: DateTime<Utc>) -> Vec<Row> {
    let mut new = Vec::new();
    for write in writes {
        let Some(record) = write.record else { continue };
        let Fact::Star(fact) = &record.fact else { continue };
        affected.insert((write.account, fact.owner.to_string(), fact.repository.clone()));
        new.push(row![
            write.account,
            write.rkey.as_str(),
            cid_bytes(Some(&record.cid)),
            fact.owner.as_str(),
            &fact.repository,
            seen_micros(fact.claimed_at, now)
        ]);
    }
    new
}

/// By what each is looked up: owner, repository, starrer.
pub fn subjects(given: &BTreeSet<Given>) -> Vec<Row> {
    let given = given.iter();
    given
        .map(|(account, owner, repository)| row![owner, repository, *account])
        .collect()
}

/// What the totals gain: owner, repository, stars. `before` and `after` have those of `affected` that had a record and have one.
pub fn gains(
    accounts: &Accounts,
    affected: BTreeSet<Given>,
    before: &BTreeSet<Given>,
    after: &BTreeSet<Given>,
) -> Vec<Row> {
    let mut gains = Vec::new();
    for given in affected {
        let (was_visible, is_visible) = accounts.visibility(given.0).unwrap_or((true, true));
        let gain = i64::from(is_visible && after.contains(&given))
            - i64::from(was_visible && before.contains(&given));
        if gain != 0 {
            gains.push(row![given.1, given.2, gain]);
        }
    }
    gains
}
