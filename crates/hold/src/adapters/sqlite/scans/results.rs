//! What was found goes into the table.

use atcr_scan_protocol::{DocumentKind, ScanState};
use atcr_server::database::Database;
use sqlx::{Sqlite, Transaction};

use super::rows::{DocumentRow, ScanRow, documents, seq_number};
use super::{failed, forget_uploads};
use crate::scanning::{Room, Scan, ScanTableError, Taken};

/// The row of all owners' documents.
const IN_ALL: &str = "";

/// Takes a result, as [`finish`](crate::scanning::ScanTable::finish) says.
pub(super) async fn take(
    database: &Database,
    seq: u64,
    scan: &Scan,
    publish: bool,
    room: Room,
) -> Result<Taken, ScanTableError> {
    let digest = scan.digest.as_str();
    let mut step = database.writer().begin().await.map_err(failed)?;
    let merged = with_lists(&mut step, seq, scan).await?;
    let scan = merged.as_ref().unwrap_or(scan);
    let done = sqlx::query(
        "UPDATE scan_jobs SET state = 'done', tries = 0, leased_until = NULL, due_at = NULL, stage = NULL,
             failure_class = NULL, failure = NULL, is_rematch = 0, ended_at = ?1
         WHERE digest = ?2 AND state IN ('running', 'ready', 'resting')
             AND EXISTS (SELECT 1 FROM scan_jobs WHERE seq = ?3 AND digest = ?2 AND state IN ('running', 'ready', 'resting'))",
    )
    .bind(scan.scanned_at.timestamp_millis())
    .bind(digest)
    .bind(seq_number(seq))
    .execute(&mut *step)
    .await
    .map_err(failed)?;
    if done.rows_affected() == 0 {
        return Ok(Taken::Unexpected);
    }
    forget_uploads(&mut step, seq_number(seq)).await?;
    // Whose result it is stays as it was, while the manifest is that owner's here.
    let known: Option<(String, String, String, bool)> = sqlx::query_as(
        "SELECT state, owner, repository, EXISTS (SELECT 1 FROM scan_jobs job WHERE job.digest = scans.digest AND job.owner = scans.owner)
         FROM scans WHERE digest = ?",
    )
        .bind(digest)
        .fetch_optional(&mut *step)
        .await
        .map_err(failed)?;
    let is_better = known
        .as_ref()
        .and_then(|(state, ..)| ScanState::from_word(state))
        .is_some_and(|known| known.has_counts() && !scan.state.has_counts());
    let mut taken = Taken::Kept;
    if !is_better {
        let kept = known.as_ref().filter(|(.., has_job)| *has_job);
        let of = kept.map_or(
            (scan.owner.as_str(), scan.repository.as_str()),
            |(_, owner, repository, _)| (owner.as_str(), repository.as_str()),
        );
        let before = known.as_ref().map(|(_, owner, ..)| owner.as_str());
        if !make_room(&mut step, scan, before, of.0, room).await? {
            taken = Taken::WithoutDocuments;
        }
        replace(&mut step, scan, of, publish).await?;
        if taken == Taken::Kept {
            note_documents(&mut step, scan).await?;
        }
    }
    step.commit().await.map_err(failed)?;
    Ok(taken)
}

/// What was found in the packages of the result before, with the lists of that; `None` for a result with its own.
async fn with_lists(
    step: &mut Transaction<'_, Sqlite>,
    seq: u64,
    scan: &Scan,
) -> Result<Option<Scan>, ScanTableError> {
    if scan.documents.contains_key(&DocumentKind::Sbom) {
        return Ok(None);
    }
    let known: Option<ScanRow> = sqlx::query_as(
        "SELECT scans.* FROM scans JOIN scan_jobs job ON job.digest = scans.digest
         WHERE job.seq = ?1 AND job.digest = ?2 AND job.is_rematch = 1",
    )
    .bind(seq_number(seq))
    .bind(scan.digest.as_str())
    .fetch_optional(&mut **step)
    .await
    .map_err(failed)?;
    let Some(known) = known else { return Ok(None) };
    let lists: Vec<DocumentRow> = sqlx::query_as(
        "SELECT kind, cid, mime_type, size_bytes FROM scan_documents WHERE digest = ? AND kind <> 'vuln-report'",
    )
    .bind(scan.digest.as_str())
    .fetch_all(&mut **step)
    .await
    .map_err(failed)?;
    let known = known.with(documents(lists)?)?;
    let mut merged = scan.clone();
    merged.state = known.state;
    merged.documents.extend(known.documents);
    // Who listed them is still true.
    merged.tools = known.tools;
    merged.tools.extend(scan.tools.clone());
    Ok(Some(merged))
}

