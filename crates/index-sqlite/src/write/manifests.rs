//! Rows of manifests, their children, and which holds a repository's manifests name.

use std::collections::{BTreeMap, HashMap};

use atcr_atproto::lexicon::manifest as manifest_record;
use atcr_index::fact::{Fact, ManifestFact};
use serde_json::{Value, json};
use sqlx::FromRow;

use super::Context;
use crate::codec::{cid_hex, digest_hex, integer, micros, rows, seen_micros};
use atcr_index::plan::Write;

#[derive(FromRow)]
struct Row {
    id: i64,
    account: i64,
    repository: i64,
    digest: String,
    odd_rkey: String,
    cid: String,
    hold: String,
    is_referrer: bool,
}

/// The digest that follows from a key, in hexadecimal; `None` for a key of another form.
fn digest_of(rkey: &str) -> Option<String> {
    if rkey.contains('.') {
        return None;
    }
    let digest = manifest_record::digest_from_rkey(rkey)?.parse().ok()?;
    Some(digest_hex(Some(&digest)))
}

/// What is kept of a key beside the digest: nothing when it follows from it.
fn odd_rkey<'r>(fact: &ManifestFact, rkey: &'r str) -> &'r str {
    match manifest_record::rkey(fact.digest.as_str()) {
        Ok(derived) if derived.as_str() == rkey => "",
        _ => rkey,
    }
}

/// Brings the rows of the records to what `writes` say.
pub(super) async fn write(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    if writes.is_empty() {
        return Ok(());
    }
    let before = load(context, writes).await?;
    let mut next_id: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM manifest")
        .fetch_one(&mut *context.connection)
        .await?;
    let mut gone = Vec::new();
    let mut new = Vec::new();
    let mut children = Vec::new();
    let mut holds: BTreeMap<(i64, String), i64> = BTreeMap::new();
    for write in writes {
        let old = before.get(&(write.account, write.rkey.as_str()));
        let fact = write.record.and_then(|record| match &record.fact {
            Fact::Manifest(fact) => Some((fact.as_ref(), cid_hex(Some(&record.cid)))),
            _ => None,
        });
        if let (Some(old), Some((_, cid))) = (old, &fact)
            && old.cid == *cid
        {
            continue;
        }
        if let Some(old) = old {
            gone.push(Value::from(old.id));
            let totals = context.touched.totals(old.repository);
            totals.manifests -= 1;
            totals.referrers -= i64::from(old.is_referrer);
            if !old.hold.is_empty() {
                *holds.entry((old.repository, old.hold.clone())).or_default() -= 1;
            }
        }
        let Some((fact, cid)) = fact else {
            continue;
        };
        let Some(repository) = context.touched.repository(write.account, &fact.repository) else {
            continue;
        };
        let id = old.map_or_else(
            || {
                next_id += 1;
                next_id - 1
            },
            |old| old.id,
        );
        let totals = context.touched.totals(repository);
        totals.manifests += 1;
        totals.referrers += i64::from(fact.subject.is_some());
        let hold = fact.hold.as_ref().map_or("", |hold| hold.as_str());
        if !hold.is_empty() {
            *holds.entry((repository, hold.to_owned())).or_default() += 1;
        }
        new.push(row(id, write, repository, fact, &cid, context.now));
        children.extend(child_rows(id, write.account, fact));
    }
    context
        .set(
            "DELETE FROM child WHERE manifest IN (SELECT value FROM json_each(?))",
            &gone,
        )
        .await?;
    context
        .set(
            "DELETE FROM manifest WHERE id IN (SELECT value FROM json_each(?))",
            &gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO manifest (id, account, repository, digest, odd_rkey, cid, blob, size, media_type, artifact_type, kind, hold, \
                                   subject, config, layers, content_size, annotations, claimed_at, pushed_at) \
             SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, unhex(value ->> 5), unhex(value ->> 6), \
                    value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, unhex(value ->> 12), unhex(value ->> 13), \
                    value ->> 14, value ->> 15, value ->> 16, value ->> 17, value ->> 18 FROM json_each(?)",
            &new,
        )
        .await?;
    context
        .set(
            "INSERT INTO child (manifest, position, account, digest, media_type, size, os, architecture, variant, os_version, attestation) \
             SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
                    value ->> 8, value ->> 9, value ->> 10 FROM json_each(?)",
            &children,
        )
        .await?;
    write_holds(context, &holds).await
}

