//! Statements for rows of manifests and their children. `atcr_index::plan::manifests` decides what is in them.

use atcr_index::plan::manifests::{COLUMNS, by_record, places, plan};
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
            &format!(
                "SELECT {COLUMNS}, m.subject <> x'' FROM json_each(?) j CROSS JOIN manifest m \
               ON m.account = j.value ->> 0 AND m.digest = unhex(j.value ->> 1) AND m.odd_rkey = ''"
            ),
            places(writes),
        )
        .await?;
    let odd = context
        .answers(
            &format!("SELECT {COLUMNS}, m.subject <> x'' FROM json_each(?) j CROSS JOIN manifest m INDEXED BY manifest_by_odd_rkey \
               ON m.account = j.value ->> 0 AND m.odd_rkey = j.value ->> 1 AND m.odd_rkey <> ''"),
            keys(writes),
        )
        .await?;
    before.extend(odd);
    let before = by_record(writes, before).map_err(decoded)?;
    let next_id: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM manifest")
        .fetch_one(&mut *context.connection)
        .await?;
    let plan = plan(writes, &before, context.touched, next_id.., context.now);
    context
        .set(
            "DELETE FROM child WHERE manifest IN (SELECT value FROM json_each(?))",
            plan.rows.gone.clone(),
        )
        .await?;
    context
        .set(
            "DELETE FROM manifest WHERE id IN (SELECT value FROM json_each(?))",
            plan.rows.gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO manifest (id, account, repository, digest, odd_rkey, cid, blob, size, media_type, artifact_type, kind, hold, \
                                   subject, config, layers, content_size, annotations, claimed_at, pushed_at) \
             SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, unhex(value ->> 5), unhex(value ->> 6), \
                    value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, unhex(value ->> 12), unhex(value ->> 13), \
                    value ->> 14, value ->> 15, value ->> 16, value ->> 17, value ->> 18 FROM json_each(?)",
            plan.rows.new,
        )
        .await?;
    context
        .set(
            "INSERT INTO child (manifest, position, account, digest, media_type, size, os, architecture, variant, os_version, attestation) \
             SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
                    value ->> 8, value ->> 9, value ->> 10 FROM json_each(?)",
            plan.children,
        )
        .await?;
    context
        .set(
            "INSERT INTO repository_hold (repository, hold, manifests) \
             SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true \
             ON CONFLICT (repository, hold) DO UPDATE SET manifests = manifests + excluded.manifests",
            plan.holds.clone(),
        )
        .await?;
    context
        .set(
            "DELETE FROM repository_hold WHERE manifests = 0 AND (repository, hold) IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            plan.holds,
        )
        .await
}
