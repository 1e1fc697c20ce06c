//! Rows that only their own records decide: pages, profiles, and what holds say. Each record's row is replaced.

use chrono::{DateTime, Utc};

use super::Write;
use crate::fact::{Fact, StatsFact};
use crate::row::{Answer, Row};
use crate::stored::{cid_bytes, digest_bytes, integer, micros, seen_micros};
use crate::{IndexError, row};

/// The most that is carried, so that a hold that begins anew again and again leaves room for sums.
const MOST_CARRIED: i64 = 1 << 55;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// The row of a profile, a captain's record, a membership or a scan: account, key, CID, and what the record says.
pub fn row_of(write: &Write<'_>) -> Option<Row> {
    let record = write.record?;
    let (account, rkey, cid) = (write.account, write.rkey.as_str(), cid_bytes(Some(&record.cid)));
    match &record.fact {
        Fact::Profile(fact) => Some(row![
            account,
            rkey,
            cid,
            fact.default_hold.as_ref().map_or("", |hold| hold.as_str()),
            fact.auto_remove_untagged
        ]),
        Fact::Captain(fact) => Some(row![
            account,
            rkey,
            cid,
            fact.owner.as_str(),
            fact.is_public,
            fact.allow_all_crew,
            &fact.region,
            fact.successor.as_ref().map_or("", |successor| successor.as_str()),
            micros(fact.deployed_at)
        ]),
        Fact::Crew(fact) => Some(row![
            account,
            rkey,
            cid,
            fact.member.as_str(),
            &fact.role,
            // A list of texts always serialises.
            serde_json::to_string(&fact.permissions).unwrap_or_else(|_| "[]".to_owned()),
            &fact.tier,
            micros(fact.added_at)
        ]),
        Fact::Scan(fact) => Some(row![
            account,
            rkey,
            cid,
            fact.owner.as_str(),
            digest_bytes(&fact.digest),
            fact.severities.critical,
            fact.severities.high,
            fact.severities.medium,
            fact.severities.low,
            fact.severities.total,
            &fact.scanner,
            micros(fact.scanned_at),
            cid_bytes(fact.sbom.as_ref()),
            cid_bytes(fact.report.as_ref())
        ]),
        Fact::Manifest(_)
        | Fact::Tag(_)
        | Fact::Page(_)
        | Fact::Star(_)
        | Fact::Stats(_)
        | Fact::Unusable => None,
    }
}

/// The rows of pages.
pub fn page_rows(writes: &[Write<'_>], now: DateTime<Utc>) -> Vec<Row> {
    writes
        .iter()
        .filter_map(|write| {
            let record = write.record?;
            let Fact::Page(fact) = &record.fact else {
                return None;
            };
            let (picture, picture_type) = fact
                .avatar
                .as_ref()
                .map_or((Vec::new(), ""), |(cid, kind)| (cid_bytes(Some(cid)), kind));
            Some(row![
                write.account,
                write.rkey.as_str(),
                cid_bytes(Some(&record.cid)),
                &fact.repository,
                &fact.description,
                &fact.summary,
                picture,
                picture_type,
                seen_micros(fact.updated_at, now)
            ])
        })
        .collect()
}

/// A hold's count as it was.
struct Counted {
    account: i64,
    rkey: String,
    cid: Vec<u8>,
    owner: String,
    repository: String,
    pulls: i64,
    pushes: i64,
    carried_pulls: i64,
    carried_pushes: i64,
}

/// The columns of a count, of `stats s`, as [`stats`] takes them.
pub const COUNTED: &str =
    "s.account, s.rkey, s.cid, s.owner, s.repository, s.pulls, s.pushes, s.carried_pulls, s.carried_pushes";

impl Counted {
    fn of(mut answer: Answer) -> Result<Self, IndexError> {
        Ok(Self {
            account: answer.integer()?,
            rkey: answer.text()?,
            cid: answer.bytes()?,
            owner: answer.text()?,
            repository: answer.text()?,
            pulls: answer.integer()?,
            pushes: answer.integer()?,
            carried_pulls: answer.integer()?,
            carried_pushes: answer.integer()?,
        })
    }
}

/// What becomes of holds' counts.
#[derive(Debug)]
pub struct Stats {
    /// Rows of counts.
    pub new: Vec<Row>,
    /// Pulls that are new: owner, repository, the hold's account, day, number.
    pub pulled: Vec<Row>,
    /// What the counts of before and of now are about: owner and repository.
    pub subjects: Vec<Row>,
}

/// A hold's counts, where `before` are the rows that are replaced, from [`COUNTED`]. Its number is the truth; a smaller one than before
/// means that the hold began anew, and what it had is carried.
pub fn stats(writes: &[Write<'_>], before: Vec<Answer>, now: DateTime<Utc>) -> Result<Stats, IndexError> {
    let before: Vec<Counted> = before.into_iter().map(Counted::of).collect::<Result<_, _>>()?;
    let mut new = Vec::new();
    let mut pulled = Vec::new();
    let mut subjects: Vec<Row> = before
        .iter()
        .map(|old| row![&old.owner, &old.repository])
        .collect();
    for write in writes {
        let Some(record) = write.record else { continue };
        let Fact::Stats(fact) = &record.fact else { continue };
        let old = before
            .iter()
            .find(|old| (old.account, old.rkey.as_str()) == (write.account, write.rkey.as_str()));
        let (pulls, pushes) = (integer(fact.pulls), integer(fact.pushes));
        let carried = old.map_or((0, 0), |old| {
            let anew = |old: i64, new: i64, carried: i64| {
                if new < old {
                    carried.saturating_add(old).min(MOST_CARRIED)
                } else {
                    carried
                }
            };
            (
                anew(old.pulls, pulls, old.carried_pulls),
                anew(old.pushes, pushes, old.carried_pushes),
            )
        });
        if let Some(old) = old
            && old.cid != cid_bytes(Some(&record.cid))
        {
            let counted = if pulls < old.pulls {
                pulls
            } else {
                pulls - old.pulls
            };
            pulled.push(row![
                fact.owner.as_str(),
                &fact.repository,
                write.account,
                day(fact, now),
                counted
            ]);
        }
        subjects.push(row![fact.owner.as_str(), &fact.repository]);
        new.push(row![
            write.account,
            write.rkey.as_str(),
            cid_bytes(Some(&record.cid)),
            fact.owner.as_str(),
            &fact.repository,
            pulls,
            pushes,
            carried.0,
            carried.1,
            fact.last_pull.map_or(0, |at| seen_micros(at, now)),
            micros(fact.updated_at)
        ]);
    }
    Ok(Stats {
        new,
        pulled,
        subjects,
    })
}

/// The day of the last pull, in days since 1970.
fn day(fact: &StatsFact, now: DateTime<Utc>) -> i64 {
    seen_micros(fact.last_pull.unwrap_or(fact.updated_at), now).div_euclid(DAY)
}
