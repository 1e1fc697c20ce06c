//! The table of scans. `rows` reads what the queries return.

mod rows;

use std::collections::BTreeMap;

use async_trait::async_trait;
use atcr_atproto::lexicon::BlobRef;
use atcr_oci::Digest;
use atcr_scan_protocol::{DocumentKind, JobState};
use atcr_server::database::Database;
use atcr_server::port_call::PortCall;
use chrono::{DateTime, Utc};
use sqlx::{Sqlite, Transaction};

use crate::scanning::{Candidate, Fate, HandedOut, JobStatus, QueueFigures, Scan, ScanTable, ScanTableError};
use rows::{DocumentRow, JobRow, ScanRow, StatusRow, documents, number, seq_number, time};

/// What [`JobRow`] reads.
const JOB: &str = "seq, digest, owner, repository, tag, priority, handed_out_at";

/// [`ScanTable`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteScans {
    database: Database,
}

impl SqliteScans {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn begin(&self) -> Result<Transaction<'_, Sqlite>, ScanTableError> {
        self.database.writer().begin().await.map_err(failed)
    }

    async fn with_documents(&self, row: ScanRow) -> Result<Scan, ScanTableError> {
        let found: Vec<DocumentRow> =
            sqlx::query_as("SELECT kind, cid, mime_type, size_bytes FROM scan_documents WHERE digest = ?")
                .bind(row.digest.clone())
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        row.with(documents(found)?)
    }
}

