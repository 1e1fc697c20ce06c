//! Rows of manifests, their children, and which holds a repository's manifests name.

use std::collections::{BTreeMap, HashMap};

use atcr_atproto::lexicon::manifest;
use chrono::{DateTime, Utc};

use super::{Rows, Touched, Write};
use crate::fact::{Fact, ManifestFact};
use crate::row::{Answer, Row};
use crate::stored::{cid_bytes, digest_bytes, integer, micros, seen_micros, some_digest_bytes};
use crate::{IndexError, row};

/// The columns of a row that is known, of `manifest m`; whether it has a subject follows.
pub const COLUMNS: &str = "m.id, m.account, m.repository, m.digest, m.odd_rkey, m.cid, m.hold";

/// A row that is known.
#[derive(Clone, Debug)]
pub struct Known {
    id: i64,
    account: i64,
    repository: i64,
    digest: Vec<u8>,
    odd_rkey: String,
    cid: Vec<u8>,
    hold: String,
    is_referrer: bool,
}

/// The rows that records have, by account and record key.
pub type ByRecord<'w> = BTreeMap<(i64, &'w str), Known>;

impl Known {
    fn of(mut answer: Answer) -> Result<Self, IndexError> {
        Ok(Self {
            id: answer.integer()?,
            account: answer.integer()?,
            repository: answer.integer()?,
            digest: answer.bytes()?,
            odd_rkey: answer.text()?,
            cid: answer.bytes()?,
            hold: answer.text()?,
            is_referrer: answer.flag()?,
        })
    }
}

/// The digest that follows from a key; `None` for a key of another form.
fn digest_of(rkey: &str) -> Option<Vec<u8>> {
    if rkey.contains('.') {
        return None;
    }
    let digest = manifest::digest_from_rkey(rkey)?.parse().ok()?;
    Some(digest_bytes(&digest))
}

/// What is kept of a key beside the digest: nothing when it follows from it.
fn odd_rkey<'r>(fact: &ManifestFact, rkey: &'r str) -> &'r str {
    match manifest::rkey(fact.digest.as_str()) {
        Ok(derived) if derived.as_str() == rkey => "",
        _ => rkey,
    }
}

/// Where the rows are whose keys follow from their digests: account and digest.
pub fn places(writes: &[Write<'_>]) -> Vec<Row> {
    let places = writes.iter();
    places
        .filter_map(|write| Some(row![write.account, digest_of(write.rkey.as_str())?]))
        .collect()
}

/// The rows that the records of `writes` have, of all that were found.
pub fn by_record<'w>(
    writes: &[Write<'w>],
    answers: impl IntoIterator<Item = Answer>,
) -> Result<ByRecord<'w>, IndexError> {
    let mut plain: HashMap<(i64, Vec<u8>), Known> = HashMap::new();
    let mut odd: HashMap<(i64, String), Known> = HashMap::new();
    for answer in answers {
        let row = Known::of(answer)?;
        if row.odd_rkey.is_empty() {
            plain.insert((row.account, row.digest.clone()), row);
        } else {
            odd.insert((row.account, row.odd_rkey.clone()), row);
        }
    }
    let mut by_record = BTreeMap::new();
    for write in writes {
        let rkey = write.rkey.as_str();
        let row = odd
            .remove(&(write.account, rkey.to_owned()))
            .or_else(|| digest_of(rkey).and_then(|digest| plain.remove(&(write.account, digest))));
        if let Some(row) = row {
            by_record.insert((write.account, rkey), row);
        }
    }
    Ok(by_record)
}

/// How many records have no row: each needs a number.
pub fn without_row(writes: &[Write<'_>], before: &ByRecord<'_>) -> usize {
    let new = writes.iter().filter(|write| {
        write.record.is_some() && !before.contains_key(&(write.account, write.rkey.as_str()))
    });
    new.count()
}

/// What is written.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows of manifests; gone by number, with their children.
    pub rows: Rows,
    /// Rows of children.
    pub children: Vec<Row>,
    /// Manifests that a repository's holds gain: repository, hold, number.
    pub holds: Vec<Row>,
}