/// The rows that the records of `writes` have.
async fn load<'w>(
    context: &mut Context<'_>,
    writes: &'w [Write<'_>],
) -> Result<HashMap<(i64, &'w str), Row>, sqlx::Error> {
    let plain: Vec<Value> = writes
        .iter()
        .filter_map(|write| Some(json!([write.account, digest_of(write.rkey.as_str())?])))
        .collect();
    let all: Vec<Value> = writes
        .iter()
        .map(|write| json!([write.account, write.rkey.as_str()]))
        .collect();
    let found: Vec<Row> = sqlx::query_as(
        "SELECT m.id, m.account, m.repository, lower(hex(m.digest)) AS digest, m.odd_rkey, lower(hex(m.cid)) AS cid, m.hold, \
                m.subject <> x'' AS is_referrer \
         FROM json_each(?1) j CROSS JOIN manifest m \
           ON m.account = j.value ->> 0 AND m.digest = unhex(j.value ->> 1) AND m.odd_rkey = '' \
         UNION ALL \
         SELECT m.id, m.account, m.repository, lower(hex(m.digest)), m.odd_rkey, lower(hex(m.cid)), m.hold, m.subject <> x'' \
         FROM json_each(?2) j CROSS JOIN manifest m INDEXED BY manifest_by_odd_rkey \
           ON m.account = j.value ->> 0 AND m.odd_rkey = j.value ->> 1 AND m.odd_rkey <> ''",
    )
    .bind(rows(&plain))
    .bind(rows(&all))
    .fetch_all(&mut *context.connection)
    .await?;
    let mut plain: HashMap<(i64, String), Row> = HashMap::new();
    let mut odd: HashMap<(i64, String), Row> = HashMap::new();
    for row in found {
        if row.odd_rkey.is_empty() {
            plain.insert((row.account, row.digest.clone()), row);
        } else {
            odd.insert((row.account, row.odd_rkey.clone()), row);
        }
    }
    let mut by_key = HashMap::new();
    for write in writes {
        let rkey = write.rkey.as_str();
        let row = odd
            .remove(&(write.account, rkey.to_owned()))
            .or_else(|| digest_of(rkey).and_then(|digest| plain.remove(&(write.account, digest))));
        if let Some(row) = row {
            by_key.insert((write.account, rkey), row);
        }
    }
    Ok(by_key)
}

fn row(
    id: i64,
    write: &Write<'_>,
    repository: i64,
    fact: &ManifestFact,
    cid: &str,
    now: chrono::DateTime<chrono::Utc>,
) -> Value {
    json!([
        id,
        write.account,
        repository,
        digest_hex(Some(&fact.digest)),
        odd_rkey(fact, write.rkey.as_str()),
        cid,
        cid_hex(fact.blob.as_ref()),
        fact.size.map_or(-1, integer),
        fact.media_type,
        fact.artifact_type,
        fact.kind.code(),
        fact.hold.as_ref().map_or("", |hold| hold.as_str()),
        digest_hex(fact.subject.as_ref()),
        digest_hex(fact.config.as_ref()),
        fact.layers,
        integer(fact.content_size),
        // A map of strings always serialises.
        serde_json::to_string(&fact.annotations).unwrap_or_else(|_| "{}".to_owned()),
        micros(fact.claimed_at),
        seen_micros(fact.claimed_at, now)
    ])
}

fn child_rows(id: i64, account: i64, fact: &ManifestFact) -> impl Iterator<Item = Value> {
    fact.children.iter().enumerate().map(move |(position, child)| {
        let platform = child.platform.clone().unwrap_or_default();
        json!([
            id,
            position,
            account,
            digest_hex(Some(&child.digest)),
            child.media_type,
            integer(child.size),
            platform.os,
            platform.architecture,
            platform.variant,
            platform.os_version,
            i64::from(child.is_attestation)
        ])
    })
}

async fn write_holds(
    context: &mut Context<'_>,
    holds: &BTreeMap<(i64, String), i64>,
) -> Result<(), sqlx::Error> {
    let values: Vec<Value> = holds
        .iter()
        .filter(|(_, delta)| **delta != 0)
        .map(|((repository, hold), delta)| json!([repository, hold, delta]))
        .collect();
    context
        .set(
            "INSERT INTO repository_hold (repository, hold, manifests) \
             SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true \
             ON CONFLICT (repository, hold) DO UPDATE SET manifests = manifests + excluded.manifests",
            &values,
        )
        .await?;
    context
        .set(
            "DELETE FROM repository_hold WHERE manifests = 0 AND (repository, hold) IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            &values,
        )
        .await
}
