//! The work queue: one row for each account.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::change::{Lane, QueuedWork};
use atcr_index::ports::{ClaimedWork, WorkQueue};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::codec::{self, micros, rows};
use crate::{SqliteIndex, failed};

const LANES: [Lane; 4] = [Lane::Asked, Lane::Gap, Lane::Discovered, Lane::Audit];

pub(crate) fn lane_code(lane: Lane) -> i64 {
    LANES
        .iter()
        .position(|known| *known == lane)
        .and_then(|code| i64::try_from(code).ok())
        .unwrap_or(0)
}

/// Queues `work` in the caller's transaction.
pub(crate) async fn enqueue(
    connection: &mut SqliteConnection,
    work: &[QueuedWork],
) -> Result<(), sqlx::Error> {
    if work.is_empty() {
        return Ok(());
    }
    let values: Vec<Value> = work
        .iter()
        .map(|work| json!([work.did.as_str(), lane_code(work.lane), micros(work.due)]))
        .collect();
    sqlx::query(
        "INSERT INTO work (did, lane, due) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true \
         ON CONFLICT (did) DO UPDATE SET lane = min(lane, excluded.lane), due = min(due, excluded.due), \
             again = claimed_until > 0",
    )
    .bind(rows(&values))
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
        limit: u32,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ClaimedWork>, IndexError> {
        let claimed: Vec<(String, i64, i64)> = sqlx::query_as(
            "UPDATE work SET claimed_until = ?3, again = 0 WHERE did IN ( \
                 SELECT did FROM work INDEXED BY work_by_lane WHERE lane >= 0 AND due <= ?2 AND claimed_until <= ?2 \
                 ORDER BY lane, due LIMIT ?1) \
             RETURNING did, lane, attempts",
        )
        .bind(limit)
        .bind(micros(now))
        .bind(micros(until))
        .fetch_all(self.database.writer())
        .await
        .map_err(failed)?;
        let mut claimed = claimed
            .into_iter()
            .map(|(did, lane, attempts)| {
                let lane = usize::try_from(lane).ok().and_then(|lane| LANES.get(lane));
                Ok(ClaimedWork {
                    did: codec::did(&did)?,
                    lane: *lane.ok_or(IndexError::Corrupt("a lane"))?,
                    attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                })
            })
            .collect::<Result<Vec<_>, IndexError>>()?;
        claimed.sort_by_key(|work| work.lane);
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
        let queued = sqlx::query(
            "INSERT INTO work (did, lane, due) SELECT did, ?1, ?2 FROM account WHERE rev <> '' \
             ON CONFLICT (did) DO UPDATE SET lane = min(lane, excluded.lane), due = min(due, excluded.due), \
                 again = claimed_until > 0",
        )
        .bind(lane_code(lane))
        .bind(micros(due))
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(queued.rows_affected())
    }
}
