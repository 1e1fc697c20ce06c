//! Rows of the table of scans, and what they say.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_scan_protocol::{DocumentKind, JobState, ScanState};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::scanning::{HandedOut, JobStatus, ListedJob, Scan, ScanTableError};

#[derive(FromRow)]
pub(super) struct JobRow {
    seq: i64,
    digest: String,
    owner: String,
    repository: String,
    tag: Option<String>,
    priority: i64,
    handed_out_at: i64,
    was_lost: bool,
    is_rematch: bool,
}

impl TryFrom<JobRow> for HandedOut {
    type Error = ScanTableError;

    fn try_from(row: JobRow) -> Result<Self, ScanTableError> {
        Ok(Self {
            seq: number(row.seq, "scan_jobs.seq")?,
            digest: parsed(&row.digest, "scan_jobs.digest")?,
            owner: parsed(&row.owner, "scan_jobs.owner")?,
            repository: row.repository,
            tag: row.tag,
            priority: row.priority,
            at: time(row.handed_out_at, "scan_jobs.handed_out_at")?,
            was_lost: row.was_lost,
            is_rematch: row.is_rematch,
        })
    }
}

#[derive(FromRow)]
pub(super) struct StatusRow {
    pub(super) id: i64,
    pub(super) state: String,
    pub(super) priority: i64,
    pub(super) turn: i64,
    pub(super) queued_at: i64,
    stage: Option<String>,
    tries: i64,
    failure_class: Option<String>,
    failure: Option<String>,
    ended_at: Option<i64>,
}

impl StatusRow {
    pub(super) fn with(self, ahead: Option<i64>) -> Result<JobStatus, ScanTableError> {
        let small = |value: i64, column| u32::try_from(value).map_err(|_| ScanTableError::Corrupt { column });
        Ok(JobStatus {
            state: JobState::from_word(&self.state).ok_or(ScanTableError::Corrupt {
                column: "scan_jobs.state",
            })?,
            queued_at: time(self.queued_at, "scan_jobs.queued_at")?,
            ahead: ahead.map(|ahead| small(ahead, "scan_jobs")).transpose()?,
            stage: self.stage,
            tries: small(self.tries, "scan_jobs.tries")?,
            failure_class: self.failure_class,
            failure: self.failure,
            ended_at: self
                .ended_at
                .map(|at| time(at, "scan_jobs.ended_at"))
                .transpose()?,
        })
    }
}

/// A job, and where it stands.
#[derive(FromRow)]
pub(super) struct ListedRow {
    digest: String,
    owner: String,
    repository: String,
    tag: Option<String>,
    #[sqlx(flatten)]
    status: StatusRow,
}

impl TryFrom<ListedRow> for ListedJob {
    type Error = ScanTableError;

    fn try_from(row: ListedRow) -> Result<Self, ScanTableError> {
        Ok(Self {
            digest: parsed(&row.digest, "scan_jobs.digest")?,
            owner: parsed(&row.owner, "scan_jobs.owner")?,
            repository: row.repository,
            tag: row.tag,
            status: row.status.with(None)?,
        })
    }
}

#[derive(FromRow)]
pub(super) struct ScanRow {
    pub(super) digest: String,
    owner: String,
    repository: String,
    state: String,
    critical: i64,
    high: i64,
    medium: i64,
    low: i64,
    total: i64,
    scanner_version: String,
    database_built: Option<i64>,
    tools: String,
    scanned_at: i64,
}

impl ScanRow {
    pub(super) fn with(self, documents: BTreeMap<DocumentKind, BlobRef>) -> Result<Scan, ScanTableError> {
        Ok(Scan {
            digest: parsed(&self.digest, "scans.digest")?,
            owner: parsed(&self.owner, "scans.owner")?,
            repository: self.repository,
            state: ScanState::from_word(&self.state).ok_or(ScanTableError::Corrupt {
                column: "scans.state",
            })?,
            counts: SeverityCounts {
                critical: number(self.critical, "scans.critical")?,
                high: number(self.high, "scans.high")?,
                medium: number(self.medium, "scans.medium")?,
                low: number(self.low, "scans.low")?,
                total: number(self.total, "scans.total")?,
            },
            scanner_version: self.scanner_version,
            database_built: self
                .database_built
                .map(|built| time(built, "scans.database_built"))
                .transpose()?,
            tools: serde_json::from_str(&self.tools).map_err(|_| ScanTableError::Corrupt {
                column: "scans.tools",
            })?,
            scanned_at: time(self.scanned_at, "scans.scanned_at")?,
            documents,
        })
    }
}

#[derive(FromRow)]
pub(super) struct DocumentRow {
    kind: String,
    cid: String,
    mime_type: String,
    size_bytes: i64,
}

pub(super) fn documents(rows: Vec<DocumentRow>) -> Result<BTreeMap<DocumentKind, BlobRef>, ScanTableError> {
    rows.into_iter()
        .map(|row| {
            let kind = parsed(&row.kind, "scan_documents.kind")?;
            let blob = BlobRef {
                cid: parsed(&row.cid, "scan_documents.cid")?,
                mime_type: row.mime_type,
                size: number(row.size_bytes, "scan_documents.size_bytes")?,
            };
            Ok((kind, blob))
        })
        .collect()
}

pub(super) fn number(value: i64, column: &'static str) -> Result<u64, ScanTableError> {
    u64::try_from(value).map_err(|_| ScanTableError::Corrupt { column })
}

/// A scanner may name any number; the table has those that fit.
pub(super) fn seq_number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(-1)
}

pub(super) fn time(millis: i64, column: &'static str) -> Result<DateTime<Utc>, ScanTableError> {
    DateTime::from_timestamp_millis(millis).ok_or(ScanTableError::Corrupt { column })
}

fn parsed<T: std::str::FromStr>(text: &str, column: &'static str) -> Result<T, ScanTableError> {
    text.parse().map_err(|_| ScanTableError::Corrupt { column })
}
