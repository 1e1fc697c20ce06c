//! Rows that only their own records decide: pages, profiles, and what holds say. Each record's row is replaced.

use atcr_index::Collection;
use atcr_index::fact::{Fact, StatsFact};
use serde_json::{Value, json};

use super::{Context, or_zero};
use crate::codec::{capped_sum, cid_hex, digest_hex, integer, micros, rows, seen_micros};
use atcr_index::plan::{Write, Writes, of};

/// The most that is carried, so that a hold that begins anew again and again leaves room for sums.
const MOST_CARRIED: i64 = 1 << 55;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Brings the rows of the records to what `writes` say.
pub(super) async fn write(context: &mut Context<'_>, writes: &Writes<'_>) -> Result<(), sqlx::Error> {
    write_pages(context, of(writes, Collection::RepoPage)).await?;
    write_stats(context, of(writes, Collection::Stats)).await?;
    let plain = [
        (Collection::Profile, DELETE_PROFILE, INSERT_PROFILE),
        (Collection::Captain, DELETE_CAPTAIN, INSERT_CAPTAIN),
        (Collection::Crew, DELETE_CREW, INSERT_CREW),
        (Collection::Scan, DELETE_SCAN, INSERT_SCAN),
    ];
    for (collection, delete, insert) in plain {
        let writes = of(writes, collection);
        context.set(delete, &keys(writes)).await?;
        let new: Vec<Value> = writes.iter().filter_map(row).collect();
        context.set(insert, &new).await?;
    }
    Ok(())
}

const DELETE_PROFILE: &str =
    "DELETE FROM profile WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
const INSERT_PROFILE: &str = "INSERT INTO profile (account, rkey, cid, default_hold, auto_remove_untagged) \
     SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4 FROM json_each(?)";
const DELETE_CAPTAIN: &str =
    "DELETE FROM captain WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
const INSERT_CAPTAIN: &str = "INSERT INTO captain (account, rkey, cid, owner, is_public, allow_all_crew, region, successor, deployed_at) \
     SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
            value ->> 8 FROM json_each(?)";
const DELETE_CREW: &str =
    "DELETE FROM crew WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
const INSERT_CREW: &str = "INSERT INTO crew (account, rkey, cid, member, role, permissions, tier, added_at) \
     SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7 \
     FROM json_each(?)";
const DELETE_SCAN: &str =
    "DELETE FROM scan WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
const INSERT_SCAN: &str = "INSERT INTO scan (account, rkey, cid, owner, digest, critical, high, medium, low, total, scanner, \
                       scanned_at, sbom, report) \
     SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, unhex(value ->> 4), value ->> 5, value ->> 6, value ->> 7, \
            value ->> 8, value ->> 9, value ->> 10, value ->> 11, unhex(value ->> 12), unhex(value ->> 13) FROM json_each(?)";

