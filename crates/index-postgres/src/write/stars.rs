//! Stars. A repository's total counts the visible accounts that starred it, each once: keys are free, so one account may have several
//! records for one repository.

use std::collections::BTreeSet;

use atcr_index::fact::Fact;

use super::Context;
use crate::codec::{cid_bytes, seen_micros};
use atcr_index::plan::Write;
use atcr_index::row;
use atcr_index::row::Row;

/// An account and what it starred: (starrer, owner, repository).
type Given = (i64, String, String);

/// Brings the rows of the records to what `writes` say, and the totals with the visibility of the batch's accounts.
pub(super) async fn write(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    let keys: Vec<Row> = writes
        .iter()
        .map(|write| row![write.account, write.rkey.as_str()])
        .collect();
    let turned: Vec<Row> = context.accounts.turned().into_iter().map(|id| row![id]).collect();
    if keys.is_empty() && turned.is_empty() {
        return Ok(());
    }
    let mut given: Vec<Given> = context
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
    given.extend(of_turned);
    let mut affected: BTreeSet<Given> = given.into_iter().collect();
    let mut new = Vec::new();
    for write in writes {
        let Some(record) = write.record else { continue };
        let Fact::Star(fact) = &record.fact else { continue };
        affected.insert((write.account, fact.owner.to_string(), fact.repository.clone()));
        new.push(row![
            write.account,
            write.rkey.as_str(),
            cid_bytes(Some(&record.cid)),
            fact.owner.as_str(),
            &fact.repository,
            seen_micros(fact.claimed_at, context.now)
        ]);
    }
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
    let mut deltas: Vec<(String, String, i64)> = Vec::new();
    for given in affected {
        let (was_visible, is_visible) = context.accounts.visibility(given.0).unwrap_or((true, true));
        let delta = i64::from(is_visible && after.contains(&given))
            - i64::from(was_visible && before.contains(&given));
        if delta != 0 {
            deltas.push((given.1, given.2, delta));
        }
    }
    let values = deltas
        .into_iter()
        .map(|(owner, repository, delta)| row![owner, repository, delta])
        .collect();
    let found: Vec<(i64, i64)> = context
        .found(
            "SELECT r.id, j.delta FROM unnest($1::text[], $2::text[], $3::bigint[]) AS j(owner, repository, delta) \
             JOIN account a ON a.did = j.owner JOIN repository r ON r.account = a.id AND r.name = j.repository",
            values,
        )
        .await?;
    for (repository, delta) in found {
        context.touched.totals(repository).stars += delta;
    }
    Ok(())
}

/// Those of `given` that have a record.
async fn existing(
    context: &mut Context<'_>,
    given: &BTreeSet<Given>,
) -> Result<BTreeSet<Given>, sqlx::Error> {
    let values = given
        .iter()
        .map(|(account, owner, repository)| row![owner, repository, *account])
        .collect();
    let found: Vec<Given> = context
        .found(
            "SELECT DISTINCT s.account, s.owner, s.repository FROM unnest($1::text[], $2::text[], $3::bigint[]) AS j(owner, repository, account) \
             JOIN star s ON s.owner = j.owner AND s.repository = j.repository AND s.account = j.account",
            values,
        )
        .await?;
    Ok(found.into_iter().collect())
}
