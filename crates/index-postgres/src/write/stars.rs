//! Statements for stars. `atcr_index::plan::stars` decides what is written and what totals gain.

use std::collections::BTreeSet;

use atcr_index::plan::stars::{Given, gains, rows, subjects};
use atcr_index::plan::{Write, keys};
use atcr_index::row;
use atcr_index::row::Row;

use super::Context;

/// Brings the rows of the records to what `writes` say, and the totals with the visibility of the batch's accounts.
pub(super) async fn write(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    let keys = keys(writes);
    let turned: Vec<Row> = context.accounts.turned().into_iter().map(|id| row![id]).collect();
    if keys.is_empty() && turned.is_empty() {
        return Ok(());
    }
    let given: Vec<Given> = context
        .found(
            "SELECT s.account, s.owner, s.repository FROM unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             JOIN star s ON s.account = j.account AND s.rkey = j.rkey",
            keys.clone(),
        )
        .await?;
    let of_turned: Vec<Given> = context
        .found(
            "SELECT DISTINCT s.account, s.owner, s.repository FROM unnest($1::bigint[]) AS j(id) JOIN star s ON s.account = j.id",
            turned,
        )
        .await?;
    let mut affected: BTreeSet<Given> = given.into_iter().chain(of_turned).collect();
    let new = rows(writes, &mut affected, context.now);
    let before = existing(context, &affected).await?;
    context
        .set(
            "DELETE FROM star s USING unnest($1::bigint[], $2::text[]) AS j(account, rkey) \
             WHERE s.account = j.account AND s.rkey = j.rkey",
            keys,
        )
        .await?;
    context
        .set(
            "INSERT INTO star (account, rkey, cid, owner, repository, given_at) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::bigint[])",
            new,
        )
        .await?;
    let after = existing(context, &affected).await?;
    let gains = gains(context.accounts, affected, &before, &after);
    let found: Vec<(i64, i64)> = context
        .found(
            "SELECT r.id, j.delta FROM unnest($1::text[], $2::text[], $3::bigint[]) AS j(owner, repository, delta) \
             JOIN account a ON a.did = j.owner JOIN repository r ON r.account = a.id AND r.name = j.repository",
            gains,
        )
        .await?;
    for (repository, stars) in found {
        context.touched.totals(repository).stars += stars;
    }
    Ok(())
}

/// Those of `given` that have a record.
async fn existing(
    context: &mut Context<'_>,
    given: &BTreeSet<Given>,
) -> Result<BTreeSet<Given>, sqlx::Error> {
    let found: Vec<Given> = context
        .found(
            "SELECT DISTINCT s.account, s.owner, s.repository FROM unnest($1::text[], $2::text[], $3::bigint[]) AS j(owner, repository, account) \
             JOIN star s ON s.owner = j.owner AND s.repository = j.repository AND s.account = j.account",
            subjects(given),
        )
        .await?;
    Ok(found.into_iter().collect())
}
