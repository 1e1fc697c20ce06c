//! Candidates become jobs.

use atcr_scan_protocol::JobState;
use chrono::{DateTime, Utc};
use sqlx::{Sqlite, Transaction};

use super::failed;
use crate::scanning::{Candidate, Queued, ScanTableError};

/// Queues one candidate, as [`queue`](crate::scanning::ScanTable::queue) says.
pub(super) async fn queue_one(
    step: &mut Transaction<'_, Sqlite>,
    candidate: &Candidate,
    now: DateTime<Utc>,
    fresh: DateTime<Utc>,
    most: u32,
) -> Result<Queued, ScanTableError> {
    let (is_scanned, is_waiting): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM scans WHERE digest = ?1 AND scanned_at > ?2),
                EXISTS (SELECT 1 FROM scan_jobs WHERE digest = ?1 AND owner = ?3 AND state IN ('ready', 'resting', 'running')
                    AND NOT (state = 'ready' AND is_rematch = 1))",
    )
    .bind(candidate.digest.as_str())
    .bind(fresh.timestamp_millis())
    .bind(candidate.owner.as_str())
    .fetch_one(&mut **step)
    .await
    .map_err(failed)?;
    if is_waiting {
        return Ok(Queued::default());
    }
    let state = match (candidate.not_applicable, is_scanned) {
        (Some(_), _) => JobState::NotApplicable,
        (None, true) => JobState::Done,
        (None, false) => JobState::Ready,
    };
    let is_ready = state == JobState::Ready;
    if is_ready && has_its_share(step, candidate, most).await? {
        return Ok(Queued { ready: 0, refused: 1 });
    }
    let turn = if is_ready {
        next_turn(step, candidate).await?
    } else {
        0
    };
    // A push again is a reason to try again what was given up.
    sqlx::query(
        "INSERT INTO scan_jobs (digest, owner, repository, tag, state, priority, turn, queued_at, tries, failure_class, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10)
         ON CONFLICT (digest, owner) DO UPDATE SET repository = excluded.repository, tag = coalesce(excluded.tag, tag),
             state = excluded.state, priority = excluded.priority, turn = excluded.turn, queued_at = excluded.queued_at, tries = 0,
             seq = NULL, due_at = NULL, stage = NULL, is_rematch = 0, failure_class = excluded.failure_class, failure = NULL,
             ended_at = excluded.ended_at",
    )
    .bind(candidate.digest.as_str())
    .bind(candidate.owner.as_str())
    .bind(&candidate.repository)
    .bind(&candidate.tag)
    .bind(state.as_str())
    .bind(candidate.priority)
    .bind(turn)
    .bind(now.timestamp_millis())
    .bind(candidate.not_applicable)
    .bind((!is_ready).then(|| now.timestamp_millis()))
    .execute(&mut **step)
    .await
    .map_err(failed)?;
    Ok(Queued {
        ready: u64::from(is_ready),
        refused: 0,
    })
}

async fn has_its_share(
    step: &mut Transaction<'_, Sqlite>,
    candidate: &Candidate,
    most: u32,
) -> Result<bool, ScanTableError> {
    // Counted from the share on, so that a backlog of any length costs the same.
    let beyond = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM scan_jobs INDEXED BY scan_jobs_waiting
             WHERE owner = ?1 AND state IN ('ready', 'resting', 'running') LIMIT 1 OFFSET ?2)",
    )
    .bind(candidate.owner.as_str())
    .bind(most.saturating_sub(1))
    .fetch_one(&mut **step);
    beyond.await.map_err(failed)
}

/// After the last one of this owner, and not before the turn that the queue has reached.
async fn next_turn(step: &mut Transaction<'_, Sqlite>, candidate: &Candidate) -> Result<i64, ScanTableError> {
    let turn = sqlx::query_scalar(
        "SELECT MAX(
             coalesce((SELECT MAX(turn) + 1 FROM scan_jobs WHERE owner = ?1 AND priority = ?2 AND state = 'ready'), 0),
             coalesce((SELECT MIN(turn) FROM scan_jobs WHERE priority = ?2 AND state = 'ready'), 0))",
    )
    .bind(candidate.owner.as_str())
    .bind(candidate.priority)
    .fetch_one(&mut **step);
    turn.await.map_err(failed)
}
