//! What the hold's owner sees of the jobs, and makes due again.

use atcr_oci::Digest;
use atcr_scan_protocol::JobState;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Sqlite};

use super::failed;
use super::rows::ListedRow;
use crate::scanning::{ListedJob, ScanTableError};

/// Lists jobs, as [`jobs`](crate::scanning::ScanTable::jobs) says.
pub(super) async fn list(
    database: &Database,
    states: &[JobState],
    limit: u32,
) -> Result<Vec<ListedJob>, ScanTableError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT id, digest, owner, repository, tag, state, priority, turn, queued_at, stage, tries, failure_class, failure, ended_at
         FROM scan_jobs WHERE state IN (",
    );
    let mut list = query.separated(", ");
    for state in states {
        list.push_bind(state.as_str());
    }
    query.push(") ORDER BY coalesce(ended_at, queued_at) DESC, id DESC LIMIT ");
    query.push_bind(limit);
    let rows: Vec<ListedRow> = query
        .build_query_as()
        .fetch_all(database.readers())
        .await
        .map_err(failed)?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Makes jobs due, as [`try_again`](crate::scanning::ScanTable::try_again) says. They rest until now, so that the upkeep of a hold that
/// runs beside finds them.
pub(super) async fn try_again(
    database: &Database,
    digest: Option<&Digest>,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<u64, ScanTableError> {
    let which = match digest {
        Some(_) => "digest = ?2 AND (state IN ('done', 'failed') OR (state = 'resting' AND due_at > ?1))",
        None => "?2 IS NULL AND state = 'failed'",
    };
    let statement = format!(
        "UPDATE scan_jobs SET state = 'resting', due_at = ?1, queued_at = ?1, priority = MIN(priority, 0), turn = 0, tries = 0, seq = NULL, is_rematch = 0,
             leased_until = NULL, stage = NULL, failure_class = NULL, failure = NULL, ended_at = NULL
         WHERE id IN (SELECT id FROM scan_jobs WHERE {which} LIMIT ?3)"
    );
    let queued = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(now.timestamp_millis())
        .bind(digest.map(Digest::as_str))
        .bind(limit)
        .execute(database.writer())
        .await
        .map_err(failed)?;
    Ok(queued.rows_affected())
}
