//! Statements for rows that only their own records decide. `atcr_index::plan::holds` decides what is in them.

use atcr_index::Collection;
use atcr_index::plan::holds::{COUNTED, page_rows, row_of, stats};
use atcr_index::plan::{Write, Writes, keys, of};

use super::Context;
use crate::rows::decoded;

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

const DELETE_PROFILE: &str = "DELETE FROM profile t USING unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
     WHERE t.account = j.account AND t.rkey = j.rkey";
const INSERT_PROFILE: &str = "INSERT INTO profile (account, rkey, cid, default_hold, auto_remove_untagged) \
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::boolean[])";
const DELETE_CAPTAIN: &str = "DELETE FROM captain t USING unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
     WHERE t.account = j.account AND t.rkey = j.rkey";
const INSERT_CAPTAIN: &str = "INSERT INTO captain (account, rkey, cid, owner, is_public, allow_all_crew, region, successor, deployed_at) \
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::boolean[], $6::boolean[], $7::text[], $8::text[], \
                          $9::bigint[])";
const DELETE_CREW: &str = "DELETE FROM crew t USING unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
     WHERE t.account = j.account AND t.rkey = j.rkey";
const INSERT_CREW: &str = "INSERT INTO crew (account, rkey, cid, member, role, permissions, tier, added_at) \
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[])";
const DELETE_SCAN: &str = "DELETE FROM scan t USING unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
     WHERE t.account = j.account AND t.rkey = j.rkey";
const INSERT_SCAN: &str = "INSERT INTO scan (account, rkey, cid, owner, digest, critical, high, medium, low, total, scanner, \
                       scanned_at, sbom, report) \
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[], \
                          $9::bigint[], $10::bigint[], $11::text[], $12::bigint[], $13::bytea[], $14::bytea[])";

async fn write_pages(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    context
        .set(
            "DELETE FROM page t USING unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             WHERE t.account = j.account AND t.rkey = j.rkey",
            keys(writes),
        )
        .await?;
    let new = page_rows(writes, context.now);
    context
        .set(
            "INSERT INTO page (account, rkey, cid, repository, description, summary, picture, picture_type, updated_at) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[], \
                                  $9::bigint[])",
            new,
        )
        .await?;
    context
        .touch(
            "SELECT r.id FROM unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             JOIN repository r ON r.account = j.account AND r.name = replace(j.rkey, '~', '/')",
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
            &format!(
                "SELECT {COUNTED} FROM unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             JOIN stats s ON s.account = j.account AND s.rkey = j.rkey"
            ),
            keys(writes),
        )
        .await?;
    context
        .set(
            "DELETE FROM stats t USING unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             WHERE t.account = j.account AND t.rkey = j.rkey",
            keys(writes),
        )
        .await?;
    let stats = stats(writes, before, context.now).map_err(decoded)?;
    context
        .set(
            "INSERT INTO stats (account, rkey, cid, owner, repository, pulls, pushes, carried_pulls, carried_pushes, last_pull, updated_at) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], \
                                  $9::bigint[], $10::bigint[], $11::bigint[])",
            stats.new,
        )
        .await?;
    // A hold's word counts for repositories whose manifests name it.
    context
        .set(
            "INSERT INTO pull_day (repository, day, pulls) \
             SELECT r.id, j.day, least(sum(j.counted), 1::bigint << 62)::bigint \
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS j(owner, repository, hold, day, counted) \
             JOIN account o ON o.did = j.owner \
             JOIN repository r ON r.account = o.id AND r.name = j.repository \
             JOIN account h ON h.id = j.hold \
             JOIN repository_hold n ON n.repository = r.id AND n.hold = h.did \
             WHERE j.counted > 0 GROUP BY r.id, j.day \
             ON CONFLICT (repository, day) DO UPDATE SET pulls = least(pull_day.pulls::numeric + excluded.pulls, 1::bigint << 62)::bigint",
            stats.pulled,
        )
        .await?;
    context
        .touch(
            "SELECT r.id FROM unnest($1::text[], $2::text[]) AS j(owner, repository) \
             JOIN account a ON a.did = j.owner JOIN repository r ON r.account = a.id AND r.name = j.repository",
            stats.subjects,
        )
        .await
}
