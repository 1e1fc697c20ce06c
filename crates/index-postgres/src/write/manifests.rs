//! Rows of manifests, their children, and which holds a repository's manifests name.

use std::collections::{BTreeMap, HashMap};

use atcr_atproto::lexicon::manifest as manifest_record;
use atcr_index::fact::{Fact, ManifestFact};
use atcr_index::row;
use sqlx::FromRow;

use super::Context;
use crate::codec::{cid_bytes, digest_bytes, integer, micros, seen_micros, some_digest_bytes};
use atcr_index::plan::Write;

#[derive(FromRow)]
struct Known {
    id: i64,
    account: i64,
    repository: i64,
    digest: Vec<u8>,
    odd_rkey: String,
    cid: Vec<u8>,
    hold: String,
    is_referrer: bool,
}

/// The digest that follows from a key; `None` for a key of another form.
fn digest_of(rkey: &str) -> Option<Vec<u8>> {
    if rkey.contains('.') {
        return None;
    }
    let digest = manifest_record::digest_from_rkey(rkey)?.parse().ok()?;
    Some(digest_bytes(&digest))
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
    let new_ids = writes.iter().filter(|write| {
        write.record.is_some() && !before.contains_key(&(write.account, write.rkey.as_str()))
    });
    let mut new_ids = numbers(context, new_ids.count()).await?.into_iter();
    let mut gone = Vec::new();
    let mut new = Vec::new();
    let mut children = Vec::new();
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
            gone.push(row![old.id]);
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
        let Some(id) = old.map(|old| old.id).or_else(|| new_ids.next()) else {
            continue;
        };
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
            "DELETE FROM child c USING unnest($1::bigint[]) AS j(id) WHERE c.manifest = j.id",
            gone.clone(),
        )
        .await?;
    context
        .set(
            "DELETE FROM manifest m USING unnest($1::bigint[]) AS j(id) WHERE m.id = j.id",
            gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO manifest (id, account, repository, digest, odd_rkey, cid, blob, size, media_type, artifact_type, kind, hold, \
                                   subject, config, layers, content_size, annotations, claimed_at, pushed_at) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::bytea[], $7::bytea[], \
                                  $8::bigint[], $9::text[], $10::text[], $11::bigint[], $12::text[], $13::bytea[], $14::bytea[], \
                                  $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[])",
            new,
        )
        .await?;
    context
        .set(
            "INSERT INTO child (manifest, position, account, digest, media_type, size, os, architecture, variant, os_version, attestation) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::bigint[], $7::text[], $8::text[], \
                                  $9::text[], $10::text[], $11::boolean[])",
            children,
        )
        .await?;
    write_holds(context, &holds).await
}

/// Numbers for new rows, growing.
async fn numbers(context: &mut Context<'_>, count: usize) -> Result<Vec<i64>, sqlx::Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT nextval('manifest_id') FROM generate_series(1, $1)")
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .fetch_all(&mut *context.connection)
        .await
}

/// The rows that the records of `writes` have.
async fn load<'w>(
    context: &mut Context<'_>,
    writes: &'w [Write<'_>],
) -> Result<HashMap<(i64, &'w str), Known>, sqlx::Error> {
    let plain = writes
        .iter()
        .filter_map(|write| Some(row![write.account, digest_of(write.rkey.as_str())?]))
        .collect();
    let all = writes
        .iter()
        .map(|write| row![write.account, write.rkey.as_str()])
        .collect();
    let mut found: Vec<Known> = context
        .found(
            "SELECT m.id, m.account, m.repository, m.digest, m.odd_rkey, m.cid, m.hold, m.subject <> ''::bytea AS is_referrer \
             FROM unnest($1::bigint[], $2::bytea[]) AS j(account, digest) \
             JOIN manifest m ON m.account = j.account AND m.digest = j.digest AND m.odd_rkey = ''",
            plain,
        )
        .await?;
    let odd: Vec<Known> = context
        .found(
            "SELECT m.id, m.account, m.repository, m.digest, m.odd_rkey, m.cid, m.hold, m.subject <> ''::bytea AS is_referrer \
             FROM unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             JOIN manifest m ON m.account = j.account AND m.odd_rkey = j.rkey AND m.odd_rkey <> ''",
            all,
        )
        .await?;
    found.extend(odd);
    let mut plain: HashMap<(i64, Vec<u8>), Known> = HashMap::new();
    let mut odd: HashMap<(i64, String), Known> = HashMap::new();
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
    cid: &[u8],
    now: chrono::DateTime<chrono::Utc>,
) -> row::Row {
    row![
        id,
        write.account,
        repository,
        digest_bytes(&fact.digest),
        odd_rkey(fact, write.rkey.as_str()),
        cid.to_vec(),
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

fn child_rows(id: i64, account: i64, fact: &ManifestFact) -> impl Iterator<Item = row::Row> {
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

async fn write_holds(
    context: &mut Context<'_>,
    holds: &BTreeMap<(i64, String), i64>,
) -> Result<(), sqlx::Error> {
    let values: Vec<row::Row> = holds
        .iter()
        .filter(|(_, delta)| **delta != 0)
        .map(|((repository, hold), delta)| row![*repository, hold, *delta])
        .collect();
    context
        .set(
            "INSERT INTO repository_hold (repository, hold, manifests) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[]) \
             ON CONFLICT (repository, hold) DO UPDATE SET manifests = repository_hold.manifests + excluded.manifests",
            values.clone(),
        )
        .await?;
    context
        .set(
            "DELETE FROM repository_hold h USING unnest($1::bigint[], $2::text[], $3::bigint[]) AS j(repository, hold, delta) \
             WHERE h.repository = j.repository AND h.hold = j.hold AND h.manifests = 0",
            values,
        )
        .await
}
