//! Statements for rows that only their own records decide. `atcr_index::plan::holds` decides what is in them.

use atcr_index::Collection;
use atcr_index::plan::holds::{COUNTED, page_rows, row_of, stats};
use atcr_index::plan::{Write, Writes, keys, of};

use super::Context;
use crate::rows::decoded;
use crate::sums::capped_sum;

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
        context.set(delete, keys(writes)).await?;
        context
            .set(insert, writes.iter().filter_map(row_of).collect())
            .await?;
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

async fn write_pages(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    context
        .set(
            "DELETE FROM page WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            keys(writes),
        )
        .await?;
    let new = page_rows(writes, context.now);
    context
        .set(
            "INSERT INTO page (account, rkey, cid, repository, description, summary, picture, picture_type, updated_at) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, unhex(value ->> 6), \
                    value ->> 7, value ->> 8 FROM json_each(?)",
            new,
        )
        .await?;
    context
        .touch(
            "SELECT r.id FROM json_each(?) j CROSS JOIN repository r \
           ON r.account = j.value ->> 0 AND r.name = replace(j.value ->> 1, '~', '/')",
            keys(writes),
        )
        .await
}

async fn write_stats(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    if writes.is_empty() {
        return Ok(());
    }
    let before = context
        .answers(
            &format!("SELECT {COUNTED} FROM json_each(?) j CROSS JOIN stats s ON s.account = j.value ->> 0 AND s.rkey = j.value ->> 1"),
            keys(writes),
        )
        .await?;
    context
        .set(
            "DELETE FROM stats WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            keys(writes),
        )
        .await?;
    let stats = stats(writes, before, context.now).map_err(decoded)?;
    context
        .set(
            "INSERT INTO stats (account, rkey, cid, owner, repository, pulls, pushes, carried_pulls, carried_pushes, last_pull, updated_at) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
                    value ->> 8, value ->> 9, value ->> 10 FROM json_each(?)",
            stats.new,
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
            stats.pulled,
        )
        .await?;
    context
        .touch(
            "SELECT r.id FROM json_each(?) j CROSS JOIN account a ON a.did = j.value ->> 0 \
         CROSS JOIN repository r ON r.account = a.id AND r.name = j.value ->> 1",
            stats.subjects,
        )
        .await
}
