//! The accounts of a batch in the database. `atcr_index::judge` decides what becomes of its steps.

use atcr_index::change::{Applied, Batch, TakedownStep};
use atcr_index::judge::{Accepted, Accounts, COLUMNS, Judged, Renaming, dids};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::micros;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::codec;
use crate::rows::{answers, decoded, set};

/// Loads the accounts of the steps; those that are new get a row.
pub(super) async fn load(connection: &mut PgConnection, batch: &Batch) -> Result<Accounts, sqlx::Error> {
    let dids: Vec<Row> = dids(batch).into_iter().map(|did| row![did]).collect();
    // Those that are known are not tried: a conflict would use up a number.
    set(
        connection,
        "INSERT INTO account (did) SELECT j.did FROM unnest($1::text[]) AS j(did) \
         WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.did = j.did)",
        dids.clone(),
    )
    .await?;
    let loaded = answers(
        connection,
        &format!("SELECT {COLUMNS} FROM unnest($1::text[]) AS j(did) JOIN account a ON a.did = j.did"),
        dids,
    )
    .await?;
    Accounts::of(loaded).map_err(decoded)
}

/// Goes through the steps: says what becomes of each, and which changes are to be written.
pub(super) async fn judge<'b>(
    connection: &mut PgConnection,
    accounts: &mut Accounts,
    batch: &'b Batch,
    now: DateTime<Utc>,
) -> Result<(Vec<Applied>, Vec<Accepted<'b>>), sqlx::Error> {
    let mut answers = Vec::with_capacity(batch.steps.len());
    let mut accepted = Vec::new();
    for step in &batch.steps {
        let answer = match accounts.judge(step, &mut accepted) {
            Judged::So(answer) => answer,
            Judged::Renamed(renaming) => rename(connection, &renaming, now).await?,
            Judged::Takedown(step) => take_down(connection, accounts, step).await?,
        };
        answers.push(answer);
    }
    Ok((answers, accepted))
}

async fn rename(
    connection: &mut PgConnection,
    renaming: &Renaming,
    now: DateTime<Utc>,
) -> Result<Applied, sqlx::Error> {
    for (handle, did) in &renaming.past {
        remember_handle(connection, handle, did, now).await?;
    }
    if renaming.handle.is_empty() {
        return Ok(Applied::Done);
    }
    let freed: Option<String> = sqlx::query_scalar(
        "UPDATE account SET handle = '' WHERE handle = $1 AND handle <> '' AND id <> $2 RETURNING did",
    )
    .bind(&renaming.handle)
    .bind(renaming.account)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(did) = freed {
        remember_handle(connection, &renaming.handle, &did, now).await?;
    }
    Ok(Applied::Done)
}

async fn take_down(
    connection: &mut PgConnection,
    accounts: &mut Accounts,
    step: &TakedownStep,
) -> Result<Applied, sqlx::Error> {
    let repository = step.repository.as_deref().unwrap_or_default();
    let written = sqlx::query(
        "INSERT INTO takedown (source, did, repository, applies, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (did, repository, source) DO UPDATE SET applies = excluded.applies, at = excluded.at \
         WHERE excluded.at > takedown.at OR (excluded.at = takedown.at AND excluded.applies > takedown.applies)",
    )
    .bind(step.source.as_str())
    .bind(step.did.as_str())
    .bind(codec::text(repository))
    .bind(step.applies)
    .bind(micros(step.at))
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 0 {
        return Ok(Applied::Known);
    }
    let is_taken_down = repository.is_empty()
        && sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM takedown WHERE did = $1 AND repository = '' AND applies)",
        )
        .bind(step.did.as_str())
        .fetch_one(&mut *connection)
        .await?;
    accounts.take_down(step, is_taken_down);
    Ok(Applied::Done)
}

/// Writes what changed.
pub(super) async fn save(connection: &mut PgConnection, accounts: &Accounts) -> Result<(), sqlx::Error> {
    let changed = accounts.changed();
    set(
        connection,
        "UPDATE account a SET handle = '' FROM unnest($1::bigint[]) AS j(id) WHERE a.id = j.id",
        changed.freed,
    )
    .await?;
    set(
        connection,
        "UPDATE account a SET handle = j.handle, pds = j.pds, signing_key = j.signing_key, status = j.status, \
             status_at = j.status_at, taken_down = j.taken_down, rev = j.rev, head_seen = j.head_seen, data = j.data, \
             proof = j.proof, coverage = j.coverage \
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[], \
                     $9::text[], $10::bytea[], $11::bigint[], $12::bigint[]) \
             AS j(id, handle, pds, signing_key, status, status_at, taken_down, rev, head_seen, data, proof, coverage) \
         WHERE a.id = j.id",
        changed.rows,
    )
    .await
}

async fn remember_handle(
    connection: &mut PgConnection,
    handle: &str,
    did: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO handle_past (handle, did, until) VALUES ($1, $2, $3) \
         ON CONFLICT (handle) DO UPDATE SET did = excluded.did, until = excluded.until",
    )
    .bind(handle)
    .bind(did)
    .bind(micros(now))
    .execute(connection)
    .await?;
    Ok(())
}
