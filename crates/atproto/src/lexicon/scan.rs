//! `io.atcr.hold.scan`: what a scanner found in an image.

use serde::{Deserialize, Serialize};

use super::{BlobRef, Record, manifest, nsid};
use crate::syntax::{AtUri, Datetime, Did, RecordKey, SyntaxError};

/// The result of the latest scan of a manifest; a new scan replaces it.
///
/// # Spec
/// `io.atcr.hold.scan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanRecord {
    /// The scanned manifest's record.
    pub manifest: AtUri,
    /// The image name without the identity.
    pub repository: String,
    /// The image's owner.
    pub user_did: Did,
    /// How many of each severity.
    #[serde(flatten)]
    pub severities: SeverityCounts,
    /// Name and version of the scanner.
    pub scanner_version: String,
    /// When.
    pub scanned_at: Datetime,
    /// The SBOM, SPDX JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom_blob: Option<BlobRef>,
    /// The report, Grype JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vuln_report_blob: Option<BlobRef>,
}

/// Vulnerabilities by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeverityCounts {
    /// Critical.
    pub critical: u64,
    /// High.
    pub high: u64,
    /// Medium.
    pub medium: u64,
    /// Low.
    pub low: u64,
    /// All, those without a severity included: may exceed the sum of the others.
    pub total: u64,
}

impl Record for ScanRecord {
    const NSID: &'static str = nsid::HOLD_SCAN;
}

impl ScanRecord {
    /// A result without its two blobs.
    #[must_use]
    pub fn new(
        manifest: AtUri,
        repository: impl Into<String>,
        user: Did,
        severities: SeverityCounts,
        scanner_version: impl Into<String>,
        scanned_at: Datetime,
    ) -> Self {
        Self {
            manifest,
            repository: repository.into(),
            user_did: user,
            severities,
            scanner_version: scanner_version.into(),
            scanned_at,
            sbom_blob: None,
            vuln_report_blob: None,
        }
    }
}

/// The key of the result for the manifest with `digest`.
///
/// # Errors
/// [`SyntaxError`] if `digest` is not a SHA-256 or SHA-512 digest.
pub fn rkey(digest: &str) -> Result<RecordKey, SyntaxError> {
    manifest::rkey(digest)
}
