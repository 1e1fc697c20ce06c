//! What no end takes, and that the refusal repeats nothing of it.

use atcr_scan_protocol::bounds::MAX_DOCUMENT_BYTES;
use atcr_scan_protocol::{HoldMessage, ScannerMessage};
use serde_json::{Value, json};

use crate::{DIGEST, job};

#[test]
fn malformed_results() {
    let with = |field: &str, value: Value| {
        let mut message = json!({"type": "scan_result", "digest": DIGEST, "summary": {"total": 1}});
        message[field] = value;
        message
    };
    let cases = [
        with("digest", json!("sha256:abc")),
        with("digest", json!(null)),
        with("digest", json!("<script>")),
        with("summary", json!({"total": -1})),
        with("summary", json!({"total": 1.5})),
        with("summary", json!({"high": u64::MAX, "low": u64::MAX})),
        with("summary", json!([1, 2])),
        with("summary", json!(null)),
        with("state", json!("excellent")),
        with("sbom", json!("<not base64>")),
        with("sbom", json!({"$bytes": "*"})),
        with("sbom", json!(7)),
        with("vulnReport", json!([1])),
        with(
            "tools",
            json!({"1":"","2":"","3":"","4":"","5":"","6":"","7":"","8":"","9":""}),
        ),
        with("databaseBuilt", json!("yesterday")),
        with("seq", json!(-1)),
        json!({"type": "scan_progress", "digest": DIGEST}),
        json!({"type": "scan_release", "seq": 1}),
        json!(["scan_result"]),
    ];
    for case in cases {
        let error = ScannerMessage::decode(&case.to_string()).expect_err(&case.to_string());
        assert!(!error.to_string().contains('<'), "{error}");
    }
    ScannerMessage::decode("").unwrap_err();
    ScannerMessage::decode(&"[".repeat(100_000)).unwrap_err();
    ScannerMessage::decode(&format!(
        r#"{{"type":"scan_result","sbom":{}"#,
        "{\"a\":".repeat(100_000)
    ))
    .unwrap_err();
}

#[test]
fn a_document_beyond_its_bound() {
    let text = format!(
        r#"{{"type":"scan_result","digest":"{DIGEST}","summary":{{"total":0}},"sbom":"{{{}"}}"#,
        " ".repeat(MAX_DOCUMENT_BYTES)
    );
    let error = ScannerMessage::decode(&text).unwrap_err();
    assert!(error.to_string().contains("100 MiB"), "{error}");
}

#[test]
fn malformed_jobs() {
    let with = |field: &str, value: Value| {
        let mut message: Value = serde_json::from_str(&job().encode().unwrap()).unwrap();
        message[field] = value;
        message
    };
    let cases = [
        with("digest", json!("md5:00")),
        with("userDid", json!("alice")),
        with("holdEndpoint", json!("file:///etc/passwd")),
        with("resultsUrl", json!("javascript:alert(1)")),
        with("repository", json!("")),
        with("repository", json!("r".repeat(257))),
        with("tag", json!("t".repeat(257))),
        with("leaseSeconds", json!(0)),
        with("leaseSeconds", json!(1_000_000_000)),
        with("seq", json!("7")),
        with("padding", json!("x".repeat(65536))),
    ];
    for case in cases {
        HoldMessage::decode(&case.to_string()).expect_err(&case.to_string());
    }
}