fn keys(writes: &[Write<'_>]) -> Vec<Value> {
    writes
        .iter()
        .map(|write| json!([write.account, write.rkey.as_str()]))
        .collect()
}

fn row(write: &Write<'_>) -> Option<Value> {
    let record = write.record?;
    let (account, rkey, cid) = (write.account, write.rkey.as_str(), cid_hex(Some(&record.cid)));
    match &record.fact {
        Fact::Profile(fact) => Some(json!([
            account,
            rkey,
            cid,
            fact.default_hold.as_ref().map_or("", |hold| hold.as_str()),
            i64::from(fact.auto_remove_untagged)
        ])),
        Fact::Captain(fact) => Some(json!([
            account,
            rkey,
            cid,
            fact.owner.as_str(),
            i64::from(fact.is_public),
            i64::from(fact.allow_all_crew),
            fact.region,
            fact.successor.as_ref().map_or("", |successor| successor.as_str()),
            micros(fact.deployed_at)
        ])),
        Fact::Crew(fact) => Some(json!([
            account,
            rkey,
            cid,
            fact.member.as_str(),
            fact.role,
            // A list of texts always serialises.
            serde_json::to_string(&fact.permissions).unwrap_or_else(|_| "[]".to_owned()),
            fact.tier,
            micros(fact.added_at)
        ])),
        Fact::Scan(fact) => Some(json!([
            account,
            rkey,
            cid,
            fact.owner.as_str(),
            digest_hex(Some(&fact.digest)),
            fact.severities.critical,
            fact.severities.high,
            fact.severities.medium,
            fact.severities.low,
            fact.severities.total,
            fact.scanner,
            micros(fact.scanned_at),
            cid_hex(fact.sbom.as_ref()),
            cid_hex(fact.report.as_ref())
        ])),
        Fact::Manifest(_)
        | Fact::Tag(_)
        | Fact::Page(_)
        | Fact::Star(_)
        | Fact::Stats(_)
        | Fact::Unusable => None,
    }
}

async fn write_pages(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    let keys = keys(writes);
    context
        .set(
            "DELETE FROM page WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            &keys,
        )
        .await?;
    let new: Vec<Value> = writes
        .iter()
        .filter_map(|write| {
            let record = write.record?;
            let Fact::Page(fact) = &record.fact else {
                return None;
            };
            let (picture, picture_type) = fact
                .avatar
                .as_ref()
                .map_or((String::new(), ""), |(cid, kind)| (cid_hex(Some(cid)), kind));
            Some(json!([
                write.account,
                write.rkey.as_str(),
                cid_hex(Some(&record.cid)),
                fact.repository,
                fact.description,
                fact.summary,
                picture,
                picture_type,
                seen_micros(fact.updated_at, context.now)
            ]))
        })
        .collect();
    context
        .set(
            "INSERT INTO page (account, rkey, cid, repository, description, summary, picture, picture_type, updated_at) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, unhex(value ->> 6), \
                    value ->> 7, value ->> 8 FROM json_each(?)",
            &new,
        )
        .await?;
    let touched: Vec<i64> = sqlx::query_scalar(
        "SELECT r.id FROM json_each(?) j CROSS JOIN repository r \
           ON r.account = j.value ->> 0 AND r.name = replace(j.value ->> 1, '~', '/')",
    )
    .bind(rows(&keys))
    .fetch_all(&mut *context.connection)
    .await?;
    for repository in touched {
        context.touched.totals(repository);
    }
    Ok(())
}

/// A hold's count as it was: (account, rkey, cid, owner, repository, pulls, pushes, carried pulls, carried pushes).
type OldStats = (i64, String, String, String, String, i64, i64, i64, i64);

/// A hold's counts. Its number is the truth; a smaller one than before means that the hold began anew, and what it had is carried.
async fn write_stats(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    if writes.is_empty() {
        return Ok(());
    }
    let keys = keys(writes);
    let before: Vec<OldStats> = sqlx::query_as(
        "SELECT s.account, s.rkey, lower(hex(s.cid)), s.owner, s.repository, s.pulls, s.pushes, s.carried_pulls, s.carried_pushes \
         FROM json_each(?) j CROSS JOIN stats s ON s.account = j.value ->> 0 AND s.rkey = j.value ->> 1",
    )
    .bind(rows(&keys))
    .fetch_all(&mut *context.connection)
    .await?;
    context
        .set(
            "DELETE FROM stats WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            &keys,
        )
        .await?;
    let mut new = Vec::new();
    let mut pulled = Vec::new();
    let mut subjects: Vec<Value> = before.iter().map(|old| json!([old.3, old.4])).collect();
    for write in writes {
        let Some(record) = write.record else { continue };
        let Fact::Stats(fact) = &record.fact else { continue };
        let old = before
            .iter()
            .find(|old| (old.0, old.1.as_str()) == (write.account, write.rkey.as_str()));
        let (pulls, pushes) = (integer(fact.pulls), integer(fact.pushes));
        let carried = old.map_or((0, 0), |old| {
            let anew = |old: i64, new: i64, carried: i64| {
                if new < old {
                    carried.saturating_add(old).min(MOST_CARRIED)
                } else {
                    carried
                }
            };
            (anew(old.5, pulls, old.7), anew(old.6, pushes, old.8))
        });
        if let Some(old) = old
            && old.2 != cid_hex(Some(&record.cid))
        {
            let counted = if pulls < old.5 { pulls } else { pulls - old.5 };
            pulled.push(json!([
                fact.owner.as_str(),
                fact.repository,
                write.account,
                day(fact, context),
                counted
            ]));
        }
        subjects.push(json!([fact.owner.as_str(), fact.repository]));
        new.push(json!([
            write.account,
            write.rkey.as_str(),
            cid_hex(Some(&record.cid)),
            fact.owner.as_str(),
            fact.repository,
            pulls,
            pushes,
            carried.0,
            carried.1,
            or_zero(fact.last_pull.map(|at| at.min(context.now))),
            micros(fact.updated_at)
        ]));
    }
    context
        .set(
            "INSERT INTO stats (account, rkey, cid, owner, repository, pulls, pushes, carried_pulls, carried_pushes, last_pull, updated_at) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
                    value ->> 8, value ->> 9, value ->> 10 FROM json_each(?)",
            &new,
        )
        .await?;
    // A hold's word counts for repositories whose manifests name it.
    context
        .set(
            concat!(
                "INSERT INTO pull_day (repository, day, pulls) SELECT r.id, j.value ->> 3, ",
                capped_sum!("j.value ->> 4"),
                " FROM json_each(?) j \
             CROSS JOIN account o ON o.did = j.value ->> 0 \
             CROSS JOIN repository r ON r.account = o.id AND r.name = j.value ->> 1 \
             CROSS JOIN account h ON h.id = j.value ->> 2 \
             CROSS JOIN repository_hold n ON n.repository = r.id AND n.hold = h.did \
             WHERE j.value ->> 4 > 0 GROUP BY r.id, j.value ->> 3 \
             ON CONFLICT (repository, day) DO UPDATE SET pulls = min(pulls + excluded.pulls, 1 << 62)"
            ),
            &pulled,
        )
        .await?;
    let touched: Vec<i64> = sqlx::query_scalar(
        "SELECT r.id FROM json_each(?) j CROSS JOIN account a ON a.did = j.value ->> 0 \
         CROSS JOIN repository r ON r.account = a.id AND r.name = j.value ->> 1",
    )
    .bind(rows(&subjects))
    .fetch_all(&mut *context.connection)
    .await?;
    for repository in touched {
        context.touched.totals(repository);
    }
    Ok(())
}

/// The day of the last pull, in days since 1970.
fn day(fact: &StatsFact, context: &Context<'_>) -> i64 {
    seen_micros(fact.last_pull.unwrap_or(fact.updated_at), context.now).div_euclid(DAY)
}
