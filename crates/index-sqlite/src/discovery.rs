//! Lists of accounts that are read in parts.

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::change::{Fence, Lane};
use atcr_index::ports::{DiscoveryLog, DiscoveryProgress, FoundAccount};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::{self, lane_code, micros, some_instant};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use crate::queue::QUEUED_ALREADY;
use crate::rows::rows;
use crate::write::pass;
use crate::{SqliteIndex, failed};

#[async_trait]
impl DiscoveryLog for SqliteIndex {
    async fn discovery(&self, list: &str) -> Result<DiscoveryProgress, IndexError> {
        let row: Option<(String, i64, i64)> =
            sqlx::query_as("SELECT cursor, finished_at, accounts FROM discovery WHERE list = ?")
                .bind(list)
                .fetch_optional(self.database.readers())
                .await
                .map_err(failed)?;
        let (cursor, finished_at, accounts) = row.unwrap_or_default();
        Ok(DiscoveryProgress {
            cursor: Some(cursor).filter(|cursor| !cursor.is_empty()),
            finished_at: some_instant(finished_at),
            accounts: stored::count(accounts),
        })
    }

    async fn discovered(
        &self,
        list: &str,
        accounts: &[FoundAccount],
        next: Option<&str>,
        fence: Option<&Fence>,
        now: DateTime<Utc>,
    ) -> Result<u64, IndexError> {
        let values: Vec<Row> = accounts
            .iter()
            .map(|account| {
                row![
                    account.did.as_str(),
                    account.rev.as_ref().map_or("", |rev| rev.as_str())
                ]
            })
            .collect();
        let found = rows(values);
        let mut transaction = self
            .database
            .writer()
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        pass(&mut transaction, fence).await?;
        let new: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM json_each(?) j LEFT JOIN account a ON a.did = j.value ->> 0 WHERE coalesce(a.rev, '') = ''",
        )
        .bind(&found)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO work (did, lane, due) \
             SELECT j.value ->> 0, iif(coalesce(a.rev, '') = '', ?2, ?3), ?4 \
             FROM json_each(?1) j LEFT JOIN account a ON a.did = j.value ->> 0 \
             WHERE coalesce(a.rev, '') = '' OR a.coverage <> 2 OR a.status <> 0 OR a.rev <> j.value ->> 1 {QUEUED_ALREADY}"
        )))
        .bind(&found)
        .bind(lane_code(Lane::Discovered))
        .bind(lane_code(Lane::Audit))
        .bind(micros(now))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        // After the last page the next reading begins at the start, and counts anew.
        sqlx::query(
            "INSERT INTO discovery (list, cursor, finished_at, accounts) VALUES (?1, ?2, iif(?2 = '', ?3, 0), ?4) \
             ON CONFLICT (list) DO UPDATE SET cursor = excluded.cursor, \
                 finished_at = iif(excluded.cursor = '', excluded.finished_at, finished_at), \
                 accounts = iif(discovery.cursor = '', 0, discovery.accounts) + excluded.accounts",
        )
        .bind(list)
        .bind(next.unwrap_or_default())
        .bind(micros(now))
        .bind(i64::try_from(accounts.len()).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(stored::count(new))
    }
}
