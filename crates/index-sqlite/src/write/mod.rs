//! One batch: its steps are judged against the accounts' revisions, then all changes are written table by table, then the totals, cards
//! and search rows of the repositories that they touch.

mod accounts;
mod holds;
mod manifests;
mod repositories;
mod stars;
mod tags;

use std::collections::HashMap;

use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::change::{Applied, Batch, CursorMove};
use atcr_index::judge::{Accepted, Accounts};
use atcr_index::plan::{self, Touched, gathered, of};
use atcr_index::ports::{IndexWriter, KnownRecord};
use atcr_index::row::Row;
use atcr_index::{Collection, IndexError};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::SqliteConnection;

use crate::codec::{self, micros, rows};
use crate::{SqliteIndex, failed, queue};

/// What the writing of one table needs.
struct Context<'c> {
    connection: &'c mut SqliteConnection,
    now: DateTime<Utc>,
    accounts: &'c Accounts,
    touched: &'c mut Touched,
}

impl Context<'_> {
    /// Runs a statement whose one parameter is `rows`, unless there are none.
    async fn put(&mut self, statement: &'static str, rows: Vec<Row>) -> Result<(), sqlx::Error> {
        crate::rows::set(self.connection, statement, rows).await
    }

    /// Runs a statement whose one parameter is `values`, unless there are none.
    async fn set(&mut self, statement: &'static str, values: &[Value]) -> Result<(), sqlx::Error> {
        set(self.connection, statement, values).await
    }
}

async fn set(
    connection: &mut SqliteConnection,
    statement: &'static str,
    values: &[Value],
) -> Result<(), sqlx::Error> {
    if !values.is_empty() {
        sqlx::query(statement)
            .bind(rows(values))
            .execute(connection)
            .await?;
    }
    Ok(())
}

#[async_trait]
impl IndexWriter for SqliteIndex {
    async fn apply(&self, batch: &Batch, now: DateTime<Utc>) -> Result<Vec<Applied>, IndexError> {
        let mut transaction = self
            .database
            .writer()
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let answers = write_batch(&mut transaction, batch, now).await.map_err(failed)?;
        if let Some(cursor) = &batch.cursor
            && !move_cursor(&mut transaction, cursor).await.map_err(failed)?
        {
            return Err(IndexError::Fenced(cursor.source.clone()));
        }
        transaction.commit().await.map_err(failed)?;
        Ok(answers)
    }

    async fn known_records(&self, did: &Did, collection: Collection) -> Result<Vec<KnownRecord>, IndexError> {
        crate::read::known_records(&self.database, did, collection).await
    }

    async fn revisions(&self, dids: &[Did]) -> Result<HashMap<Did, Tid>, IndexError> {
        let values: Vec<Value> = dids.iter().map(|did| Value::from(did.as_str())).collect();
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT a.did, a.rev FROM json_each(?) j CROSS JOIN account a ON a.did = j.value WHERE a.rev <> ''",
        )
        .bind(rows(&values))
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        found
            .into_iter()
            .map(|(did, rev)| {
                let rev = rev.parse().map_err(|_| IndexError::Corrupt("a revision"))?;
                Ok((codec::did(&did)?, rev))
            })
            .collect()
    }

    async fn take_source(&self, source: &str) -> Result<(i64, Option<i64>), IndexError> {
        sqlx::query_as(
            "INSERT INTO source (name, epoch) VALUES (?, 1) \
             ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1 RETURNING epoch, cursor",
        )
        .bind(source)
        .fetch_one(self.database.writer())
        .await
        .map_err(failed)
    }
}

async fn move_cursor(connection: &mut SqliteConnection, cursor: &CursorMove) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query("UPDATE source SET cursor = ? WHERE name = ? AND epoch = ?")
        .bind(cursor.cursor)
        .bind(&cursor.source)
        .bind(cursor.epoch)
        .execute(connection)
        .await?;
    Ok(moved.rows_affected() == 1)
}

async fn write_batch(
    connection: &mut SqliteConnection,
    batch: &Batch,
    now: DateTime<Utc>,
) -> Result<Vec<Applied>, sqlx::Error> {
    let mut accounts = accounts::load(connection, batch).await?;
    let (answers, accepted) = accounts::judge(connection, &mut accounts, batch, now).await?;
    let writes = gathered(&accepted);
    let mut touched = Touched::default();
    let mut context = Context {
        connection,
        now,
        accounts: &accounts,
        touched: &mut touched,
    };
    // Before the accounts' new status is written: a new repository counts the stars of before, and the batch's changes come on top.
    repositories::ensure(&mut context, &writes).await?;
    accounts::save(context.connection, &accounts).await?;
    write_unusable(&mut context, &accepted).await?;
    manifests::write(&mut context, of(&writes, Collection::Manifest)).await?;
    tags::write(&mut context, of(&writes, Collection::Tag)).await?;
    stars::write(&mut context, of(&writes, Collection::Star)).await?;
    holds::write(&mut context, &writes).await?;
    repositories::refresh(&mut context).await?;
    queue::enqueue(context.connection, &batch.work).await?;
    Ok(answers)
}

/// Remembers the records that cannot be used, and forgets those that were.
async fn write_unusable(context: &mut Context<'_>, accepted: &[Accepted<'_>]) -> Result<(), sqlx::Error> {
    let rows = plan::unusable(accepted);
    context
        .put(
            "DELETE FROM unusable WHERE (account, collection, rkey) IN \
             (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
            rows.gone,
        )
        .await?;
    context
        .put(
            "INSERT OR REPLACE INTO unusable (account, collection, rkey, cid) \
             SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3) FROM json_each(?)",
            rows.new,
        )
        .await
}

/// An instant for a row: 0 for none.
fn or_zero(at: Option<DateTime<Utc>>) -> i64 {
    at.map(micros).unwrap_or_default()
}
