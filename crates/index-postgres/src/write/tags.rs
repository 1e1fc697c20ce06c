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
                "SELECT r.name, {COLUMNS} \
                 FROM unnest($1::bigint[], $2::text[], $3::text[]) AS j(account, repository, tag) \
                 JOIN repository r ON r.account = j.account AND r.name = j.repository \
                 JOIN tag t ON t.repository = r.id AND t.name = j.tag AND t.odd_rkey = ''"
            ),
            places(writes),
        )
        .await?;
    let odd = context
        .answers(
            &format!(
                "SELECT r.name, {COLUMNS} FROM unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
                 JOIN tag t ON t.account = j.account AND t.odd_rkey = j.rkey AND t.odd_rkey <> '' \
                 JOIN repository r ON r.id = t.repository"
            ),
            keys(writes),
        )
        .await?;
    replaced.extend(odd);
    let replaced = by_record(replaced).map_err(decoded)?;
    let put = Put::of(writes, &replaced, context.touched, context.now);
    let before = context
        .answers(
            &format!(
                "SELECT {COLUMNS} FROM unnest($1::bigint[], $2::text[]) AS j(repository, name) \
                 JOIN tag t ON t.repository = j.repository AND t.name = j.name"
            ),
            put.names(),
        )
        .await?;
    let plan = put.plan(before, context.touched, context.now).map_err(decoded)?;
    context
        .set(
            "DELETE FROM tag t USING unnest($1::bigint[], $2::text[], $3::text[]) AS j(repository, name, odd_rkey) \
             WHERE t.repository = j.repository AND t.name = j.name AND t.odd_rkey = j.odd_rkey",
            plan.rows.gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO tag (repository, name, odd_rkey, account, cid, digest, claimed_at, moved_at, shown, version) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bigint[], \
                                  $9::bigint[], $10::text[]) \
             ON CONFLICT (repository, name, odd_rkey) DO UPDATE SET cid = excluded.cid, digest = excluded.digest, \
                 claimed_at = excluded.claimed_at, moved_at = excluded.moved_at, shown = excluded.shown",
            plan.rows.new,
        )
        .await?;
    context
        .set(
            "INSERT INTO tag_move (repository, tag, digest_before, digest_after, at, rev) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[], $6::text[])",
            plan.moves,
        )
        .await?;
    // The last 100 moves of each tag are kept.
    context
        .set(
            "DELETE FROM tag_move WHERE id IN ( \
                 SELECT (SELECT m.id FROM tag_move m WHERE m.repository = j.repository AND m.tag = j.tag \
                         ORDER BY m.id DESC LIMIT 1 OFFSET 100) \
                 FROM unnest($1::bigint[], $2::text[]) AS j(repository, tag))",
            plan.moved,
        )
        .await
}
