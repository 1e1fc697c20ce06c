//! What one end writes, the other reads.

use atcr_scan_protocol::{
    Cursor, DatabaseInUse, DocumentKind, FailureClass, HoldMessage, Progress, Release, ScanResult, ScanState,
    ScannerMessage, Subscription, is_same_secret,
};

use crate::{DIGEST, job, result};

#[test]
fn jobs() {
    let mut original = job();
    for _ in 0..2 {
        let text = original.encode().unwrap();
        let read = HoldMessage::decode(&text).unwrap();
        assert_eq!(read, HoldMessage::Job(Box::new(original.clone())));
        original.results_url = None;
        original.lease_seconds = None;
        original.tag = None;
    }
}

#[test]
fn results_with_documents_and_without() {
    let whole = result();
    let uploaded = ScanResult {
        sbom: None,
        vuln_report: None,
        uploaded: true,
        ..result()
    };
    let failed = ScanResult {
        state: ScanState::Failed,
        error: Some("the layer could not be fetched".to_owned()),
        error_class: Some("fetch".to_owned()),
        sbom: None,
        vuln_report: None,
        ..result()
    };
    for result in [whole, uploaded, failed] {
        let read = ScannerMessage::decode(&result.encode().unwrap()).unwrap();
        assert_eq!(read, ScannerMessage::Result(Box::new(result)));
    }
}

#[test]
fn a_failure_always_tells_an_original_hold_so() {
    let failed = ScanResult {
        state: ScanState::Failed,
        error: None,
        error_class: Some("limit:memory".to_owned()),
        ..result()
    };
    let frame: serde_json::Value = serde_json::from_str(&failed.encode().unwrap()).unwrap();
    assert_eq!(frame["error"], "limit:memory");
}

#[test]
fn database_in_use() {
    let database = DatabaseInUse {
        built: "2026-11-30T00:00:00Z".parse().expect("a time"),
    };
    let read = ScannerMessage::decode(&database.encode()).expect("a message");
    assert_eq!(read, ScannerMessage::Database(database));
    assert!(ScannerMessage::decode(r#"{"type":"scan_database","built":7}"#).is_err());
}

#[test]
fn progress_and_release() {
    let progress = Progress {
        seq: 7,
        digest: DIGEST.parse().unwrap(),
        stage: "layers".to_owned(),
    };
    let read = ScannerMessage::decode(&progress.encode()).unwrap();
    assert_eq!(read, ScannerMessage::Progress(progress));
    let release = Release {
        seq: 7,
        digest: DIGEST.parse().unwrap(),
    };
    let read = ScannerMessage::decode(&release.encode()).unwrap();
    assert_eq!(read, ScannerMessage::Release(release));
}

#[test]
fn subscriptions() {
    let cases = [
        (None, None, ""),
        (Some("-1"), None, "cursor=-1"),
        (Some("12"), Some("3"), "cursor=12&workers=3"),
        (Some(""), Some("64"), "workers=64"),
    ];
    for (cursor, workers, query) in cases {
        assert_eq!(Subscription::parse(cursor, workers).unwrap().query(), query);
    }
    for cursor in ["-2", "1.5", "x", "99999999999999999999"] {
        Subscription::parse(Some(cursor), None).unwrap_err();
    }
    for workers in ["0", "65", "-1", ""] {
        Subscription::parse(None, Some(workers)).unwrap_err();
    }
    assert_eq!(Subscription::default().cursor, Cursor::Waiting);
}

#[test]
fn words() {
    for kind in DocumentKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    "sbom/../x".parse::<DocumentKind>().unwrap_err();
    assert_eq!(FailureClass::of(Some("limit:memory")), FailureClass::Limit);
    assert_eq!(FailureClass::of(Some("new-word")), FailureClass::Other);
    assert_eq!(FailureClass::of(Some("")), FailureClass::Other);
    assert!(FailureClass::of(None).is_worth_retrying());
    assert!(!FailureClass::of(Some("too-large:entries")).is_worth_retrying());
}

#[test]
fn the_secret_is_compared_whole_and_an_empty_one_is_nobodys() {
    assert!(is_same_secret("s3cret", "s3cret"));
    assert!(!is_same_secret("s3cret", "s3cre"));
    assert!(!is_same_secret("s3cret", ""));
    assert!(!is_same_secret("", ""));
}
