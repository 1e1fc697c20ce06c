//! Statements for rows of tags. `atcr_index::plan::tags` decides what is in them.

use atcr_index::plan::tags::{COLUMNS, Put, by_record, places};
use atcr_index::plan::{Write, keys};

use super::Context;
use crate::rows::decoded;

/// Brings the rows of the records to what `writes` say, and notes the moves.
pub(super) async fn write(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    if writes.is_empty() {
        return Ok(());
    }
    let mut replaced = context
        .answers(
            &format!(
                "SELECT r.name, {COLUMNS} FROM json_each(?) j \
             CROSS JOIN repository r ON r.account = j.value ->> 0 AND r.name = j.value ->> 1 \
             CROSS JOIN tag t ON t.repository = r.id AND t.name = j.value ->> 2 AND t.odd_rkey = ''"
            ),
            places(writes),
        )
        .await?;
    let odd = context
        .answers(
            &format!(
                "SELECT r.name, {COLUMNS} FROM json_each(?) j CROSS JOIN tag t INDEXED BY tag_by_odd_rkey \
               ON t.account = j.value ->> 0 AND t.odd_rkey = j.value ->> 1 AND t.odd_rkey <> '' \
             CROSS JOIN repository r ON r.id = t.repository"
            ),
            keys(writes),
        )
        .await?;
    replaced.extend(odd);
    let replaced = by_record(replaced).map_err(decoded)?;
    let put = Put::of(writes, &replaced, context.touched, context.now);
    let before = context
        .answers(
            &format!("SELECT {COLUMNS} FROM json_each(?) j CROSS JOIN tag t ON t.repository = j.value ->> 0 AND t.name = j.value ->> 1"),
            put.names(),
        )
        .await?;
    let plan = put.plan(before, context.touched, context.now).map_err(decoded)?;
    context
        .set(
            "DELETE FROM tag WHERE (repository, name, odd_rkey) IN \
             (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
            plan.rows.gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO tag (repository, name, odd_rkey, account, cid, digest, claimed_at, moved_at, shown, version) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), unhex(value ->> 5), value ->> 6, value ->> 7, \
                    value ->> 8, value ->> 9 FROM json_each(?) WHERE true \
             ON CONFLICT (repository, name, odd_rkey) DO UPDATE SET cid = excluded.cid, digest = excluded.digest, \
                 claimed_at = excluded.claimed_at, moved_at = excluded.moved_at, shown = excluded.shown",
            plan.rows.new,
        )
        .await?;
    context
        .set(
            "INSERT INTO tag_move (repository, tag, digest_before, digest_after, at, rev) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5 FROM json_each(?)",
            plan.moves,
        )
        .await?;
    // The last 100 moves of each tag are kept.
    context
        .set(
            "DELETE FROM tag_move WHERE id IN ( \
                 SELECT (SELECT m.id FROM tag_move m WHERE m.repository = j.value ->> 0 AND m.tag = j.value ->> 1 \
                         ORDER BY m.id DESC LIMIT 1 OFFSET 100) \
                 FROM json_each(?) j)",
            plan.moved,
        )
        .await
}
