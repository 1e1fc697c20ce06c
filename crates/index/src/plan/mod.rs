//! What a batch changes in the tables: from the rows that are there and the records that come, the rows that go, those that are written,
//! and what the totals of repositories gain and lose.

pub mod cards;
pub mod holds;
pub mod manifests;
pub mod stars;
pub mod tags;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atcr_atproto::syntax::RecordKey;

use crate::Collection;
use crate::change::Change;
use crate::fact::{Fact, RecordFact};
use crate::judge::{Accepted, Accounts};
use crate::row;
use crate::row::Row;
use crate::stored::{cid_bytes, collection_code};

/// What a change is to the tables.
#[derive(Clone, Copy, Debug)]
pub struct Write<'b> {
    /// Whose record.
    pub account: i64,
    /// The account's revision that brought it.
    pub rev: &'b str,
    /// The account had never been listed before: its tags have no history yet.
    pub is_first: bool,
    /// Its key.
    pub rkey: &'b RecordKey,
    /// The record; `None` when it is gone or cannot be used.
    pub record: Option<&'b RecordFact>,
}

/// The writes of a batch, the last one for each record, by collection.
pub type Writes<'b> = BTreeMap<Collection, Vec<Write<'b>>>;

/// The writes of one collection.
pub fn of<'w, 'b>(writes: &'w Writes<'b>, collection: Collection) -> &'w [Write<'b>] {
    writes.get(&collection).map_or(&[], Vec::as_slice)
}

/// The writes of the steps.
pub fn gathered<'b>(accepted: &[Accepted<'b>]) -> Writes<'b> {
    let mut last: BTreeMap<(Collection, i64, &RecordKey), Write<'b>> = BTreeMap::new();
    for step in accepted {
        for change in step.changes {
            let (collection, rkey) = change.record();
            let record = match change {
                Change::Put(record) if record.fact != Fact::Unusable => Some(record),
                Change::Put(_) | Change::Delete { .. } => None,
            };
            let write = Write {
                account: step.account,
                rev: step.rev,
                is_first: step.is_first,
                rkey,
                record,
            };
            last.insert((collection, step.account, rkey), write);
        }
    }
    let mut writes = Writes::new();
    for ((collection, ..), write) in last {
        writes.entry(collection).or_default().push(write);
    }
    writes
}

/// Rows that are taken out, by their keys, and rows that are written.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Keys of those that are taken out.
    pub gone: Vec<Row>,
    /// Those that are written, with all their columns.
    pub new: Vec<Row>,
}

/// Records that cannot be used are remembered, and those that were are forgotten: (account, collection, key), and the CID.
pub fn unusable(accepted: &[Accepted<'_>]) -> Rows {
    let mut last: BTreeMap<(i64, i64, &str), Option<Vec<u8>>> = BTreeMap::new();
    for step in accepted {
        for change in step.changes {
            let (collection, rkey) = change.record();
            let cid = match change {
                Change::Put(record) if record.fact == Fact::Unusable => Some(cid_bytes(Some(&record.cid))),
                Change::Put(_) | Change::Delete { .. } => None,
            };
            last.insert((step.account, collection_code(collection), rkey.as_str()), cid);
        }
    }
    let mut rows = Rows::default();
    for ((account, collection, rkey), cid) in last {
        match cid {
            Some(cid) => rows.new.push(row![account, collection, rkey, cid]),
            None => rows.gone.push(row![account, collection, rkey]),
        }
    }
    rows
}

/// The keys of the records that `writes` are about: account and key.
pub fn keys(writes: &[Write<'_>]) -> Vec<Row> {
    writes
        .iter()
        .map(|write| row![write.account, write.rkey.as_str()])
        .collect()
}

/// What a batch adds to a repository's totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tags, without fallback tags.
    pub tags: i64,
    /// Fallback tags.
    pub fallback_tags: i64,
    /// Manifest records.
    pub manifests: i64,
    /// Manifests with a subject.
    pub referrers: i64,
    /// Stars of visible accounts.
    pub stars: i64,
}

/// The repositories that a batch touches.
#[derive(Debug, Default)]
pub struct Touched {
    ids: HashMap<(i64, String), i64>,
    totals: BTreeMap<i64, Totals>,
}

impl Touched {
    /// The number of an account's repository that a record of the batch names.
    pub fn repository(&self, account: i64, name: &str) -> Option<i64> {
        self.ids.get(&(account, name.to_owned())).copied()
    }

    /// The numbers of the repositories that records name, as they were found: number, account, name.
    pub fn found(&mut self, repositories: Vec<(i64, i64, String)>) {
        for (id, account, name) in repositories {
            self.ids.insert((account, name), id);
        }
    }

    /// What the batch adds to the repository's totals; it is touched from now on.
    pub fn totals(&mut self, repository: i64) -> &mut Totals {
        self.totals.entry(repository).or_default()
    }

    /// No repository is touched.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// The repositories that are touched.
    pub fn repositories(&self) -> impl Iterator<Item = i64> {
        self.totals.keys().copied()
    }

    /// What the totals gain: number, tags, fallback tags, manifests, referrers, stars.
    pub fn gains(&self) -> Vec<Row> {
        let changed = self
            .totals
            .iter()
            .filter(|(_, totals)| **totals != Totals::default());
        changed
            .map(|(id, totals)| {
                row![
                    *id,
                    totals.tags,
                    totals.fallback_tags,
                    totals.manifests,
                    totals.referrers,
                    totals.stars
                ]
            })
            .collect()
    }
}

/// The repositories that manifests and tags name: account, name, the account's DID.
pub fn named(writes: &Writes<'_>, accounts: &Accounts) -> Vec<Row> {
    let mut names: BTreeSet<(i64, &str)> = BTreeSet::new();
    for write in of(writes, Collection::Manifest)
        .iter()
        .chain(of(writes, Collection::Tag))
    {
        let name = match write.record.map(|record| &record.fact) {
            Some(Fact::Manifest(fact)) => &fact.repository,
            Some(Fact::Tag(fact)) => &fact.repository,
            _ => continue,
        };
        names.insert((write.account, name));
    }
    names
        .into_iter()
        .map(|(account, name)| row![account, name, accounts.did(account)])
        .collect()
}
