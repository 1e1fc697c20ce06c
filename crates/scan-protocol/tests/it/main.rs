//! What both ends can rely on: round trips, the forms that an original peer uses, and bounds.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "test helpers outside of test functions"
)]

mod forms;
mod refusals;
mod round_trips;

use std::collections::BTreeMap;

use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_scan_protocol::{ScanJob, ScanResult, ScanState};

pub(crate) const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(crate) fn job() -> ScanJob {
    ScanJob {
        seq: 7,
        digest: DIGEST.parse().expect("a digest"),
        repository: "app".to_owned(),
        user_did: "did:plc:7iza6de2dwap2sbkpav7c6c6".parse().expect("a DID"),
        hold_did: "did:web:hold.example.com".parse().expect("a DID"),
        hold_endpoint: "https://hold.example.com".parse().expect("a URL"),
        tag: Some("1.0".to_owned()),
        priority: 2,
        results_url: Some("https://hold.example.com/scan-results/7".parse().expect("a URL")),
        lease_seconds: Some(120),
        cyclonedx: true,
        list_url: Some("https://hold.example.com/scans/list".parse().expect("a URL")),
    }
}

pub(crate) fn result() -> ScanResult {
    ScanResult {
        seq: Some(7),
        digest: DIGEST.parse().expect("a digest"),
        summary: SeverityCounts {
            critical: 1,
            high: 2,
            medium: 3,
            low: 4,
            total: 12,
        },
        sbom: Some("{\"spdxVersion\":\"SPDX-2.3\"}".into()),
        vuln_report: Some("{\"matches\":[]}".into()),
        uploaded: false,
        state: ScanState::Complete,
        error: None,
        error_class: None,
        scanner_version: Some("atcr-scanner-v1.0.0".to_owned()),
        database_built: Some("2026-11-30T00:00:00Z".parse().expect("a time")),
        tools: BTreeMap::from([("syft".to_owned(), "1.57.0".to_owned())]),
    }
}
