//! Documents that a scanner uploads.

use std::io::Write as _;

use atcr_scan_protocol::bounds::{MAX_COMPRESSED_BYTES, MAX_DOCUMENT_BYTES};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;

use super::*;

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(super) async fn put(hold: &TestHold, path: &str, body: Vec<u8>) -> Answer {
    let request = hold
        .request(Method::PUT, path)
        .header("x-scanner-secret", SECRET)
        .header("content-encoding", "gzip")
        .body(body);
    Answer::of(request).await
}

fn uploaded(job: &ScanJob, state: &str) -> Value {
    json!({
        "type": "scan_result", "seq": job.seq, "digest": job.digest, "uploaded": true, "state": state,
        "summary": { "critical": 1, "high": 0, "medium": 0, "low": 0, "total": 1 },
        "scannerVersion": "atcr-scanner-v1.0.0+syft.1.57.0.grype.0.121.2", "databaseBuilt": "2026-11-30T04:00:00Z",
        "tools": { "syft": "1.57.0", "grype": "0.121.2" },
    })
}

#[tokio::test]
async fn are_kept_with_the_result_and_served() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let digest = push(&hold, "image").await;
    let job = scanner.job().await;
    assert!(job.cyclonedx, "it is asked of ours");
    let results = job.results_url.clone().expect("an address").path().to_owned();
    let cyclonedx = r#"{"bomFormat":"CycloneDX"}"#;
    let syft = r#"{"artifacts":[]}"#;
    for (kind, content) in [
        ("sbom", SPDX),
        ("vuln-report", REPORT),
        ("sbom-syft", syft),
        ("sbom-cyclonedx", cyclonedx),
    ] {
        // A repetition is no error.
        for _ in 0..2 {
            let receipt = put(&hold, &format!("{results}/{kind}"), gzip(content.as_bytes()))
                .await
                .ok();
            assert_eq!(receipt["digest"], digest_of(content).as_str());
            assert_eq!(receipt["size"], content.len());
        }
    }
    scanner.say(uploaded(&job, "complete")).await;
    let record = scan_record(&hold, &digest).await.expect("a record");
    assert_eq!(record["value"]["sbomBlob"]["mimeType"], "application/spdx+json");
    assert_eq!(record["value"]["sbomBlob"]["size"], SPDX.len());

    let view = told(&hold, &digest).await;
    let result = &view["result"];
    assert_eq!(result["databaseBuilt"], "2026-11-30T04:00:00Z");
    assert_eq!(result["tools"]["grype"], "0.121.2");
    assert_eq!(result["summary"]["critical"], 1);
    // Long after, with no record that names the third.
    let later = hold.clock.now() + chrono::TimeDelta::days(30);
    hold.hold.repo_blobs().sweep_as_of(later).await.expect("swept");
    let kept = [
        ("sbom", SPDX),
        ("vuln-report", REPORT),
        ("sbom-syft", syft),
        ("sbom-cyclonedx", cyclonedx),
    ];
    for (kind, content) in kept {
        let answer = hold.get(&format!("/scans/{digest}/{kind}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{kind}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers()["content-disposition"], "attachment");
        assert_eq!(
            answer.headers()["content-security-policy"],
            "default-src 'none'; sandbox"
        );
        let compressed = answer.headers().get("content-encoding").is_some();
        assert_eq!(compressed, kind == "sbom-syft");
        let bytes = answer.bytes().await.unwrap();
        let expected = if compressed {
            gzip(content.as_bytes())
        } else {
            content.as_bytes().to_vec()
        };
        assert_eq!(bytes, expected, "{kind}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn are_refused_when_they_are_no_documents() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    push(&hold, "image").await;
    let job = scanner.job().await;
    let results = job.results_url.clone().expect("an address").path().to_owned();
    let mut bomb = vec![b' '; MAX_DOCUMENT_BYTES + 1];
    bomb[0] = b'{';
    let mut stored = GzEncoder::new(Vec::new(), Compression::none());
    stored
        .write_all(&bomb[..MAX_COMPRESSED_BYTES])
        .expect("in memory");
    let stored = stored.finish().expect("in memory");
    let mut cut = gzip(SPDX.as_bytes());
    cut.truncate(cut.len() - 6);
    let mut damaged = gzip(SPDX.as_bytes());
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    for (what, path, body, status) in [
        ("a bomb", format!("{results}/sbom"), gzip(&bomb), 413),
        (
            "a bomb that is kept as it is",
            format!("{results}/sbom-syft"),
            gzip(&bomb),
            413,
        ),
        ("hardly compressed", format!("{results}/sbom"), stored, 413),
        ("cut off", format!("{results}/sbom"), cut, 400),
        ("damaged", format!("{results}/sbom"), damaged, 400),
        ("not gzip", format!("{results}/sbom"), SPDX.into(), 400),
        ("not JSON", format!("{results}/sbom"), gzip(b"<html>"), 400),
        ("half of it", format!("{results}/sbom"), gzip(b"{\"a\":"), 400),
        ("more than it", format!("{results}/sbom"), gzip(b"{}{}"), 400),
        (
            "half of one kept as it is",
            format!("{results}/sbom-syft"),
            gzip(b"{"),
            400,
        ),
        ("empty", format!("{results}/sbom"), gzip(b""), 400),
        ("nothing", format!("{results}/sbom"), Vec::new(), 400),
        ("another name", format!("{results}/..%2Fsbom"), gzip(b"{}"), 404),
        (
            "another job",
            "/scan-results/12/sbom".to_owned(),
            gzip(b"{}"),
            404,
        ),
        (
            "a strange number",
            "/scan-results/-1/sbom".to_owned(),
            gzip(b"{}"),
            400,
        ),
    ] {
        assert_eq!(put(&hold, &path, body).await.status.as_u16(), status, "{what}");
    }
    let plain = hold
        .request(Method::PUT, &format!("{results}/sbom"))
        .header("x-scanner-secret", SECRET)
        .body("{}");
    assert_eq!(Answer::of(plain).await.error(), (400, "InvalidRequest"));
    // None of it is taken for the result.
    scanner.say(uploaded(&job, "complete")).await;
    assert_eq!(
        told(&hold, &job.digest).await["job"]["failure"]["class"],
        "result"
    );
    hold.stop().await;
}

#[tokio::test]
async fn packages_without_a_database_are_no_clean_bill() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let digest = push(&hold, "image").await;
    let job = scanner.job().await;
    let results = job.results_url.clone().expect("an address").path().to_owned();
    put(&hold, &format!("{results}/sbom"), gzip(SPDX.as_bytes()))
        .await
        .ok();
    let mut result = uploaded(&job, "sbom-only");
    result["summary"] = Value::Null;
    scanner.say(result).await;
    let view = told(&hold, &digest).await;
    assert_eq!(view["result"]["state"], "sbom-only");
    assert_eq!(view["result"]["summary"], Value::Null);
    // A record would say that there are none.
    assert_eq!(scan_record(&hold, &digest).await, None);
    hold.stop().await;
}

#[tokio::test]
async fn are_of_the_late_result_when_the_connection_broke_after_they_were_uploaded() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let digest = push(&hold, "image").await;
    let job = scanner.job().await;
    upload_all(&hold, &job).await;
    scanner.leave().await;
    let mut scanner = FakeScanner::connect(&hold, "?workers=1&cursor=-1", Some(SECRET))
        .await
        .unwrap();
    scanner.say(uploaded(&job, "complete")).await;
    let view = told(&hold, &digest).await;
    assert_eq!(view["job"]["state"], "done");
    assert_eq!(view["result"]["documents"]["vuln-report"]["size"], REPORT.len());
    hold.stop().await;
}

#[tokio::test]
async fn counts_without_the_report_that_they_are_of_are_no_result() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let digest = push(&hold, "image").await;
    let job = scanner.job().await;
    let results = job.results_url.clone().expect("an address").path().to_owned();
    put(&hold, &format!("{results}/sbom"), gzip(SPDX.as_bytes()))
        .await
        .ok();
    scanner.say(uploaded(&job, "complete")).await;
    let view = told(&hold, &digest).await;
    assert_eq!(view["job"]["failure"]["class"], "result");
    assert_eq!(view["result"], Value::Null);
    hold.stop().await;
}

