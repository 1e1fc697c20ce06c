//! Rows of tags. Of several records for one tag the one that claims to have been moved last says where the tag points.

use std::collections::{BTreeMap, BTreeSet};

use atcr_atproto::lexicon::tag;
use chrono::{DateTime, Utc};

use super::{Rows, Touched, Write};
use crate::fact::Fact;
use crate::row::{Answer, Row};
use crate::stored::{cid_bytes, micros, seen_micros, some_digest_bytes, tag_rkey};
use crate::version_order::{is_fallback, sort_key};
use crate::{IndexError, row};

/// A tag's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRow {
    repository: i64,
    name: String,
    odd_rkey: String,
    account: i64,
    cid: Vec<u8>,
    digest: Vec<u8>,
    claimed_at: i64,
    moved_at: i64,
    shown: i64,
}

/// The columns of a tag's row, of `tag t`.
pub const COLUMNS: &str =
    "t.repository, t.name, t.odd_rkey, t.account, t.cid, t.digest, t.claimed_at, t.moved_at, t.shown";

/// What identifies a row.
type Key = (i64, String, String);

/// A tag: its repository's number and its name.
type Name = (i64, String);

/// Rows by their records: account and record key.
pub type ByRecord = BTreeMap<(i64, String), TagRow>;

impl TagRow {
    fn of(answer: &mut Answer) -> Result<Self, IndexError> {
        Ok(Self {
            repository: answer.integer()?,
            name: answer.text()?,
            odd_rkey: answer.text()?,
            account: answer.integer()?,
            cid: answer.bytes()?,
            digest: answer.bytes()?,
            claimed_at: answer.integer()?,
            moved_at: answer.integer()?,
            shown: answer.integer()?,
        })
    }

    fn key(&self) -> Key {
        (self.repository, self.name.clone(), self.odd_rkey.clone())
    }

    fn tag(&self) -> Name {
        (self.repository, self.name.clone())
    }

    /// What orders the records of one tag: the last one wins.
    fn rank(&self) -> (i64, &str, &[u8]) {
        (self.claimed_at, &self.odd_rkey, &self.cid)
    }

    fn row(&self) -> Row {
        row![
            self.repository,
            &self.name,
            &self.odd_rkey,
            self.account,
            &self.cid,
            &self.digest,
            self.claimed_at,
            self.moved_at,
            self.shown,
            sort_key(&self.name)
        ]
    }
}

