//! The table of scans. `queueing` puts jobs into it, `handing_out` gives them to scanners, `by_hand` is for who looks after it, `results`
//! puts what was found; `rematches` has it looked up again; `rows` reads what the queries return.

mod by_hand;
mod handing_out;
mod queueing;
mod rematches;
mod results;
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

use crate::scanning::{
    Candidate, Claim, Fate, HandedOut, JobStatus, ListedJob, QueueFigures, Queued, Room, Scan, ScanTable,
    ScanTableError, Taken, Taker, Trouble,
};
use queueing::queue_one;
use rows::{DocumentRow, JobRow, ScanRow, StatusRow, documents, number, seq_number, time};

/// What [`JobRow`] reads.
const JOB: &str = "seq, digest, owner, repository, tag, priority, handed_out_at, coalesce(failure_class = 'lost', 0) AS was_lost,
    is_rematch AND EXISTS (SELECT 1 FROM scans WHERE scans.digest = scan_jobs.digest \
    AND (scans.state <> 'sbom-only' OR scans.database_built IS NOT NULL)) AS is_rematch";
/// Jobs that are counted for the state of the queue, of each state.
const COUNTED: u32 = 100_000;

/// Old results of which the most pulled are made again first.
const OLDEST: u32 = 1000;

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
        candidates: &[Candidate],
        now: DateTime<Utc>,
        fresh: DateTime<Utc>,
        most: u32,
    ) -> Result<Queued, ScanTableError> {
        let call = PortCall::database("queue_scans");
        let queueing = async {
            let mut step = self.begin().await?;
            let mut queued = Queued::default();
            for candidate in candidates {
                let one = queue_one(&mut step, candidate, now, fresh, most).await?;
                queued.ready += one.ready;
                queued.refused += one.refused;
            }
            step.commit().await.map_err(failed)?;
            Ok(queued)
        };
        call.run(queueing).await
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
        taker: Taker,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        patience: DateTime<Utc>,
    ) -> Result<Option<HandedOut>, ScanTableError> {
        let call = PortCall::database("hand_out_scan");
        let giving = handing_out::hand_out(&self.database, seq, taker, now, until, patience);
        call.run(giving).await
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
        holder: u64,
        stage: Option<&str>,
        until: DateTime<Utc>,
    ) -> Result<bool, ScanTableError> {
        let renewed = sqlx::query(
            "UPDATE scan_jobs SET holder = ?, leased_until = ?, stage = coalesce(?, stage)
             WHERE seq = ? AND digest = ? AND state = 'running'",
        )
        .bind(seq_number(holder))
        .bind(until.timestamp_millis())
        .bind(stage)
        .bind(seq_number(seq))
        .bind(digest.as_str())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(renewed.rows_affected() > 0)
    }

    async fn held_by(&self, holder: u64) -> Result<Vec<u64>, ScanTableError> {
        let held: Vec<i64> =
            sqlx::query_scalar("SELECT seq FROM scan_jobs WHERE state = 'running' AND holder = ?")
                .bind(seq_number(holder))
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        seqs(held)
    }

    async fn trouble(&self, seq: u64) -> Result<Option<Trouble>, ScanTableError> {
        let trouble: Option<(i64, bool)> = sqlx::query_as(
            "SELECT tries, coalesce(failure_class = 'lost', 0) FROM scan_jobs
             WHERE seq = ? AND state IN ('running', 'ready', 'resting')",
        )
        .bind(seq_number(seq))
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        let Some((tries, was_lost)) = trouble else {
            return Ok(None);
        };
        let tries = u32::try_from(tries).map_err(|_| ScanTableError::Corrupt {
            column: "scan_jobs.tries",
        })?;
        Ok(Some(Trouble { tries, was_lost }))
    }

    async fn end(
        &self,
        seq: u64,
        claim: Claim,
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
        let (holder, lapsed) = match claim {
            Claim::Message => (None, None),
            Claim::Holder(holder) => (Some(seq_number(holder)), None),
            Claim::Lapse(now) => (None, Some(now.timestamp_millis())),
        };
        let is_over = matches!(fate, Fate::Failed | Fate::NotApplicable);
        let mut step = self.begin().await?;
        // What could not be looked up again is scanned. A message about it may come late: number and documents stay until another has the job or it is over.
        let ended = sqlx::query(
            "UPDATE scan_jobs SET state = ?1, due_at = ?2, tries = tries + ?3, is_rematch = is_rematch AND ?3 = 0, leased_until = NULL, stage = NULL,
                 failure_class = coalesce(?4, failure_class), failure = coalesce(?5, failure), ended_at = ?6
             WHERE seq = ?7 AND state = 'running' AND (?8 IS NULL OR holder = ?8) AND (?9 IS NULL OR leased_until < ?9)",
        )
        .bind(state.as_str())
        .bind(due)
        .bind(tried)
        .bind(class)
        .bind(reason)
        .bind(is_over.then(|| now.timestamp_millis()))
        .bind(seq_number(seq))
        .bind(holder)
        .bind(lapsed)
        .execute(&mut *step)
        .await
        .map_err(failed)?;
        let has_ended = ended.rows_affected() > 0;
        if has_ended && is_over {
            forget_uploads(&mut step, seq_number(seq)).await?;
        }
        step.commit().await.map_err(failed)?;
        Ok(has_ended)
    }

    async fn finish(
        &self,
        seq: u64,
        scan: &Scan,
        publish: bool,
        room: Room,
    ) -> Result<Taken, ScanTableError> {
        let call = PortCall::database("finish_scan");
        call.run(results::take(&self.database, seq, scan, publish, room))
            .await
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
        seqs(lapsed)
    }

    async fn wake(&self, now: DateTime<Utc>) -> Result<u64, ScanTableError> {
        // In the turn that the queue has reached. Since when a job is due says how long it has waited for a scanner without another.
        let woken = sqlx::query(
            "UPDATE scan_jobs SET state = 'ready', turn = coalesce(
                 (SELECT MIN(first.turn) FROM scan_jobs first WHERE first.state = 'ready' AND first.priority = scan_jobs.priority), 0)
             WHERE state = 'resting' AND due_at <= ?",
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
        // The query takes a bounded number of the oldest results and puts popular images first. So images without pulls also have their turn,
        // and a long backlog costs no more than a short one.
        let queued = sqlx::query(
            "UPDATE scan_jobs SET state = 'ready', priority = ?, queued_at = ?, turn = 0, tries = 0, seq = NULL, due_at = NULL, is_rematch = 0,
                 failure_class = NULL, failure = NULL, ended_at = NULL
             WHERE id IN (SELECT due.id FROM (SELECT id, owner, repository, ended_at FROM scan_jobs
                     WHERE state IN ('done', 'failed') AND ended_at < ?
                     AND (state = 'done' OR failure_class IS NULL
                         OR (failure_class NOT IN ('lost', 'fetch') AND failure_class NOT LIKE 'fetch:%'))
                     ORDER BY ended_at LIMIT ?) due
                 LEFT JOIN counts ON counts.owner = due.owner AND counts.repository = due.repository
                 ORDER BY coalesce(counts.pulls, 0) DESC, due.ended_at LIMIT ?)",
        )
        .bind(priority)
        .bind(now.timestamp_millis())
        .bind(before.timestamp_millis())
        .bind(limit.max(OLDEST))
        .bind(limit)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(queued.rows_affected())
    }

    async fn outdated(&self, database: DateTime<Utc>, limit: u32) -> Result<Vec<Digest>, ScanTableError> {
        let call = PortCall::database("outdated_scans");
        call.run(rematches::outdated(&self.database, database, limit))
            .await
    }

    async fn queue_rematches(
        &self,
        digests: &[Digest],
        database: DateTime<Utc>,
        priority: i64,
        now: DateTime<Utc>,
    ) -> Result<u64, ScanTableError> {
        let call = PortCall::database("queue_rematches");
        call.run(rematches::queue(&self.database, digests, database, priority, now))
            .await
    }

    async fn end_rematches(&self, database: Option<DateTime<Utc>>) -> Result<u64, ScanTableError> {
        rematches::end(&self.database, database).await
    }

    async fn queue_lost_result(&self, digest: &Digest, now: DateTime<Utc>) -> Result<u64, ScanTableError> {
        let queued = sqlx::query(
            "UPDATE scan_jobs SET state = 'ready', queued_at = ?, turn = 0, tries = 0, seq = NULL, is_rematch = 0, ended_at = NULL
             WHERE digest = ? AND state = 'done'",
        )
        .bind(now.timestamp_millis())
        .bind(digest.as_str())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(queued.rows_affected())
    }

    async fn expire(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, ScanTableError> {
        let jobs = sqlx::query(
            "DELETE FROM scan_jobs WHERE id IN (SELECT id FROM scan_jobs job
                 WHERE state IN ('failed', 'not-applicable') AND ended_at < ?
                 AND NOT EXISTS (SELECT 1 FROM scans WHERE scans.digest = job.digest) ORDER BY ended_at LIMIT ?)",
        )
        .bind(before.timestamp_millis())
        .bind(limit)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        let uploads = sqlx::query(
            "DELETE FROM scan_uploads WHERE seq IN (SELECT DISTINCT seq FROM scan_uploads upload WHERE NOT EXISTS (
                 SELECT 1 FROM scan_jobs job WHERE job.seq = upload.seq AND job.state IN ('ready', 'resting', 'running')) LIMIT ?)",
        )
        .bind(limit)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(jobs.rows_affected() + uploads.rows_affected())
    }

    async fn note_upload(
        &self,
        seq: u64,
        kind: DocumentKind,
        blob: &BlobRef,
    ) -> Result<bool, ScanTableError> {
        let noted = sqlx::query(
            "INSERT INTO scan_uploads (seq, kind, cid, mime_type, size_bytes) SELECT ?1, ?2, ?3, ?4, ?5
             WHERE EXISTS (SELECT 1 FROM scan_jobs WHERE seq = ?1 AND state IN ('ready', 'resting', 'running'))
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
        Ok(noted.rows_affected() > 0)
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
            "SELECT id, state, priority, turn, queued_at, stage, tries, failure_class, failure, ended_at FROM scan_jobs
             WHERE digest = ? ORDER BY CASE state WHEN 'running' THEN 0 WHEN 'ready' THEN 1 WHEN 'resting' THEN 2 WHEN 'done' THEN 3
                 WHEN 'failed' THEN 4 ELSE 5 END, coalesce(ended_at, queued_at) DESC LIMIT 1",
        )
        .bind(digest.as_str())
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let ahead: Option<i64> = if row.state == JobState::Ready.as_str() {
            let counting = sqlx::query_scalar(
                "SELECT COUNT(*) FROM (SELECT 1 FROM scan_jobs WHERE state = 'ready'
                     AND (priority, turn, queued_at, id) < (?, ?, ?, ?) LIMIT ?)",
            )
            .bind(row.priority)
            .bind(row.turn)
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

    async fn jobs(&self, states: &[JobState], limit: u32) -> Result<Vec<ListedJob>, ScanTableError> {
        by_hand::list(&self.database, states, limit).await
    }

    async fn try_again(
        &self,
        digest: Option<&Digest>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64, ScanTableError> {
        by_hand::try_again(&self.database, digest, now, limit).await
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
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM scan_jobs WHERE state = 'ready' LIMIT ?1)),
                    (SELECT COUNT(*) FROM (SELECT 1 FROM scan_jobs WHERE state = 'resting' LIMIT ?1)),
                    (SELECT COUNT(*) FROM (SELECT 1 FROM scan_jobs WHERE state = 'running' LIMIT ?1)),
                    (SELECT MIN(queued_at) FROM scan_jobs INDEXED BY scan_jobs_new WHERE state = 'ready')",
        )
        .bind(COUNTED)
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

fn seqs(found: Vec<i64>) -> Result<Vec<u64>, ScanTableError> {
    let each = found.into_iter().map(|seq| number(seq, "scan_jobs.seq"));
    each.collect()
}

async fn forget_uploads(step: &mut Transaction<'_, Sqlite>, seq: i64) -> Result<(), ScanTableError> {
    sqlx::query("DELETE FROM scan_uploads WHERE seq = ?")
        .bind(seq)
        .execute(&mut **step)
        .await
        .map_err(failed)?;
    Ok(())
}

fn failed(error: sqlx::Error) -> ScanTableError {
    ScanTableError::Database(Box::new(error))
}
