//! The forms in which an original scanner, or another program, may write the same.

use atcr_scan_protocol::{HoldMessage, ScanResult, ScanState, ScannerMessage};
use serde_json::{Value, json};

use crate::DIGEST;

fn read(message: &Value) -> ScanResult {
    match ScannerMessage::decode(&message.to_string()).expect("a valid message") {
        ScannerMessage::Result(result) => *result,
        other => panic!("not a result: {other:?}"),
    }
}

#[test]
fn documents_are_read_in_every_form() {
    let document = r#"{"a":"ä"}"#;
    let forms = [
        json!({"$bytes": "eyJhIjoiw6QifQ"}),
        json!({"$bytes": "eyJhIjoiw6QifQ=="}),
        json!("eyJhIjoiw6QifQ=="),
        json!("eyJhIjoiw6QifQ"),
        json!(document),
        json!({"a": "ä"}),
    ];
    for form in forms {
        let result = read(&json!({
            "type": "scan_result", "digest": DIGEST, "summary": {"total": 0}, "sbom": form, "vulnReport": form,
        }));
        assert_eq!(result.sbom.as_deref(), Some(document.as_bytes()), "{form}");
        assert_eq!(result.vuln_report, result.sbom);
    }
    for nothing in [json!(null), json!("")] {
        let result = read(&json!({
            "type": "scan_result", "digest": DIGEST, "summary": {"total": 0}, "sbom": nothing,
        }));
        assert_eq!(result.sbom, None);
    }
}

#[test]
fn a_result_of_an_original_scanner_is_complete_or_failed() {
    let complete = read(&json!({
        "type": "scan_result", "digest": DIGEST, "scannerVersion": "atcr-scanner-v1.0.0",
        "summary": {"critical": 1, "high": 0, "medium": 0, "low": 1, "total": 1}, "later": {"x": [1]},
    }));
    assert_eq!(complete.state, ScanState::Complete);
    // More findings than there are in all.
    assert_eq!(complete.summary.total, 2);
    let failed = read(&json!({"type": "result", "manifestDigest": DIGEST, "error": "no space left"}));
    assert_eq!(failed.state, ScanState::Failed);
    assert_eq!(failed.summary.total, 0);
}

#[test]
fn other_messages_are_passed_over() {
    for text in [
        r#"{"type":"ack","seq":1}"#,
        r#"{"type":"error","error":"x"}"#,
        "{}",
        r#"{"type":""}"#,
    ] {
        assert_eq!(ScannerMessage::decode(text).unwrap(), ScannerMessage::Unknown);
        assert_eq!(HoldMessage::decode(text).unwrap(), HoldMessage::Unknown);
    }
}

#[test]
fn texts_are_cut_at_whole_characters() {
    let result = read(&json!({
        "type": "scan_result", "digest": DIGEST, "error": "ä".repeat(2000), "scannerVersion": "ö".repeat(50),
        "errorClass": "x".repeat(100),
    }));
    assert_eq!(result.error.unwrap().len(), 1024);
    assert_eq!(result.scanner_version.unwrap().len(), 64);
    assert_eq!(result.error_class.unwrap().len(), 64);
}
