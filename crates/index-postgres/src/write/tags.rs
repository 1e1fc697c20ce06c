//! Rows of tags. Of several records for one tag the one that claims to have been moved last says where the tag points.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atcr_atproto::lexicon::tag as tag_record;
use atcr_index::fact::Fact;
use atcr_index::row;
use atcr_index::version_order::{is_fallback, sort_key};
use sqlx::FromRow;

use super::Context;
use crate::codec::{cid_bytes, micros, seen_micros, some_digest_bytes};
use atcr_index::plan::Write;

#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
struct Row {
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

impl Row {
    fn key(&self) -> Key {
        (self.repository, self.name.clone(), self.odd_rkey.clone())
    }

    /// What orders the records of one tag: the last one wins.
    fn rank(&self) -> (i64, &str, &[u8]) {
        (self.claimed_at, &self.odd_rkey, &self.cid)
    }
}

/// What identifies a row.
type Key = (i64, String, String);

/// A tag: its repository's number and its name.
type Name = (i64, String);

const COLUMNS: &str =
    "t.repository, t.name, t.odd_rkey, t.account, t.cid, t.digest, t.claimed_at, t.moved_at, t.shown";

/// Brings the rows of the records to what `writes` say, and notes the moves.
pub(super) async fn write(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    if writes.is_empty() {
        return Ok(());
    }
    let replaced = load_by_key(context, writes).await?;
    let mut names: BTreeSet<Name> = replaced
        .values()
        .map(|row| (row.repository, row.name.clone()))
        .collect();
    let gone: BTreeSet<Key> = replaced.values().map(Row::key).collect();
    let mut put = Vec::new();
    let mut cause: BTreeMap<Name, (&str, bool)> = BTreeMap::new();
    for write in writes {
        let old = replaced.get(&(write.account, write.rkey.as_str().to_owned()));
        if let Some(old) = old {
            cause.insert((old.repository, old.name.clone()), (write.rev, write.is_first));
        }
        let Some(record) = write.record else {
            continue;
        };
        let Fact::Tag(fact) = &record.fact else {
            continue;
        };
        let Some(repository) = context.touched.repository(write.account, &fact.repository) else {
            continue;
        };
        let name = (repository, fact.tag.as_str().to_owned());
        cause.insert(name.clone(), (write.rev, write.is_first));
        names.insert(name.clone());
        let rkey = write.rkey.as_str();
        let is_derived = tag_record::rkey(&fact.repository, fact.tag.as_str())
            .is_ok_and(|derived| derived.as_str() == rkey);
        let cid = cid_bytes(Some(&record.cid));
        // A record that is written again as it was keeps the time at which it was seen.
        let moved_at = old
            .filter(|old| old.cid == cid)
            .map_or_else(|| seen_micros(fact.claimed_at, context.now), |old| old.moved_at);
        put.push(Row {
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
    let before = load_by_name(context, &names).await?;
    let mut after: BTreeMap<Name, Vec<Row>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    for row in before
        .iter()
        .filter(|row| !gone.contains(&row.key()))
        .cloned()
        .chain(put)
    {
        after
            .entry((row.repository, row.name.clone()))
            .or_default()
            .push(row);
    }
    for rows in after.values_mut() {
        show_last(rows);
    }
    let after: Vec<Row> = after.into_values().flatten().collect();
    save(context, &before, &after).await?;
    note_moves(context, &names, &cause, &before, &after).await
}

/// Marks the record that says where the tag points.
fn show_last(rows: &mut [Row]) {
    let Some(last) = rows
        .iter()
        .map(Row::rank)
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

/// The rows of the records, by account and record key. A key that follows from repository and tag may be read in several ways, where it has several underscores.
async fn load_by_key(
    context: &mut Context<'_>,
    writes: &[Write<'_>],
) -> Result<HashMap<(i64, String), Row>, sqlx::Error> {
    let splits = writes
        .iter()
        .flat_map(|write| {
            let rkey = write.rkey.as_str();
            rkey.match_indices('_').map(move |(at, _)| {
                row![
                    write.account,
                    rkey[..at].replace('~', "/"),
                    rkey[at + 1..].replace('~', "/")
                ]
            })
        })
        .collect();
    let odd = writes
        .iter()
        .map(|write| row![write.account, write.rkey.as_str()])
        .collect();
    let mut found: Vec<RowOfKey> = context
        .found(
            &format!(
                "SELECT r.name AS repository_name, {COLUMNS} \
                 FROM unnest($1::bigint[], $2::text[], $3::text[]) AS j(account, repository, tag) \
                 JOIN repository r ON r.account = j.account AND r.name = j.repository \
                 JOIN tag t ON t.repository = r.id AND t.name = j.tag AND t.odd_rkey = ''"
            ),
            splits,
        )
        .await?;
    let odd: Vec<RowOfKey> = context
        .found(
            &format!(
                "SELECT r.name AS repository_name, {COLUMNS} FROM unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
                 JOIN tag t ON t.account = j.account AND t.odd_rkey = j.rkey AND t.odd_rkey <> '' \
                 JOIN repository r ON r.id = t.repository"
            ),
            odd,
        )
        .await?;
    found.extend(odd);
    let mut by_key = HashMap::new();
    for RowOfKey { repository_name, row } in found {
        let rkey = if row.odd_rkey.is_empty() {
            tag_record::rkey(&repository_name, &row.name)
                .map(String::from)
                .unwrap_or_default()
        } else {
            row.odd_rkey.clone()
        };
        by_key.insert((row.account, rkey), row);
    }
    Ok(by_key)
}

#[derive(FromRow)]
struct RowOfKey {
    repository_name: String,
    #[sqlx(flatten)]
    row: Row,
}

async fn load_by_name(context: &mut Context<'_>, names: &BTreeSet<Name>) -> Result<Vec<Row>, sqlx::Error> {
    let names = names
        .iter()
        .map(|(repository, name)| row![*repository, name])
        .collect();
    context
        .found(
            &format!(
                "SELECT {COLUMNS} FROM unnest($1::bigint[], $2::text[]) AS j(repository, name) \
                 JOIN tag t ON t.repository = j.repository AND t.name = j.name"
            ),
            names,
        )
        .await
}

async fn save(context: &mut Context<'_>, before: &[Row], after: &[Row]) -> Result<(), sqlx::Error> {
    let kept: BTreeMap<_, _> = after.iter().map(|row| (row.key(), row)).collect();
    let known: BTreeMap<_, _> = before.iter().map(|row| (row.key(), row)).collect();
    let gone: Vec<row::Row> = known
        .keys()
        .filter(|key| !kept.contains_key(*key))
        .map(|(repository, name, rkey)| row![*repository, name, rkey])
        .collect();
    let new: Vec<row::Row> = kept
        .iter()
        .filter(|(key, row)| known.get(*key) != Some(*row))
        .map(|(_, row)| {
            row![
                row.repository,
                &row.name,
                &row.odd_rkey,
                row.account,
                &row.cid,
                &row.digest,
                row.claimed_at,
                row.moved_at,
                row.shown,
                sort_key(&row.name)
            ]
        })
        .collect();
    for (rows, sign) in [(before, -1), (after, 1)] {
        for row in rows {
            let totals = context.touched.totals(row.repository);
            totals.tags += sign * i64::from(row.shown == 1);
            totals.fallback_tags += sign * i64::from(row.shown == 2);
        }
    }
    context
        .set(
            "DELETE FROM tag t USING unnest($1::bigint[], $2::text[], $3::text[]) AS j(repository, name, odd_rkey) \
             WHERE t.repository = j.repository AND t.name = j.name AND t.odd_rkey = j.odd_rkey",
            gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO tag (repository, name, odd_rkey, account, cid, digest, claimed_at, moved_at, shown, version) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bigint[], \
                                  $9::bigint[], $10::text[]) \
             ON CONFLICT (repository, name, odd_rkey) DO UPDATE SET cid = excluded.cid, digest = excluded.digest, \
                 claimed_at = excluded.claimed_at, moved_at = excluded.moved_at, shown = excluded.shown",
            new,
        )
        .await
}

/// Notes where each tag points that points elsewhere than before. The first listing of an account is no move.
async fn note_moves(
    context: &mut Context<'_>,
    names: &BTreeSet<Name>,
    cause: &BTreeMap<Name, (&str, bool)>,
    before: &[Row],
    after: &[Row],
) -> Result<(), sqlx::Error> {
    let targets = |rows: &[Row]| -> BTreeMap<Name, Vec<u8>> {
        rows.iter()
            .filter(|row| row.shown == 1)
            .map(|row| ((row.repository, row.name.clone()), row.digest.clone()))
            .collect()
    };
    let (old, new) = (targets(before), targets(after));
    let mut moves = Vec::new();
    for name in names {
        let (from, to) = (old.get(name), new.get(name));
        let (rev, is_first) = cause.get(name).copied().unwrap_or(("", false));
        if from != to && !is_first {
            moves.push(row![
                name.0,
                &name.1,
                from.cloned().unwrap_or_default(),
                to.cloned().unwrap_or_default(),
                micros(context.now),
                rev
            ]);
        }
    }
    context
        .set(
            "INSERT INTO tag_move (repository, tag, digest_before, digest_after, at, rev) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[], $6::text[])",
            moves,
        )
        .await?;
    // The last 100 moves of each tag are kept.
    let moved = names.iter();
    let moved = moved
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|(repository, tag)| row![*repository, tag])
        .collect();
    context
        .set(
            "DELETE FROM tag_move WHERE id IN ( \
                 SELECT (SELECT m.id FROM tag_move m WHERE m.repository = j.repository AND m.tag = j.tag \
                         ORDER BY m.id DESC LIMIT 1 OFFSET 100) \
                 FROM unnest($1::bigint[], $2::text[]) AS j(repository, tag))",
            moved,
        )
        .await
}
