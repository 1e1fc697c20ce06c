//! Rows of tags. Of several records for one tag the one that claims to have been moved last says where the tag points.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atcr_atproto::lexicon::tag as tag_record;
use atcr_index::fact::Fact;
use atcr_index::version_order::{is_fallback, sort_key};
use serde_json::{Value, json};
use sqlx::FromRow;

use super::Context;
use crate::codec::{cid_hex, digest_hex, micros, rows, seen_micros};
use atcr_index::plan::Write;

#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
struct Row {
    repository: i64,
    name: String,
    odd_rkey: String,
    account: i64,
    cid: String,
    digest: String,
    claimed_at: i64,
    moved_at: i64,
    shown: i64,
}

impl Row {
    fn key(&self) -> Key {
        (self.repository, self.name.clone(), self.odd_rkey.clone())
    }

    /// What orders the records of one tag: the last one wins.
    fn rank(&self) -> (i64, &str, &str) {
        (self.claimed_at, &self.odd_rkey, &self.cid)
    }
}

/// What identifies a row.
type Key = (i64, String, String);

/// A tag: its repository's number and its name.
type Name = (i64, String);

const COLUMNS: &str = "t.repository, t.name, t.odd_rkey, t.account, lower(hex(t.cid)) AS cid, lower(hex(t.digest)) AS digest, \
                       t.claimed_at, t.moved_at, t.shown";

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
        let cid = cid_hex(Some(&record.cid));
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
            digest: digest_hex(fact.digest.as_ref()),
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
        let is_last = row.rank() == (last.0, last.1.as_str(), last.2.as_str());
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
    let splits: Vec<Value> = writes
        .iter()
        .flat_map(|write| {
            let rkey = write.rkey.as_str();
            rkey.match_indices('_').map(move |(at, _)| {
                json!([
                    write.account,
                    rkey[..at].replace('~', "/"),
                    rkey[at + 1..].replace('~', "/")
                ])
            })
        })
        .collect();
    let odd: Vec<Value> = writes
        .iter()
        .map(|write| json!([write.account, write.rkey.as_str()]))
        .collect();
    let statement = format!(
        "SELECT r.name AS repository_name, {COLUMNS} FROM json_each(?1) j \
         CROSS JOIN repository r ON r.account = j.value ->> 0 AND r.name = j.value ->> 1 \
         CROSS JOIN tag t ON t.repository = r.id AND t.name = j.value ->> 2 AND t.odd_rkey = '' \
         UNION ALL \
         SELECT r.name, {COLUMNS} FROM json_each(?2) j \
         CROSS JOIN tag t INDEXED BY tag_by_odd_rkey \
           ON t.account = j.value ->> 0 AND t.odd_rkey = j.value ->> 1 AND t.odd_rkey <> '' \
         CROSS JOIN repository r ON r.id = t.repository"
    );
    let found: Vec<RowOfKey> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(rows(&splits))
        .bind(rows(&odd))
        .fetch_all(&mut *context.connection)
        .await?;
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
    let names: Vec<Value> = names
        .iter()
        .map(|(repository, name)| json!([repository, name]))
        .collect();
    let statement = format!(
        "SELECT {COLUMNS} FROM json_each(?) j CROSS JOIN tag t ON t.repository = j.value ->> 0 AND t.name = j.value ->> 1"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(rows(&names))
        .fetch_all(&mut *context.connection)
        .await
}

async fn save(context: &mut Context<'_>, before: &[Row], after: &[Row]) -> Result<(), sqlx::Error> {
    let kept: BTreeMap<_, _> = after.iter().map(|row| (row.key(), row)).collect();
    let known: BTreeMap<_, _> = before.iter().map(|row| (row.key(), row)).collect();
    let gone: Vec<Value> = known
        .keys()
        .filter(|key| !kept.contains_key(*key))
        .map(|(repository, name, rkey)| json!([repository, name, rkey]))
        .collect();
    let new: Vec<Value> = kept
        .iter()
        .filter(|(key, row)| known.get(*key) != Some(*row))
        .map(|(_, row)| {
            json!([
                row.repository,
                row.name,
                row.odd_rkey,
                row.account,
                row.cid,
                row.digest,
                row.claimed_at,
                row.moved_at,
                row.shown,
                sort_key(&row.name)
            ])
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
            "DELETE FROM tag WHERE (repository, name, odd_rkey) IN \
             (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
            &gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO tag (repository, name, odd_rkey, account, cid, digest, claimed_at, moved_at, shown, version) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), unhex(value ->> 5), value ->> 6, value ->> 7, \
                    value ->> 8, value ->> 9 FROM json_each(?) WHERE true \
             ON CONFLICT (repository, name, odd_rkey) DO UPDATE SET cid = excluded.cid, digest = excluded.digest, \
                 claimed_at = excluded.claimed_at, moved_at = excluded.moved_at, shown = excluded.shown",
            &new,
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
    let targets = |rows: &[Row]| -> BTreeMap<Name, String> {
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
            moves.push(json!([
                name.0,
                name.1,
                from.map_or("", String::as_str),
                to.map_or("", String::as_str),
                micros(context.now),
                rev
            ]));
        }
    }
    context
        .set(
            "INSERT INTO tag_move (repository, tag, digest_before, digest_after, at, rev) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5 FROM json_each(?)",
            &moves,
        )
        .await?;
    // The last 100 moves of each tag are kept.
    let moved = names.iter();
    let moved: Vec<Value> = moved
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|(repository, tag)| json!([repository, tag]))
        .collect();
    context
        .set(
            "DELETE FROM tag_move WHERE id IN ( \
                 SELECT (SELECT m.id FROM tag_move m WHERE m.repository = j.value ->> 0 AND m.tag = j.value ->> 1 \
                         ORDER BY m.id DESC LIMIT 1 OFFSET 100) \
                 FROM json_each(?) j)",
            &moved,
        )
        .await
}