#[async_trait]
impl ScanTable for SqliteScans {
    async fn queue(
        &self,
        candidate: &Candidate,
        now: DateTime<Utc>,
        fresh: DateTime<Utc>,
    ) -> Result<bool, ScanTableError> {
        let call = PortCall::database("queue_scan");
        let mut step = self.begin().await?;
        let is_scanned: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM scans WHERE digest = ? AND scanned_at > ?)")
                .bind(candidate.digest.as_str())
                .bind(fresh.timestamp_millis())
                .fetch_one(&mut *step)
                .await
                .map_err(failed)?;
        let state = match (candidate.not_applicable, is_scanned) {
            (Some(_), _) => JobState::NotApplicable,
            (None, true) => JobState::Done,
            (None, false) => JobState::Ready,
        };
        // A push again is a reason to try again what failed.
        let queueing = sqlx::query(
            "INSERT INTO scan_jobs (digest, owner, repository, tag, state, priority, queued_at, tries, failure_class, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)
             ON CONFLICT (digest, owner) DO UPDATE SET repository = excluded.repository, tag = coalesce(excluded.tag, tag),
                 state = excluded.state, priority = excluded.priority, queued_at = excluded.queued_at, tries = 0, seq = NULL, due_at = NULL,
                 stage = NULL, failure_class = excluded.failure_class, failure = NULL, ended_at = excluded.ended_at
             WHERE scan_jobs.state NOT IN ('ready', 'running')",
        )
        .bind(candidate.digest.as_str())
        .bind(candidate.owner.as_str())
        .bind(&candidate.repository)
        .bind(&candidate.tag)
        .bind(state.as_str())
        .bind(candidate.priority)
        .bind(now.timestamp_millis())
        .bind(candidate.not_applicable)
        .bind((state != JobState::Ready).then(|| now.timestamp_millis()))
        .execute(&mut *step);
        let changed = call.run(queueing).await.map_err(failed)?.rows_affected();
        step.commit().await.map_err(failed)?;
        Ok(changed > 0 && state == JobState::Ready)
    }

    async fn last_seq(&self) -> Result<u64, ScanTableError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(seq) FROM scan_jobs WHERE seq IS NOT NULL")
            .fetch_one(self.database.readers())
            .await
            .map_err(failed)?;
        number(last.unwrap_or_default(), "scan_jobs.seq")
    }

    async fn hand_out(
        &self,
        seq: u64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        since: Option<DateTime<Utc>>,
    ) -> Result<Option<HandedOut>, ScanTableError> {
        // Each order has an index of its own, so that only jobs of manifests that run already are looked at in vain.
        let order = match since {
            None => "WHERE job.state = 'ready' AND ?4 IS NULL",
            Some(_) => "WHERE job.state = 'ready' AND job.queued_at >= ?4",
        };
        let by = match since {
            None => "ORDER BY job.priority, job.queued_at, job.id",
            Some(_) => "ORDER BY job.queued_at, job.id",
        };
        let statement = format!(
            "UPDATE scan_jobs SET state = 'running', seq = ?1, handed_out_at = ?2, leased_until = ?3, stage = NULL
             WHERE id = (SELECT job.id FROM scan_jobs job {order}
                 AND NOT EXISTS (SELECT 1 FROM scan_jobs other WHERE other.digest = job.digest AND other.state = 'running')
                 {by} LIMIT 1)
             RETURNING {JOB}"
        );
        let giving = sqlx::query_as::<_, JobRow>(sqlx::AssertSqlSafe(statement))
            .bind(seq_number(seq))
            .bind(now.timestamp_millis())
            .bind(until.timestamp_millis())
            .bind(since.map(|since| since.timestamp_millis()))
            .fetch_optional(self.database.writer());
        let call = PortCall::database("hand_out_scan");
        let row = call.run(giving).await.map_err(failed)?;
        row.map(TryInto::try_into).transpose()
    }

    async fn running(&self, seq: u64, digest: &Digest) -> Result<Option<HandedOut>, ScanTableError> {
        let statement =
            format!("SELECT {JOB} FROM scan_jobs WHERE seq = ? AND digest = ? AND state = 'running'");
        let row: Option<JobRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(seq_number(seq))
            .bind(digest.as_str())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        row.map(TryInto::try_into).transpose()
    }

    async fn awaited(&self, digest: &Digest, seq: Option<u64>) -> Result<Option<HandedOut>, ScanTableError> {
        let statement = format!(
            "SELECT {JOB} FROM scan_jobs WHERE digest = ?1 AND seq IS NOT NULL AND (?2 IS NULL OR seq = ?2)
                 AND state IN ('running', 'ready', 'resting')
             ORDER BY state = 'running' DESC, handed_out_at DESC LIMIT 1"
        );
        let row: Option<JobRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(digest.as_str())
            .bind(seq.map(seq_number))
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        row.map(TryInto::try_into).transpose()
    }

    async fn renew(
        &self,
        seq: u64,
        digest: &Digest,
        stage: Option<&str>,
        until: DateTime<Utc>,
    ) -> Result<bool, ScanTableError> {
        let renewed = sqlx::query(
            "UPDATE scan_jobs SET leased_until = ?, stage = coalesce(?, stage) WHERE seq = ? AND digest = ? AND state = 'running'",
        )
        .bind(until.timestamp_millis())
        .bind(stage)
        .bind(seq_number(seq))
        .bind(digest.as_str())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(renewed.rows_affected() > 0)
    }

    async fn tries(&self, seq: u64) -> Result<Option<u32>, ScanTableError> {
        let tries: Option<i64> = sqlx::query_scalar(
            "SELECT tries FROM scan_jobs WHERE seq = ? AND state IN ('running', 'ready', 'resting')",
        )
        .bind(seq_number(seq))
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        tries
            .map(|tries| {
                u32::try_from(tries).map_err(|_| ScanTableError::Corrupt {
                    column: "scan_jobs.tries",
                })
            })
            .transpose()
    }

    async fn end(
        &self,
        seq: u64,
        fate: &Fate,
        class: Option<&str>,
        reason: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, ScanTableError> {
        let (state, due, tried) = match fate {
            Fate::Ready { counts } => (JobState::Ready, None, i64::from(*counts)),
            Fate::RestsUntil(due) => (JobState::Resting, Some(due.timestamp_millis()), 1),
            Fate::Failed => (JobState::Failed, None, 1),
            Fate::NotApplicable => (JobState::NotApplicable, None, 0),
        };
        let is_over = matches!(fate, Fate::Failed | Fate::NotApplicable);
        let mut step = self.begin().await?;
        // Nobody has the job any more whose lease this was, unless a message about it comes late: the number stays.
        let ended = sqlx::query(
            "UPDATE scan_jobs SET state = ?1, due_at = ?2, tries = tries + ?3, leased_until = NULL, stage = NULL,
                 failure_class = coalesce(?4, failure_class), failure = coalesce(?5, failure), ended_at = ?6
             WHERE seq = ?7 AND state = 'running'",
        )
        .bind(state.as_str())
        .bind(due)
        .bind(tried)
        .bind(class)
        .bind(reason)
        .bind(is_over.then(|| now.timestamp_millis()))
        .bind(seq_number(seq))
        .execute(&mut *step)
        .await
        .map_err(failed)?;
        forget_uploads(&mut step, seq).await?;
        step.commit().await.map_err(failed)?;
        Ok(ended.rows_affected() > 0)
    }

    async fn finish(&self, seq: u64, scan: &Scan, publish: bool) -> Result<bool, ScanTableError> {
        let call = PortCall::database("finish_scan");
        call.run(self.take_result(seq, scan, publish)).await
    }

    async fn lapsed(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<u64>, ScanTableError> {
        let lapsed: Vec<i64> = sqlx::query_scalar(
            "SELECT seq FROM scan_jobs WHERE state = 'running' AND leased_until < ? ORDER BY leased_until LIMIT ?",
        )
        .bind(now.timestamp_millis())
        .bind(limit)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        lapsed
            .into_iter()
            .map(|seq| number(seq, "scan_jobs.seq"))
            .collect()
    }

    async fn wake(&self, now: DateTime<Utc>) -> Result<u64, ScanTableError> {
        let woken = sqlx::query(
            "UPDATE scan_jobs SET state = 'ready', due_at = NULL WHERE state = 'resting' AND due_at <= ?",
        )
        .bind(now.timestamp_millis())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(woken.rows_affected())
    }

    async fn queue_again(
        &self,
        before: DateTime<Utc>,
        priority: i64,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<u64, ScanTableError> {
        let queued = sqlx::query(
            "UPDATE scan_jobs SET state = 'ready', priority = ?, queued_at = ?, tries = 0, seq = NULL, ended_at = NULL
             WHERE id IN (SELECT id FROM scan_jobs WHERE state IN ('done', 'failed') AND ended_at < ? ORDER BY ended_at LIMIT ?)",
        )
        .bind(priority)
        .bind(now.timestamp_millis())
        .bind(before.timestamp_millis())
        .bind(limit)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(queued.rows_affected())
    }

    async fn note_upload(&self, seq: u64, kind: DocumentKind, blob: &BlobRef) -> Result<(), ScanTableError> {
        sqlx::query(
            "INSERT INTO scan_uploads (seq, kind, cid, mime_type, size_bytes) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (seq, kind) DO UPDATE SET cid = excluded.cid, size_bytes = excluded.size_bytes",
        )
        .bind(seq_number(seq))
        .bind(kind.as_str())
        .bind(blob.cid.to_string())
        .bind(&blob.mime_type)
        .bind(i64::try_from(blob.size).unwrap_or(i64::MAX))
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn uploads(&self, seq: u64) -> Result<BTreeMap<DocumentKind, BlobRef>, ScanTableError> {
        let found: Vec<DocumentRow> =
            sqlx::query_as("SELECT kind, cid, mime_type, size_bytes FROM scan_uploads WHERE seq = ?")
                .bind(seq_number(seq))
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        documents(found)
    }

    async fn scan(&self, digest: &Digest) -> Result<Option<Scan>, ScanTableError> {
        let row: Option<ScanRow> = sqlx::query_as("SELECT * FROM scans WHERE digest = ?")
            .bind(digest.as_str())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        match row {
            Some(row) => self.with_documents(row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn status(&self, digest: &Digest, count_to: u32) -> Result<Option<JobStatus>, ScanTableError> {
        let row: Option<StatusRow> = sqlx::query_as(
            "SELECT id, state, priority, queued_at, stage, tries, failure_class, failure, ended_at FROM scan_jobs
             WHERE digest = ? ORDER BY state = 'running' DESC, state = 'ready' DESC, coalesce(ended_at, queued_at) DESC LIMIT 1",
        )
        .bind(digest.as_str())
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let ahead: Option<i64> = if row.state == JobState::Ready.as_str() {
            let counting = sqlx::query_scalar(
                "SELECT COUNT(*) FROM (SELECT 1 FROM scan_jobs WHERE state = 'ready'
                     AND (priority, queued_at, id) < (?, ?, ?) LIMIT ?)",
            )
            .bind(row.priority)
            .bind(row.queued_at)
            .bind(row.id)
            .bind(count_to)
            .fetch_one(self.database.readers());
            Some(counting.await.map_err(failed)?)
        } else {
            None
        };
        row.with(ahead).map(Some)
    }

    async fn unpublished(&self, limit: u32) -> Result<Vec<Scan>, ScanTableError> {
        let rows: Vec<ScanRow> =
            sqlx::query_as("SELECT * FROM scans WHERE is_published = 0 ORDER BY digest LIMIT ?")
                .bind(limit)
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        let mut scans = Vec::with_capacity(rows.len());
        for row in rows {
            scans.push(self.with_documents(row).await?);
        }
        Ok(scans)
    }

    async fn published(&self, scan: &Scan) -> Result<(), ScanTableError> {
        sqlx::query("UPDATE scans SET is_published = 1 WHERE digest = ? AND scanned_at = ?")
            .bind(scan.digest.as_str())
            .bind(scan.scanned_at.timestamp_millis())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn figures(&self) -> Result<QueueFigures, ScanTableError> {
        let call = PortCall::database("count_scan_jobs");
        let counting = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM scan_jobs WHERE state = 'ready'),
                    (SELECT COUNT(*) FROM scan_jobs WHERE state = 'resting'),
                    (SELECT COUNT(*) FROM scan_jobs WHERE state = 'running'),
                    (SELECT MIN(queued_at) FROM scan_jobs INDEXED BY scan_jobs_new WHERE state = 'ready')",
        )
        .fetch_one(self.database.readers());
        let (ready, resting, running, oldest): (i64, i64, i64, Option<i64>) =
            call.run(counting).await.map_err(failed)?;
        Ok(QueueFigures {
            ready: number(ready, "scan_jobs")?,
            resting: number(resting, "scan_jobs")?,
            running: number(running, "scan_jobs")?,
            oldest: oldest
                .map(|oldest| time(oldest, "scan_jobs.queued_at"))
                .transpose()?,
        })
    }
}

impl SqliteScans {
    async fn take_result(&self, seq: u64, scan: &Scan, publish: bool) -> Result<bool, ScanTableError> {
        let digest = scan.digest.as_str();
        let mut step = self.begin().await?;
        let done = sqlx::query(
            "UPDATE scan_jobs SET state = 'done', tries = 0, leased_until = NULL, due_at = NULL, stage = NULL,
                 failure_class = NULL, failure = NULL, ended_at = ?1
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
            return Ok(false);
        }
        forget_uploads(&mut step, seq).await?;
        let known: Option<String> = sqlx::query_scalar("SELECT state FROM scans WHERE digest = ?")
            .bind(digest)
            .fetch_optional(&mut *step)
            .await
            .map_err(failed)?;
        let is_better = known
            .as_deref()
            .and_then(atcr_scan_protocol::ScanState::from_word)
            .is_some_and(|known| known.has_counts() && !scan.state.has_counts());
        if !is_better {
            replace(&mut step, scan, publish).await?;
        }
        step.commit().await.map_err(failed)?;
        Ok(true)
    }
}

async fn replace(
    step: &mut Transaction<'_, Sqlite>,
    scan: &Scan,
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
    .bind(scan.owner.as_str())
    .bind(&scan.repository)
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
    for (kind, blob) in &scan.documents {
        sqlx::query(
            "INSERT INTO scan_documents (digest, kind, cid, mime_type, size_bytes) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(scan.digest.as_str())
        .bind(kind.as_str())
        .bind(blob.cid.to_string())
        .bind(&blob.mime_type)
        .bind(count(blob.size))
        .execute(&mut **step)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

async fn forget_uploads(step: &mut Transaction<'_, Sqlite>, seq: u64) -> Result<(), ScanTableError> {
    sqlx::query("DELETE FROM scan_uploads WHERE seq = ?")
        .bind(seq_number(seq))
        .execute(&mut **step)
        .await
        .map_err(failed)?;
    Ok(())
}

fn failed(error: sqlx::Error) -> ScanTableError {
    ScanTableError::Database(Box::new(error))
}