async fn replace(
    step: &mut Transaction<'_, Sqlite>,
    scan: &Scan,
    (owner, repository): (&str, &str),
    publish: bool,
) -> Result<(), ScanTableError> {
    let counts = scan.counts;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let tools = serde_json::to_string(&scan.tools).map_err(|error| ScanTableError::Database(error.into()))?;
    sqlx::query(
        "INSERT OR REPLACE INTO scans (digest, owner, repository, state, critical, high, medium, low, total, scanner_version,
             database_built, tools, scanned_at, is_published) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(scan.digest.as_str())
    .bind(owner)
    .bind(repository)
    .bind(scan.state.as_str())
    .bind(count(counts.critical))
    .bind(count(counts.high))
    .bind(count(counts.medium))
    .bind(count(counts.low))
    .bind(count(counts.total))
    .bind(&scan.scanner_version)
    .bind(scan.database_built.map(|built| built.timestamp_millis()))
    .bind(tools)
    .bind(scan.scanned_at.timestamp_millis())
    .bind(i64::from(!publish))
    .execute(&mut **step)
    .await
    .map_err(failed)?;
    sqlx::query("DELETE FROM scan_documents WHERE digest = ?")
        .bind(scan.digest.as_str())
        .execute(&mut **step)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn note_documents(step: &mut Transaction<'_, Sqlite>, scan: &Scan) -> Result<(), ScanTableError> {
    for (kind, blob) in &scan.documents {
        sqlx::query(
            "INSERT INTO scan_documents (digest, kind, cid, mime_type, size_bytes) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(scan.digest.as_str())
        .bind(kind.as_str())
        .bind(blob.cid.to_string())
        .bind(&blob.mime_type)
        .bind(i64::try_from(blob.size).unwrap_or(i64::MAX))
        .execute(&mut **step)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// Counts the documents of `scan` in place of those before it. Whether there is room for them; else none is counted.
async fn make_room(
    step: &mut Transaction<'_, Sqlite>,
    scan: &Scan,
    before: Option<&str>,
    owner: &str,
    room: Room,
) -> Result<bool, ScanTableError> {
    if let Some(before) = before {
        let freed: i64 =
            sqlx::query_scalar("SELECT coalesce(SUM(size_bytes), 0) FROM scan_documents WHERE digest = ?")
                .bind(scan.digest.as_str())
                .fetch_one(&mut **step)
                .await
                .map_err(failed)?;
        count_bytes(step, before, -freed).await?;
    }
    let wanted: u64 = scan.documents.values().map(|blob| blob.size).sum();
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    for (whose, most) in [(owner, room.of_owner), (IN_ALL, room.in_all)] {
        let kept: i64 =
            sqlx::query_scalar("SELECT coalesce((SELECT bytes FROM scan_document_bytes WHERE owner = ?), 0)")
                .bind(whose)
                .fetch_one(&mut **step)
                .await
                .map_err(failed)?;
        if kept.saturating_add(wanted) > i64::try_from(most).unwrap_or(i64::MAX) {
            return Ok(false);
        }
    }
    count_bytes(step, owner, wanted).await?;
    Ok(true)
}

async fn count_bytes(
    step: &mut Transaction<'_, Sqlite>,
    owner: &str,
    change: i64,
) -> Result<(), ScanTableError> {
    for whose in [owner, IN_ALL] {
        sqlx::query(
            "INSERT INTO scan_document_bytes (owner, bytes) VALUES (?1, MAX(?2, 0))
             ON CONFLICT (owner) DO UPDATE SET bytes = MAX(bytes + ?2, 0)",
        )
        .bind(whose)
        .bind(change)
        .execute(&mut **step)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
