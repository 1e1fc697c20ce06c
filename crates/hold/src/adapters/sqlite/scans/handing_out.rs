//! The next job of a scanner.

use atcr_server::database::Database;
use chrono::{DateTime, Utc};

use super::rows::{JobRow, seq_number};
use super::{JOB, failed, forget_uploads};
use crate::scanning::{HandedOut, ScanTableError, Taker};

/// Hands a job out, as [`hand_out`](crate::scanning::ScanTable::hand_out) says.
pub(super) async fn hand_out(
    database: &Database,
    seq: u64,
    taker: Taker,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    patience: DateTime<Utc>,
) -> Result<Option<HandedOut>, ScanTableError> {
    // Each order has an index of its own, so that only jobs are looked at in vain that run already or have to be alone.
    let (order, by) = match taker.since {
        None => ("?1 IS NULL", "job.priority, job.turn, job.queued_at, job.id"),
        Some(_) => ("job.queued_at >= ?1", "job.queued_at, job.id"),
    };
    let whom = if taker.is_idle {
        "?2 = ?2"
    } else {
        "job.failure_class IS NOT 'lost' AND NOT EXISTS (SELECT 1 FROM scan_jobs lost
             WHERE lost.state = 'ready' AND lost.failure_class = 'lost' AND lost.due_at < ?2
             AND lost.priority <= job.priority AND (?1 IS NULL OR lost.queued_at >= ?1))"
    };
    let choice = format!(
        "SELECT job.id, job.seq FROM scan_jobs job WHERE job.state = 'ready' AND {order} AND {whom}
             AND (job.is_rematch = 0
                 OR coalesce((SELECT database_built FROM scans WHERE scans.digest = job.digest), 0) < ?3)
             AND NOT EXISTS (SELECT 1 FROM scan_jobs other WHERE other.digest = job.digest AND other.state = 'running')
         ORDER BY {by} LIMIT 1"
    );
    let mut step = database.writer().begin().await.map_err(failed)?;
    let chosen: Option<(i64, Option<i64>)> = sqlx::query_as(sqlx::AssertSqlSafe(choice))
        .bind(taker.since.map(|since| since.timestamp_millis()))
        .bind(patience.timestamp_millis())
        .bind(taker.database.map(|built| built.timestamp_millis()))
        .fetch_optional(&mut *step)
        .await
        .map_err(failed)?;
    let Some((id, before)) = chosen else {
        return Ok(None);
    };
    if let Some(before) = before {
        forget_uploads(&mut step, before).await?;
    }
    let statement = format!(
        "UPDATE scan_jobs SET state = 'running', seq = ?1, holder = ?2, handed_out_at = ?3, leased_until = ?4, due_at = NULL,
             stage = NULL WHERE id = ?5 RETURNING {JOB}"
    );
    let row: JobRow = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(seq_number(seq))
        .bind(seq_number(taker.holder))
        .bind(now.timestamp_millis())
        .bind(until.timestamp_millis())
        .bind(id)
        .fetch_one(&mut *step)
        .await
        .map_err(failed)?;
    step.commit().await.map_err(failed)?;
    HandedOut::try_from(row).map(Some)
}
