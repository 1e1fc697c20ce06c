//! Stars. A repository's total counts the visible accounts that starred it, each once: keys are free, so one account may have several
//! records for one repository.

use std::collections::BTreeSet;

use atcr_index::fact::Fact;
use serde_json::{Value, json};

use super::Context;
use crate::codec::{cid_hex, rows, seen_micros};
use atcr_index::plan::Write;

/// An account and what it starred: (starrer, owner, repository).
type Given = (i64, String, String);

/// Brings the rows of the records to what `writes` say, and the totals with the visibility of the batch's accounts.
pub(super) async fn write(context: &mut Context<'_>, writes: &[Write<'_>]) -> Result<(), sqlx::Error> {
    let keys: Vec<Value> = writes
        .iter()
        .map(|write| json!([write.account, write.rkey.as_str()]))
        .collect();
    let turned: Vec<Value> = context.accounts.turned().into_iter().map(Value::from).collect();
    if keys.is_empty() && turned.is_empty() {
        return Ok(());
    }
    let given: Vec<Given> = sqlx::query_as(
        "SELECT s.account, s.owner, s.repository FROM json_each(?1) j \
         CROSS JOIN star s ON s.account = j.value ->> 0 AND s.rkey = j.value ->> 1 \
         UNION SELECT s.account, s.owner, s.repository FROM json_each(?2) j CROSS JOIN star s ON s.account = j.value",
    )
    .bind(rows(&keys))
    .bind(rows(&turned))
    .fetch_all(&mut *context.connection)
    .await?;
    let mut affected: BTreeSet<Given> = given.into_iter().collect();
    let mut new = Vec::new();
    for write in writes {
        let Some(record) = write.record else { continue };
        let Fact::Star(fact) = &record.fact else { continue };
        affected.insert((write.account, fact.owner.to_string(), fact.repository.clone()));
        new.push(json!([
            write.account,
            write.rkey.as_str(),
            cid_hex(Some(&record.cid)),
            fact.owner.as_str(),
            fact.repository,
            seen_micros(fact.claimed_at, context.now)
        ]));
    }
    let before = existing(context, &affected).await?;
    context
        .set(
            "DELETE FROM star WHERE (account, rkey) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            &keys,
        )
        .await?;
    context
        .set(
            "INSERT INTO star (account, rkey, cid, owner, repository, given_at) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)",
            &new,
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
    let values: Vec<Value> = deltas
        .iter()
        .map(|(owner, repository, delta)| json!([owner, repository, delta]))
        .collect();
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT r.id, j.value ->> 2 FROM json_each(?) j CROSS JOIN account a ON a.did = j.value ->> 0 \
         CROSS JOIN repository r ON r.account = a.id AND r.name = j.value ->> 1",
    )
    .bind(rows(&values))
    .fetch_all(&mut *context.connection)
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
    let values: Vec<Value> = given
        .iter()
        .map(|(account, owner, repository)| json!([owner, repository, account]))
        .collect();
    let found: Vec<Given> = sqlx::query_as(
        "SELECT DISTINCT s.account, s.owner, s.repository FROM json_each(?) j CROSS JOIN star s INDEXED BY star_by_subject \
           ON s.owner = j.value ->> 0 AND s.repository = j.value ->> 1 AND s.account = j.value ->> 2",
    )
    .bind(rows(&values))
    .fetch_all(&mut *context.connection)
    .await?;
    Ok(found.into_iter().collect())
}
