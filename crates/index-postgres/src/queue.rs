//! The work queue: one row for each account. Several servers work on it: a claim passes by rows that another one is claiming, and whoever
//! writes several rows takes them in the order of their keys.

use std::collections::BTreeMap;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::change::{Lane, QueuedWork};
use atcr_index::ports::{ClaimedWork, WorkQueue};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::{self, lane_code, micros};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::rows::set;
use crate::{PostgresIndex, failed};

/// What becomes of an account that is queued already. One that waits after a failure, or because it had enough turns, goes on waiting,
/// unless a person asks for it.
pub(crate) const QUEUED_ALREADY: &str = "ON CONFLICT (did) DO UPDATE SET lane = least(work.lane, excluded.lane), \
     due = CASE WHEN work.attempts > 0 AND excluded.lane <> 0 THEN work.due ELSE least(work.due, excluded.due) END, \
     again = work.claimed_until > 0";

/// Queues `work` in the caller's transaction.
pub(crate) async fn enqueue(connection: &mut PgConnection, work: &[QueuedWork]) -> Result<(), sqlx::Error> {
    // One row for each account: the first lane, and the earliest time.
    let mut queued: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for work in work {
        let (lane, due) = (lane_code(work.lane), micros(work.due));
        queued
            .entry(work.did.as_str())
            .and_modify(|known| *known = (known.0.min(lane), known.1.min(due)))
            .or_insert((lane, due));
    }
    let values: Vec<Row> = queued
        .into_iter()
        .map(|(did, (lane, due))| row![did, lane, due])
        .collect();
    set(
        connection,
        &format!(
            "INSERT INTO work (did, lane, due) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS j(did, lane, due) \
             ORDER BY j.did COLLATE \"C\" {QUEUED_ALREADY}"
        ),
        values,
    )
    .await
}

#[async_trait]
impl WorkQueue for PostgresIndex {
    async fn enqueue(&self, work: &[QueuedWork]) -> Result<(), IndexError> {
        let mut connection = self.writers.acquire().await.map_err(failed)?;
        enqueue(&mut connection, work).await.map_err(failed)
    }

    async fn claim(
        &self,
        lanes: &[Lane],
        limit: u32,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ClaimedWork>, IndexError> {
        let mut transaction = self.writers.begin().await.map_err(failed)?;
        let mut claimed = Vec::new();
        let mut left = limit;
        // Lane by lane: rows that are not due yet are not looked at.
        for lane in lanes.iter().copied() {
            let of_lane: Vec<(String, i64)> = sqlx::query_as(
                "UPDATE work w SET claimed_until = $3, again = false FROM ( \
                     SELECT did FROM work WHERE lane = $4 AND due <= $2 AND claimed_until <= $2 \
                     ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED) due \
                 WHERE w.did = due.did RETURNING w.did, w.attempts",
            )
            .bind(i64::from(left))
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
        let mut transaction = self.writers.begin().await.map_err(failed)?;
        let gone = sqlx::query("DELETE FROM work WHERE did = $1 AND NOT again")
            .bind(did.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if gone.rows_affected() == 0 {
            sqlx::query("UPDATE work SET claimed_until = 0, again = false, attempts = 0 WHERE did = $1")
                .bind(did.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn retry(&self, did: &Did, due: DateTime<Utc>) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE work SET claimed_until = 0, again = false, attempts = attempts + 1, due = $1 WHERE did = $2",
        )
        .bind(micros(due))
        .bind(did.as_str())
        .execute(&self.writers)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn enqueue_all(&self, lane: Lane, due: DateTime<Utc>) -> Result<u64, IndexError> {
        let queued = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO work (did, lane, due) SELECT did, $1, $2 FROM account WHERE rev <> '' ORDER BY did {QUEUED_ALREADY}"
        )))
        .bind(lane_code(lane))
        .bind(micros(due))
        .execute(&self.writers)
        .await
        .map_err(failed)?;
        Ok(queued.rows_affected())
    }
}