/// Brings the rows `before` to what `writes` say; new ones are numbered from `ids`.
pub fn plan(
    writes: &[Write<'_>],
    before: &ByRecord<'_>,
    touched: &mut Touched,
    mut ids: impl Iterator<Item = i64>,
    now: DateTime<Utc>,
) -> Plan {
    let mut plan = Plan::default();
    let mut holds: BTreeMap<(i64, String), i64> = BTreeMap::new();
    for write in writes {
        let old = before.get(&(write.account, write.rkey.as_str()));
        let fact = write.record.and_then(|record| match &record.fact {
            Fact::Manifest(fact) => Some((fact.as_ref(), cid_bytes(Some(&record.cid)))),
            _ => None,
        });
        if let (Some(old), Some((_, cid))) = (old, &fact)
            && old.cid == *cid
        {
            continue;
        }
        if let Some(old) = old {
            plan.rows.gone.push(row![old.id]);
            let totals = touched.totals(old.repository);
            totals.manifests -= 1;
            totals.referrers -= i64::from(old.is_referrer);
            if !old.hold.is_empty() {
                *holds.entry((old.repository, old.hold.clone())).or_default() -= 1;
            }
        }
        let Some((fact, cid)) = fact else {
            continue;
        };
        let Some(repository) = touched.repository(write.account, &fact.repository) else {
            continue;
        };
        let Some(id) = old.map(|old| old.id).or_else(|| ids.next()) else {
            continue;
        };
        let totals = touched.totals(repository);
        totals.manifests += 1;
        totals.referrers += i64::from(fact.subject.is_some());
        let hold = fact.hold.as_ref().map_or("", |hold| hold.as_str());
        if !hold.is_empty() {
            *holds.entry((repository, hold.to_owned())).or_default() += 1;
        }
        plan.rows.new.push(row_of(id, write, repository, fact, cid, now));
        plan.children.extend(child_rows(id, write.account, fact));
    }
    plan.holds = holds
        .into_iter()
        .filter(|(_, delta)| *delta != 0)
        .map(|((repository, hold), delta)| row![repository, hold, delta])
        .collect();
    plan
}

fn row_of(
    id: i64,
    write: &Write<'_>,
    repository: i64,
    fact: &ManifestFact,
    cid: Vec<u8>,
    now: DateTime<Utc>,
) -> Row {
    row![
        id,
        write.account,
        repository,
        digest_bytes(&fact.digest),
        odd_rkey(fact, write.rkey.as_str()),
        cid,
        cid_bytes(fact.blob.as_ref()),
        fact.size.map_or(-1, integer),
        &fact.media_type,
        &fact.artifact_type,
        fact.kind.code(),
        fact.hold.as_ref().map_or("", |hold| hold.as_str()),
        some_digest_bytes(fact.subject.as_ref()),
        some_digest_bytes(fact.config.as_ref()),
        fact.layers,
        integer(fact.content_size),
        // A map of strings always serialises.
        serde_json::to_string(&fact.annotations).unwrap_or_else(|_| "{}".to_owned()),
        micros(fact.claimed_at),
        seen_micros(fact.claimed_at, now)
    ]
}

fn child_rows(id: i64, account: i64, fact: &ManifestFact) -> impl Iterator<Item = Row> {
    fact.children.iter().enumerate().map(move |(position, child)| {
        let platform = child.platform.clone().unwrap_or_default();
        row![
            id,
            i64::try_from(position).unwrap_or(i64::MAX),
            account,
            digest_bytes(&child.digest),
            &child.media_type,
            integer(child.size),
            platform.os,
            platform.architecture,
            platform.variant,
            platform.os_version,
            child.is_attestation
        ]
    })
}
