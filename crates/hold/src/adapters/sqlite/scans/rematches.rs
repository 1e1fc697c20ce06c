//! Results whose packages are looked up again in a newer vulnerability database.

use atcr_oci::Digest;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};

use super::failed;
use crate::scanning::ScanTableError;

/// Lists results, as [`outdated`](crate::scanning::ScanTable::outdated) says. It reads as many rows as are outdated.
pub(super) async fn outdated(
    database: &Database,
    newest: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Digest>, ScanTableError> {
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT scans.digest FROM scans
         LEFT JOIN counts ON counts.owner = scans.owner AND counts.repository = scans.repository
         WHERE coalesce(scans.database_built, 0) < ?
             AND EXISTS (SELECT 1 FROM scan_documents list WHERE list.digest = scans.digest AND list.kind = 'sbom-syft')
             AND EXISTS (SELECT 1 FROM scan_jobs job WHERE job.digest = scans.digest AND job.state = 'done')
             AND NOT EXISTS (SELECT 1 FROM scan_jobs job WHERE job.digest = scans.digest AND job.state IN ('ready', 'resting', 'running'))
         ORDER BY coalesce(counts.pulls, 0) DESC, scans.scanned_at LIMIT ?",
    )
    .bind(newest.timestamp_millis())
    .bind(limit)
    .fetch_all(database.readers())
    .await
    .map_err(failed)?;
    let digests = found.iter().map(|digest| digest.parse());
    digests
        .collect::<Result<_, _>>()
        .map_err(|_| ScanTableError::Corrupt {
            column: "scans.digest",
        })
}

/// Makes jobs ready, as [`queue_rematches`](crate::scanning::ScanTable::queue_rematches) says.
pub(super) async fn queue(
    database: &Database,
    digests: &[Digest],
    newest: DateTime<Utc>,
    priority: i64,
    now: DateTime<Utc>,
) -> Result<u64, ScanTableError> {
    let mut step = database.writer().begin().await.map_err(failed)?;
    let mut queued = 0;
    for (turn, digest) in (0_i64..).zip(digests) {
        // One job does for all owners: its result ends those of the others.
        let made_ready = sqlx::query(
            "UPDATE scan_jobs SET state = 'ready', priority = ?1, queued_at = ?2, turn = ?5, tries = 0, seq = NULL, due_at = NULL,
                 failure_class = NULL, failure = NULL, ended_at = NULL,
                 is_rematch = 1
             WHERE id = (SELECT job.id FROM scan_jobs job JOIN scans ON scans.digest = job.digest
                 WHERE job.digest = ?3 AND job.state = 'done' AND coalesce(scans.database_built, 0) < ?4
                     AND NOT EXISTS (SELECT 1 FROM scan_jobs other WHERE other.digest = ?3 AND other.state IN ('ready', 'resting', 'running'))
                 ORDER BY job.owner = scans.owner DESC, job.id LIMIT 1)",
        )
        .bind(priority)
        .bind(now.timestamp_millis())
        .bind(digest.as_str())
        .bind(newest.timestamp_millis())
        .bind(turn)
        .execute(&mut *step)
        .await
        .map_err(failed)?;
        queued += made_ready.rows_affected();
    }
    step.commit().await.map_err(failed)?;
    Ok(queued)
}

/// Ends jobs, as [`end_rematches`](crate::scanning::ScanTable::end_rematches) says.
pub(super) async fn end(database: &Database, newest: Option<DateTime<Utc>>) -> Result<u64, ScanTableError> {
    let ended = sqlx::query(
        "UPDATE scan_jobs SET state = 'done', is_rematch = 0,
             ended_at = coalesce((SELECT scanned_at FROM scans WHERE scans.digest = scan_jobs.digest), queued_at)
         WHERE state = 'ready' AND is_rematch = 1 AND (?1 IS NULL
             OR coalesce((SELECT database_built FROM scans WHERE scans.digest = scan_jobs.digest), 0) >= ?1)",
    )
    .bind(newest.map(|built| built.timestamp_millis()))
    .execute(database.writer())
    .await
    .map_err(failed)?;
    Ok(ended.rows_affected())
}
