//! One batch: its steps are judged against the accounts' revisions, then all changes are written table by table, then the totals, cards
//! and search rows of the repositories that they touch.

mod accounts;
mod holds;
mod manifests;
mod repositories;
mod search_rows;
mod stars;
mod tags;

use std::collections::HashMap;

use crate::codec;
use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::change::{Applied, Batch, Fence};
use atcr_index::judge::{Accepted, Accounts};
use atcr_index::plan::{self, Touched, gathered, of};
use atcr_index::ports::{IndexWriter, KnownRecord};
use atcr_index::row::{Answer, Row};
use atcr_index::stored;
use atcr_index::{Collection, IndexError};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use crate::rows::{answers, found, set};
use crate::{PostgresIndex, failed, queue};

pub(crate) use repositories::fill_search;

/// What the writing of one table needs.
struct Context<'c> {
    connection: &'c mut PgConnection,
    now: DateTime<Utc>,
    accounts: &'c Accounts,
    touched: &'c mut Touched,
}

impl Context<'_> {
    async fn set(&mut self, statement: &str, rows: Vec<Row>) -> Result<(), sqlx::Error> {
        set(self.connection, statement, rows).await
    }

    async fn found<R>(&mut self, statement: &str, rows: Vec<Row>) -> Result<Vec<R>, sqlx::Error>
    where
        R: for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin,
    {
        found(self.connection, statement, rows).await
    }

    async fn answers(&mut self, statement: &str, rows: Vec<Row>) -> Result<Vec<Answer>, sqlx::Error> {
        answers(self.connection, statement, rows).await
    }

    /// The repositories that a statement finds are touched.
    async fn touch(&mut self, statement: &str, rows: Vec<Row>) -> Result<(), sqlx::Error> {
        let found: Vec<(i64,)> = self.found(statement, rows).await?;
        for (repository,) in found {
            self.touched.totals(repository);
        }
        Ok(())
    }
}

#[async_trait]
impl IndexWriter for PostgresIndex {
    async fn apply(&self, batch: &Batch, now: DateTime<Utc>) -> Result<Vec<Applied>, IndexError> {
        let mut transaction = self.writing().await.map_err(failed)?;
        pass(&mut transaction, batch.fence.as_ref()).await?;
        let answers = write_batch(&mut transaction, batch, now).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(answers)
    }

    async fn known_records(&self, did: &Did, collection: Collection) -> Result<Vec<KnownRecord>, IndexError> {
        let mut snapshot = self.snapshot().await?;
        crate::read::known_records(&mut snapshot, did, collection).await
    }

    async fn revisions(&self, dids: &[Did]) -> Result<HashMap<Did, Tid>, IndexError> {
        let dids: Vec<&str> = dids.iter().map(|did| did.as_str()).collect();
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT a.did, a.rev FROM unnest($1::text[]) AS j(did) JOIN account a ON a.did = j.did WHERE a.rev <> ''",
        )
        .bind(dids)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found
            .into_iter()
            .map(|(did, rev)| {
                let rev = rev.parse().map_err(|_| IndexError::Corrupt("a revision"))?;
                Ok((stored::did(&did)?, rev))
            })
            .collect()
    }

    async fn take_source(&self, source: &str) -> Result<(i64, Option<i64>), IndexError> {
        sqlx::query_as(
            "INSERT INTO source (name, epoch) VALUES ($1, 1) \
             ON CONFLICT (name) DO UPDATE SET epoch = source.epoch + 1 RETURNING epoch, cursor",
        )
        .bind(codec::text(source))
        .fetch_one(&self.writers)
        .await
        .map_err(failed)
    }
}

/// Refuses what is written in a term that is over, and moves the source's cursor. No other process begins a term before the transaction ends.
pub(crate) async fn pass(connection: &mut PgConnection, fence: Option<&Fence>) -> Result<(), IndexError> {
    let Some(fence) = fence else { return Ok(()) };
    let held = sqlx::query("UPDATE source SET cursor = coalesce($1, cursor) WHERE name = $2 AND epoch = $3")
        .bind(fence.cursor)
        .bind(codec::text(&fence.source))
        .bind(fence.epoch)
        .execute(connection)
        .await
        .map_err(failed)?;
    if held.rows_affected() == 1 {
        Ok(())
    } else {
        Err(IndexError::Fenced(fence.source.clone()))
    }
}

async fn write_batch(
    connection: &mut PgConnection,
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

/// Makes the cards of `repositories` anew.
pub(crate) async fn refresh_cards(
    connection: &mut PgConnection,
    repositories: Vec<i64>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let accounts = accounts::load(connection, &Batch::default()).await?;
    let mut touched = Touched::default();
    for repository in repositories {
        touched.totals(repository);
    }
    let mut context = Context {
        connection,
        now,
        accounts: &accounts,
        touched: &mut touched,
    };
    repositories::refresh(&mut context).await
}

/// Remembers the records that cannot be used, and forgets those that were.
async fn write_unusable(context: &mut Context<'_>, accepted: &[Accepted<'_>]) -> Result<(), sqlx::Error> {
    let rows = plan::unusable(accepted);
    context.set(
            "DELETE FROM unusable u USING unnest($1::bigint[], $2::bigint[], $3::text[]) AS j(account, collection, rkey) \
             WHERE u.account = j.account AND u.collection = j.collection AND u.rkey = j.rkey",
            rows.gone,
        )
        .await?;
    context
        .set(
            "INSERT INTO unusable (account, collection, rkey, cid) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[]) \
             ON CONFLICT (account, collection, rkey) DO UPDATE SET cid = excluded.cid",
            rows.new,
        )
        .await
}
