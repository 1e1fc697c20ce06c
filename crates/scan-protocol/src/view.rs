//! What a hold of ours tells those who may read an image about its scan: `GET /scans/{digest}`, and the documents below it.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{JobState, ScanState};

/// Everything that the hold knows about the scan of one manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanView {
    /// The manifest.
    pub digest: Digest,
    /// The last result that was no failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultView>,
    /// Where its job stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobView>,
    /// Who scans here.
    pub scanners: ScannersView,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultView {
    /// `complete`, `partial` or `sbom-only`.
    pub state: ScanState,
    /// The account whose image it was when it was scanned.
    pub owner: Did,
    /// The counts; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SeverityCounts>,
    /// Name and version of the scanner.
    pub scanner_version: String,
    /// RFC 3339, UTC.
    pub scanned_at: DateTime<Utc>,
    /// RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_built: Option<DateTime<Utc>>,
    /// Names and versions of the tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
    /// Its documents, by [`DocumentKind`](crate::DocumentKind).
    #[serde(default)]
    pub documents: BTreeMap<String, DocumentView>,
}

/// A document, which is served below the view's own address under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentView {
    /// The CID of what is kept: the hash of its bytes.
    pub cid: String,
    /// Bytes.
    pub size: u64,
    /// The media type.
    pub media_type: String,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// What it does.
    pub state: JobState,
    /// RFC 3339, UTC.
    pub queued_at: DateTime<Utc>,
    /// Jobs that come before it, at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u32>,
    /// What the scanner says it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Failures in a row.
    pub tries: u32,
    /// Why it is not applicable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureView {
    /// Its class, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// RFC 3339, UTC, of one that was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// Who scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScannersView {
    /// Whether scanners may connect.
    pub enabled: bool,
    /// How many are connected.
    pub connected: u32,
}
