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
            "SELECT s.account, s.owner, s.repository FROM json_each(?) j \
             CROSS JOIN star s ON s.account = j.value ->> 0 AND s.rkey = j.value ->> 1",
            keys.clone(),
        )
        .await?;
    let of_turned: Vec<Given> = context
        .found(
            "SELECT DISTINCT s.account, s.owner, s.repository FROM json_each(?) j CROSS JOIN star s ON s.account = j.value",
            turned,
        )
        .await?;
    let mut affected: BTreeSet<Given> = given.into_iter().chain(of_turned).collect();
    let new = rows(writes, &mut affected, context.now);
    let before = existing(context, &affected).await?;
    context
        .set(
            "DELETE FROM star WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            keys,
        )
        .await?;
    context
        .set(
            "INSERT INTO star (account, rkey, cid, owner, repository, given_at) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)",
            new,
        )
        .await?;
    let after = existing(context, &affected).await?;
    let gains = gains(context.accounts, affected, &before, &after);
    let found: Vec<(i64, i64)> = context
        .found(
            "SELECT r.id, j.value ->> 2 FROM json_each(?) j CROSS JOIN account a ON a.did = j.value ->> 0 \
         CROSS JOIN repository r ON r.account = a.id AND r.name = j.value ->> 1",
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
            "SELECT DISTINCT s.account, s.owner, s.repository FROM json_each(?) j CROSS JOIN star s INDEXED BY star_by_subject \
           ON s.owner = j.value ->> 0 AND s.repository = j.value ->> 1 AND s.account = j.value ->> 2",
            subjects(given),
        )
        .await?;
    Ok(found.into_iter().collect())
}
