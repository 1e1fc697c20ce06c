//! The work queue: one row for each account.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::change::{Lane, QueuedWork};
use atcr_index::ports::{ClaimedWork, WorkQueue};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::{self, lane_code, micros};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::rows::rows;
use crate::{SqliteIndex, failed};

/// What becomes of an account that is queued already. One that waits after a failure, or because it had enough turns, goes on waiting,
/// unless a person asks for it.
pub(crate) const QUEUED_ALREADY: &str = "ON CONFLICT (did) DO UPDATE SET lane = min(lane, excluded.lane), \
     due = iif(work.attempts > 0 AND excluded.lane <> 0, work.due, min(work.due, excluded.due)), again = claimed_until > 0";

/// Queues `work` in the caller's transaction.
pub(crate) async fn enqueue(
    connection: &mut SqliteConnection,
    work: &[QueuedWork],
) -> Result<(), sqlx::Error> {
    if work.is_empty() {
        return Ok(());
    }
    let values: Vec<Row> = work
        .iter()
        .map(|work| row![work.did.as_str(), lane_code(work.lane), micros(work.due)])
        .collect();
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO work (did, lane, due) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true {QUEUED_ALREADY}"
    )))
    .bind(rows(values))
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl WorkQueue for SqliteIndex {
    async fn enqueue(&self, work: &[QueuedWork]) -> Result<(), IndexError> {
        let mut connection = self.database.writer().acquire().await.map_err(failed)?;
        enqueue(&mut connection, work).await.map_err(failed)
    }

    async fn claim(
        &self,
        lanes: &[Lane],
        limit: u32,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ClaimedWork>, IndexError> {
        let mut transaction = self
            .database
            .writer()
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let mut claimed = Vec::new();
        let mut left = limit;
        // Lane by lane: rows that are not due yet are not looked at.
        for lane in lanes.iter().copied() {
            let of_lane: Vec<(String, i64)> = sqlx::query_as(
                "UPDATE work SET claimed_until = ?3, again = 0 WHERE did IN ( \
                     SELECT did FROM work INDEXED BY work_by_lane WHERE lane = ?4 AND due <= ?2 AND claimed_until <= ?2 \
                     ORDER BY due LIMIT ?1) \
                 RETURNING did, attempts",
            )
            .bind(left)
            .bind(micros(now))
            .bind(micros(until))
            .bind(lane_code(lane))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
            left = left.saturating_sub(u32::try_from(of_lane.len()).unwrap_or(u32::MAX));
            for (did, attempts) in of_lane {
                claimed.push(ClaimedWork {
                    did: stored::did(&did)?,
                    lane,
                    attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                });
            }
            if left == 0 {
                break;
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(claimed)
    }

    async fn finish(&self, did: &Did) -> Result<(), IndexError> {
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query("DELETE FROM work WHERE did = ? AND again = 0")
            .bind(did.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("UPDATE work SET claimed_until = 0, again = 0, attempts = 0 WHERE did = ?")
            .bind(did.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn retry(&self, did: &Did, due: DateTime<Utc>) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE work SET claimed_until = 0, again = 0, attempts = attempts + 1, due = ? WHERE did = ?",
        )
        .bind(micros(due))
        .bind(did.as_str())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn enqueue_all(&self, lane: Lane, due: DateTime<Utc>) -> Result<u64, IndexError> {
        let queued = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO work (did, lane, due) SELECT did, ?1, ?2 FROM account WHERE rev <> '' {QUEUED_ALREADY}"
        )))
        .bind(lane_code(lane))
        .bind(micros(due))
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(queued.rows_affected())
    }
}