async fn upload_all(hold: &TestHold, job: &ScanJob) {
    let results = job.results_url.clone().expect("an address").path().to_owned();
    for (kind, content) in [("sbom", SPDX), ("vuln-report", REPORT)] {
        put(hold, &format!("{results}/{kind}"), gzip(content.as_bytes()))
            .await
            .ok();
    }
}

#[tokio::test]
async fn are_not_kept_for_a_job_that_ended_while_they_came() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    push(&hold, "image").await;
    let job = scanner.job().await;
    let results = job.results_url.clone().expect("an address").path().to_owned();
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = futures_util::stream::unfold(body, async |mut body| {
        body.recv().await.map(|piece| (piece, body))
    });
    let request = hold
        .request(Method::PUT, &format!("{results}/sbom"))
        .header("x-scanner-secret", SECRET)
        .header("content-encoding", "gzip")
        .body(reqwest::Body::wrap_stream(body));
    let answer = tokio::spawn(Answer::of(request));
    let mut content = gzip(SPDX.as_bytes());
    let rest = content.split_off(8);
    pieces.send(Ok(content)).await.unwrap();
    for (place, byte) in rest.into_iter().enumerate() {
        // By now the request is on its way.
        if place == 8 {
            scanner.say(failure(&job, "tool")).await;
        }
        // A hold that has answered already takes no more.
        let _ = pieces.send(Ok(vec![byte])).await;
    }
    drop(pieces);
    assert_eq!(answer.await.unwrap().error(), (404, "UnknownJob"));
    let database = atcr_hold::adapters::sqlite::open(&hold.data_dir().join("hold.sqlite"))
        .await
        .unwrap();
    let uploads: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM scan_uploads")
        .fetch_one(database.readers())
        .await
        .unwrap();
    assert_eq!(uploads, 0);
    hold.stop().await;
}

