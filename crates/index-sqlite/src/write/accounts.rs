//! The accounts of a batch in the database. `atcr_index::judge` decides what becomes of its steps.

use atcr_index::change::{Applied, Batch, TakedownStep};
use atcr_index::judge::{Accepted, Accounts, COLUMNS, Judged, Renaming, dids};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::micros;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use crate::rows::{answers, decoded, set};

/// Loads the accounts of the steps; those that are new get a row.
pub(super) async fn load(connection: &mut SqliteConnection, batch: &Batch) -> Result<Accounts, sqlx::Error> {
    let dids: Vec<Row> = dids(batch).into_iter().map(|did| row![did]).collect();
    set(
        connection,
        "INSERT INTO account (did) SELECT value FROM json_each(?) WHERE true ON CONFLICT (did) DO NOTHING",
        dids.clone(),
    )
    .await?;
    let loaded = answers(
        connection,
        &format!("SELECT {COLUMNS} FROM json_each(?) JOIN account a ON a.did = value"),
        dids,
    )
    .await?;
    Accounts::of(loaded).map_err(decoded)
}

/// Goes through the steps: says what becomes of each, and which changes are to be written.
pub(super) async fn judge<'b>(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
    renaming: &Renaming,
    now: DateTime<Utc>,
) -> Result<Applied, sqlx::Error> {
    for (handle, did) in &renaming.past {
        remember_handle(connection, handle, did, now).await?;
    }
    if renaming.handle.is_empty() {
        return Ok(Applied::Done);
    }
    let freed: Option<String> =
        sqlx::query_scalar("UPDATE account SET handle = '' WHERE handle = ? AND id <> ? RETURNING did")
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
    connection: &mut SqliteConnection,
    accounts: &mut Accounts,
    step: &TakedownStep,
) -> Result<Applied, sqlx::Error> {
    let repository = step.repository.as_deref().unwrap_or_default();
    let written = sqlx::query(
        "INSERT INTO takedown (source, did, repository, applies, at) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (did, repository, source) DO UPDATE SET applies = excluded.applies, at = excluded.at \
         WHERE excluded.at > takedown.at OR (excluded.at = takedown.at AND excluded.applies > takedown.applies)",
    )
    .bind(step.source.as_str())
    .bind(step.did.as_str())
    .bind(repository)
    .bind(step.applies)
    .bind(micros(step.at))
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 0 {
        return Ok(Applied::Known);
    }
    let is_taken_down = repository.is_empty()
        && sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM takedown WHERE did = ? AND repository = '' AND applies = 1)",
        )
        .bind(step.did.as_str())
        .fetch_one(&mut *connection)
        .await?;
    accounts.take_down(step, is_taken_down);
    Ok(Applied::Done)
}

/// Writes what changed.
pub(super) async fn save(connection: &mut SqliteConnection, accounts: &Accounts) -> Result<(), sqlx::Error> {
    let changed = accounts.changed();
    set(
        connection,
        "UPDATE account SET handle = '' WHERE id IN (SELECT value FROM json_each(?))",
        changed.freed,
    )
    .await?;
    set(
        connection,
        "UPDATE account SET handle = value ->> 1, pds = value ->> 2, signing_key = value ->> 3, status = value ->> 4, \
             status_at = value ->> 5, taken_down = value ->> 6, rev = value ->> 7, head_seen = value ->> 8, \
             data = unhex(value ->> 9), proof = value ->> 10, coverage = value ->> 11 \
         FROM json_each(?) WHERE account.id = value ->> 0",
        changed.rows,
    )
    .await
}

async fn remember_handle(
    connection: &mut SqliteConnection,
    handle: &str,
    did: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO handle_past (handle, did, until) VALUES (?, ?, ?) \
         ON CONFLICT (handle) DO UPDATE SET did = excluded.did, until = excluded.until",
    )
    .bind(handle)
    .bind(did)
    .bind(micros(now))
    .execute(connection)
    .await?;
    Ok(())
}
