//! Statements for rows of manifests and their children. `atcr_index::plan::manifests` decides what is in them.

use atcr_index::plan::manifests::{COLUMNS, by_record, places, plan, without_row};
use atcr_index::plan::{Write, keys};

use super::Context;
use crate::rows::decoded;

/// Brings the rows of the records to what `writes` say.
pub(super) async fn write(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    if writes.is_empty() {
        return Ok(());
    }
    let mut before = context
        .answers(
            &format!("SELECT {COLUMNS}, m.subject <> ''::bytea FROM unnest($1::bigint[], $2::bytea[]) AS j(account, digest) \
             JOIN manifest m ON m.account = j.account AND m.digest = j.digest AND m.odd_rkey = ''"),
            places(writes),
        )
        .await?;
    let odd = context
        .answers(
            &format!("SELECT {COLUMNS}, m.subject <> ''::bytea FROM unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             JOIN manifest m ON m.account = j.account AND m.odd_rkey = j.rkey AND m.odd_rkey <> ''"),
            keys(writes),
        )
        .await?;
    before.extend(odd);
    let before = by_record(writes, before).map_err(decoded)?;
    let ids = numbers(context, without_row(writes, &before)).await?;
    let plan = plan(writes, &before, context.touched, ids.into_iter(), context.now);
    context
        .set(
            "DELETE FROM child c USING unnest($1::bigint[]) AS j(id) WHERE c.manifest = j.id",
            plan.rows.gone.clone(),
        )
        .await?;
    context
        .set(
            "DELETE FROM manifest m USING unnest($1::bigint[]) AS j(id) WHERE m.id = j.id",
            plan.rows.gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO manifest (id, account, repository, digest, odd_rkey, cid, blob, size, media_type, artifact_type, kind, hold, \
                                   subject, config, layers, content_size, annotations, claimed_at, pushed_at) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::bytea[], $7::bytea[], \
                                  $8::bigint[], $9::text[], $10::text[], $11::bigint[], $12::text[], $13::bytea[], $14::bytea[], \
                                  $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[])",
            plan.rows.new,
        )
        .await?;
    context
        .set(
            "INSERT INTO child (manifest, position, account, digest, media_type, size, os, architecture, variant, os_version, attestation) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::bigint[], $7::text[], $8::text[], \
                                  $9::text[], $10::text[], $11::boolean[])",
            plan.children,
        )
        .await?;
    context
        .set(
            "INSERT INTO repository_hold (repository, hold, manifests) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[]) \
             ON CONFLICT (repository, hold) DO UPDATE SET manifests = repository_hold.manifests + excluded.manifests",
            plan.holds.clone(),
        )
        .await?;
    context
        .set(
            "DELETE FROM repository_hold h USING unnest($1::bigint[], $2::text[], $3::bigint[]) AS j(repository, hold, delta) \
             WHERE h.repository = j.repository AND h.hold = j.hold AND h.manifests = 0",
            plan.holds,
        )
        .await
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