#[tokio::test]
async fn are_refused_when_they_come_too_slowly() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| settings.scanning.upload_within = Duration::ZERO)
        .await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    push(&hold, "image").await;
    let job = scanner.job().await;
    let results = job.results_url.clone().expect("an address").path().to_owned();
    let body = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = hold
        .request(Method::PUT, &format!("{results}/sbom"))
        .header("x-scanner-secret", SECRET)
        .header("content-encoding", "gzip")
        .body(reqwest::Body::wrap_stream(body));
    assert_eq!(Answer::of(request).await.error(), (408, "RequestTimeout"));
    hold.stop().await;
}

async fn count(hold: &TestHold, table: &str) -> i64 {
    let database = atcr_hold::adapters::sqlite::open(&hold.data_dir().join("hold.sqlite"))
        .await
        .unwrap();
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
        .fetch_one(database.readers())
        .await
        .unwrap()
}

#[tokio::test]
async fn are_kept_while_their_scan_runs_and_the_last_of_each_kind_counts() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let digest = push(&hold, "image").await;
    let job = scanner.job().await;
    upload_all(&hold, &job).await;
    let results = job.results_url.clone().expect("an address").path().to_owned();
    let another = r#"{"matches":[],"another":true}"#;
    put(&hold, &format!("{results}/vuln-report"), gzip(another.as_bytes()))
        .await
        .ok();
    let later = hold.clock.now() + chrono::TimeDelta::days(30);
    hold.hold.repo_blobs().sweep_as_of(later).await.expect("swept");
    scanner.say(uploaded(&job, "complete")).await;
    for (kind, content) in [("sbom", SPDX), ("vuln-report", another)] {
        let answer = hold.get(&format!("/scans/{digest}/{kind}")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), content, "{kind}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn are_not_stored_for_a_job_that_nobody_has() {
    let hold = start(true).await;
    let body = gzip(SPDX.as_bytes());
    let answer = put(&hold, "/scan-results/12/sbom", body).await;
    assert_eq!(answer.error(), (404, "UnknownJob"));
    assert_eq!(count(&hold, "repo_blobs").await, 0);
    hold.stop().await;
}
