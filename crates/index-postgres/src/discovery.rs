//! Lists of accounts that are read in parts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::change::{Fence, Lane};
use atcr_index::ports::{DiscoveryLog, DiscoveryProgress, FoundAccount};
use atcr_index::stored::{self, lane_code, micros, some_instant};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use crate::codec;
use crate::queue::QUEUED_ALREADY;
use crate::write::pass;
use crate::{PostgresIndex, failed};

#[async_trait]
impl DiscoveryLog for PostgresIndex {
    async fn discovery(&self, list: &str) -> Result<DiscoveryProgress, IndexError> {
        let row: Option<(String, i64, i64)> =
            sqlx::query_as("SELECT cursor, finished_at, accounts FROM discovery WHERE list = $1")
                .bind(codec::text(list))
                .fetch_optional(&self.readers)
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
        let found: BTreeMap<&str, &str> = accounts
            .iter()
            .map(|account| {
                let rev = account.rev.as_ref().map_or("", |rev| rev.as_str());
                (account.did.as_str(), rev)
            })
            .collect();
        let dids: Vec<&str> = found.keys().copied().collect();
        let revs: Vec<&str> = found.values().copied().collect();
        let mut transaction = self.writing().await.map_err(failed)?;
        pass(&mut transaction, fence).await?;
        let new: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM unnest($1::text[]) AS j(did) LEFT JOIN account a ON a.did = j.did WHERE coalesce(a.rev, '') = ''",
        )
        .bind(&dids)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO work (did, lane, due) \
             SELECT j.did, CASE WHEN coalesce(a.rev, '') = '' THEN $3 ELSE $4 END, $5 \
             FROM unnest($1::text[], $2::text[]) AS j(did, rev) LEFT JOIN account a ON a.did = j.did \
             WHERE coalesce(a.rev, '') = '' OR a.coverage <> 2 OR a.status <> 0 OR a.rev <> j.rev \
             ORDER BY j.did COLLATE \"C\" {QUEUED_ALREADY}"
        )))
        .bind(&dids)
        .bind(&revs)
        .bind(lane_code(Lane::Discovered))
        .bind(lane_code(Lane::Audit))
        .bind(micros(now))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        // After the last page the next reading begins at the start, and counts anew.
        sqlx::query(
            "INSERT INTO discovery (list, cursor, finished_at, accounts) \
             VALUES ($1, $2, CASE WHEN $2 = '' THEN $3 ELSE 0 END, $4) \
             ON CONFLICT (list) DO UPDATE SET cursor = excluded.cursor, \
                 finished_at = CASE WHEN excluded.cursor = '' THEN excluded.finished_at ELSE discovery.finished_at END, \
                 accounts = CASE WHEN discovery.cursor = '' THEN 0 ELSE discovery.accounts END + excluded.accounts",
        )
        .bind(codec::text(list))
        .bind(codec::text(next.unwrap_or_default()))
        .bind(micros(now))
        .bind(i64::try_from(accounts.len()).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(stored::count(new))
    }
}