/// Where the rows of the records may be, by account, repository and tag. A key that follows from repository and tag may be read in
/// several ways, where it has several underscores.
pub fn places(writes: &[Write<'_>]) -> Vec<Row> {
    let places = writes.iter().flat_map(|write| {
        let rkey = write.rkey.as_str();
        rkey.match_indices('_').map(move |(at, _)| {
            row![
                write.account,
                rkey[..at].replace('~', "/"),
                rkey[at + 1..].replace('~', "/")
            ]
        })
    });
    places.collect()
}

/// Rows that were found for records: each answer is the repository's name and the [`COLUMNS`].
pub fn by_record(answers: impl IntoIterator<Item = Answer>) -> Result<ByRecord, IndexError> {
    let rows = answers.into_iter().map(|mut answer| {
        let repository = answer.text()?;
        let row = TagRow::of(&mut answer)?;
        let rkey = tag_rkey(&repository, &row.name, row.odd_rkey.clone());
        Ok(((row.account, rkey), row))
    });
    rows.collect()
}

/// Tags whose rows change.
#[derive(Debug)]
pub struct Put<'b> {
    names: BTreeSet<Name>,
    gone: BTreeSet<Key>,
    put: Vec<TagRow>,
    /// The revision that changes the tag, and whether it is the account's first.
    cause: BTreeMap<Name, (&'b str, bool)>,
}

/// What is written.
#[derive(Debug)]
pub struct Plan {
    /// Rows of tags; gone by repository, tag and odd key.
    pub rows: Rows,
    /// Moves: repository, tag, digest before and after, instant, revision.
    pub moves: Vec<Row>,
    /// Tags that point elsewhere than before: repository and tag.
    pub moved: Vec<Row>,
}

impl<'b> Put<'b> {
    /// What `writes` say, where `replaced` are their records' rows of before.
    pub fn of(writes: &[Write<'b>], replaced: &ByRecord, touched: &Touched, now: DateTime<Utc>) -> Self {
        let mut names: BTreeSet<Name> = replaced.values().map(TagRow::tag).collect();
        let mut put = Vec::new();
        let mut cause: BTreeMap<Name, (&str, bool)> = BTreeMap::new();
        for write in writes {
            let old = replaced.get(&(write.account, write.rkey.as_str().to_owned()));
            if let Some(old) = old {
                cause.insert(old.tag(), (write.rev, write.is_first));
            }
            let Some(record) = write.record else {
                continue;
            };
            let Fact::Tag(fact) = &record.fact else {
                continue;
            };
            let Some(repository) = touched.repository(write.account, &fact.repository) else {
                continue;
            };
            let name = (repository, fact.tag.as_str().to_owned());
            cause.insert(name.clone(), (write.rev, write.is_first));
            names.insert(name.clone());
            let rkey = write.rkey.as_str();
            let is_derived =
                tag::rkey(&fact.repository, fact.tag.as_str()).is_ok_and(|derived| derived.as_str() == rkey);
            let cid = cid_bytes(Some(&record.cid));
            // A record that is written again as it was keeps the time at which it was seen.
            let moved_at = old
                .filter(|old| old.cid == cid)
                .map_or_else(|| seen_micros(fact.claimed_at, now), |old| old.moved_at);
            put.push(TagRow {
                repository,
                name: name.1,
                odd_rkey: if is_derived {
                    String::new()
                } else {
                    rkey.to_owned()
                },
                account: write.account,
                cid,
                digest: some_digest_bytes(fact.digest.as_ref()),
                claimed_at: micros(fact.claimed_at),
                moved_at,
                shown: 0,
            });
        }
        Self {
            names,
            gone: replaced.values().map(TagRow::key).collect(),
            put,
            cause,
        }
    }

    /// The tags: repository and name. All rows of each count.
    pub fn names(&self) -> Vec<Row> {
        let names = self.names.iter();
        names.map(|(repository, name)| row![*repository, name]).collect()
    }

    /// What is written, where `before` are all rows of the tags, from their [`COLUMNS`].
    pub fn plan(
        self,
        before: Vec<Answer>,
        touched: &mut Touched,
        now: DateTime<Utc>,
    ) -> Result<Plan, IndexError> {
        let before = before.into_iter().map(|mut answer| TagRow::of(&mut answer));
        let before: Vec<TagRow> = before.collect::<Result<_, _>>()?;
        let mut after: BTreeMap<Name, Vec<TagRow>> = BTreeMap::new();
        let kept = before.iter().filter(|row| !self.gone.contains(&row.key()));
        for row in kept.cloned().chain(self.put) {
            after.entry(row.tag()).or_default().push(row);
        }
        for rows in after.values_mut() {
            show_last(rows);
        }
        let after: Vec<TagRow> = after.into_values().flatten().collect();
        for (rows, sign) in [(&before, -1), (&after, 1)] {
            for row in rows {
                let totals = touched.totals(row.repository);
                totals.tags += sign * i64::from(row.shown == 1);
                totals.fallback_tags += sign * i64::from(row.shown == 2);
            }
        }
        let (old, new) = (targets(&before), targets(&after));
        let mut moves = Vec::new();
        let mut moved = Vec::new();
        for name in &self.names {
            let (from, to) = (old.get(name), new.get(name));
            if from == to {
                continue;
            }
            moved.push(row![name.0, &name.1]);
            let (rev, is_first) = self.cause.get(name).copied().unwrap_or(("", false));
            // The first listing of an account is no move.
            if !is_first {
                let digest = |target: Option<&&[u8]>| target.map_or(Vec::new(), |digest| digest.to_vec());
                moves.push(row![name.0, &name.1, digest(from), digest(to), micros(now), rev]);
            }
        }
        Ok(Plan {
            rows: difference(&before, &after),
            moves,
            moved,
        })
    }
}

/// Where each tag points.
fn targets(rows: &[TagRow]) -> BTreeMap<Name, &[u8]> {
    let shown = rows.iter().filter(|row| row.shown == 1);
    shown.map(|row| (row.tag(), &*row.digest)).collect()
}

fn difference(before: &[TagRow], after: &[TagRow]) -> Rows {
    let kept: BTreeMap<_, _> = after.iter().map(|row| (row.key(), row)).collect();
    let known: BTreeMap<_, _> = before.iter().map(|row| (row.key(), row)).collect();
    Rows {
        gone: known
            .keys()
            .filter(|key| !kept.contains_key(*key))
            .map(|(repository, name, rkey)| row![*repository, name, rkey])
            .collect(),
        new: kept
            .iter()
            .filter(|(key, row)| known.get(*key) != Some(*row))
            .map(|(_, row)| row.row())
            .collect(),
    }
}

/// Marks the record that says where the tag points.
fn show_last(rows: &mut [TagRow]) {
    let Some(last) = rows
        .iter()
        .map(TagRow::rank)
        .max()
        .map(|(at, rkey, cid)| (at, rkey.to_owned(), cid.to_owned()))
    else {
        return;
    };
    for row in rows {
        let is_last = row.rank() == (last.0, last.1.as_str(), last.2.as_slice());
        row.shown = match (is_last, is_fallback(&row.name)) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
    }
}
