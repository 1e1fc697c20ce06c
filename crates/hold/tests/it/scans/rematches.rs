//! Packages that were listed are looked up again in a newer vulnerability database.

use chrono::{DateTime, TimeDelta, Utc};

use super::documents::{gzip, put};
use super::*;

const SYFT: &str = r#"{"artifacts":[]}"#;
const NEWER_REPORT: &str = r#"{"matches":[{}]}"#;

/// A hold whose scanners look up one image in five seconds again.
async fn started() -> TestHold {
    start(true)
        .await
        .restart(|settings| settings.scanning.rematches = 12)
        .await
}

fn days_ago(hold: &TestHold, days: i64) -> DateTime<Utc> {
    hold.clock.now() - TimeDelta::days(days)
}

async fn push_of(hold: &TestHold, repository: &str) -> Digest {
    let digest = digest_of(repository);
    let layer = json!({
        "digest": digest_of("layer"), "size": 5, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
    });
    let input = json!({
        "repository": repository, "userDid": hold.captain.did, "manifestDigest": digest, "operation": "push", "tag": "1.0",
        "manifest": { "layers": [layer] },
    });
    hold.call("io.atcr.hold.notifyManifest", Some(&hold.captain), &input)
        .await
        .ok();
    digest
}

async fn pull(hold: &TestHold, repository: &str) {
    let input = json!({
        "repository": repository, "userDid": hold.captain.did, "manifestDigest": digest_of(repository), "operation": "pull",
        "manifest": {},
    });
    hold.call("io.atcr.hold.notifyManifest", Some(&hold.captain), &input)
        .await
        .ok();
}

async fn upload(hold: &TestHold, job: &ScanJob, documents: &[(&str, &str)]) {
    let results = job.results_url.clone().expect("an address").path().to_owned();
    for (kind, content) in documents {
        put(hold, &format!("{results}/{kind}"), gzip(content.as_bytes()))
            .await
            .ok();
    }
}

fn result(job: &ScanJob, state: &str, high: u64, built: Option<DateTime<Utc>>, tools: Value) -> Value {
    json!({
        "type": "scan_result", "seq": job.seq, "digest": job.digest, "uploaded": true, "state": state,
        "summary": { "critical": 0, "high": high, "medium": 0, "low": 0, "total": high },
        "scannerVersion": "atcr-scanner", "databaseBuilt": built, "tools": tools,
    })
}

/// An image of this name with all four documents, looked up in a database that was built then.
async fn scanned(
    hold: &TestHold,
    scanner: &mut FakeScanner,
    name: &str,
    state: &str,
    built: Option<DateTime<Utc>>,
) -> Digest {
    let digest = push_of(hold, name).await;
    let job = scanner.job().await;
    let list = format!(r#"{{"spdxVersion":"SPDX-2.3","name":"{name}"}}"#);
    let documents = [
        ("sbom", list.as_str()),
        ("vuln-report", REPORT),
        ("sbom-syft", SYFT),
        ("sbom-cyclonedx", r#"{"bomFormat":"CycloneDX"}"#),
    ];
    upload(hold, &job, &documents).await;
    let tools = json!({ "syft": "1.57.0", "grype": "0.121.2" });
    scanner.say(result(&job, state, 1, built, tools)).await;
    digest
}

async fn says_database(scanner: &mut FakeScanner, built: DateTime<Utc>) -> Vec<ScanJob> {
    scanner
        .say(json!({ "type": "scan_database", "built": built }))
        .await
}

/// The jobs that come of one look, after so many seconds.
async fn after(hold: &TestHold, scanner: &mut FakeScanner, seconds: i64) -> Vec<ScanJob> {
    hold.advance(TimeDelta::seconds(seconds));
    hold.hold.scanning().look_after().await.unwrap();
    scanner.settle().await
}

#[tokio::test]
async fn results_are_looked_up_again_the_most_pulled_first_and_keep_their_lists() {
    let hold = started().await;
    let mut scanner = FakeScanner::ours(&hold, 4).await;
    let (old, new) = (days_ago(&hold, 2), days_ago(&hold, 1));
    let forgotten = scanned(&hold, &mut scanner, "forgotten", "partial", Some(old)).await;
    let popular = scanned(&hold, &mut scanner, "popular", "complete", Some(old)).await;
    pull(&hold, "popular").await;
    scan_record(&hold, &popular).await.expect("a record");
    says_database(&mut scanner, old).await;
    assert!(
        after(&hold, &mut scanner, 10).await.is_empty(),
        "nothing is newer"
    );

    says_database(&mut scanner, new).await;
    let mut jobs = after(&hold, &mut scanner, 5).await;
    let job = jobs.pop().expect("a job");
    assert_eq!((&job.digest, job.priority), (&popular, 90));
    assert!(jobs.is_empty(), "one in five seconds");
    assert!(after(&hold, &mut scanner, 0).await.is_empty());
    // The list is there for the scanner.
    let list_url = job.list_url.clone().expect("an address");
    let list = hold
        .get(list_url.path())
        .header("x-scanner-secret", SECRET)
        .send()
        .await
        .unwrap();
    assert_eq!(list.status(), 200);
    assert_eq!(list.bytes().await.unwrap(), gzip(SYFT.as_bytes()));
    // Only the report comes.
    upload(&hold, &job, &[("vuln-report", NEWER_REPORT)]).await;
    scanner
        .say(result(
            &job,
            "complete",
            3,
            Some(new),
            json!({ "grype": "0.122.0" }),
        ))
        .await;
    let told_now = told(&hold, &popular).await["result"].clone();
    assert_eq!(told_now["summary"]["high"], 3);
    assert_eq!(told_now["tools"], json!({ "syft": "1.57.0", "grype": "0.122.0" }));
    let built: DateTime<Utc> = told_now["databaseBuilt"].as_str().unwrap().parse().unwrap();
    assert_eq!(built.timestamp(), new.timestamp());
    let kinds: Vec<_> = told_now["documents"].as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["sbom", "sbom-cyclonedx", "sbom-syft", "vuln-report"]);
    let later = hold.clock.now() + TimeDelta::days(30);
    hold.hold.repo_blobs().sweep_as_of(later).await.expect("swept");
    let report = hold
        .get(&format!("/scans/{popular}/vuln-report"))
        .send()
        .await
        .unwrap();
    assert_eq!(report.text().await.unwrap(), NEWER_REPORT);
    let record = scan_record(&hold, &popular).await.expect("a record")["value"].clone();
    assert_eq!(
        record["vulnerabilities"]["high"]
            .as_u64()
            .or(record["high"].as_u64()),
        Some(3),
        "{record}"
    );
    assert_eq!(record["sbomBlob"]["mimeType"], "application/spdx+json");

    // The other one stays partial: the same packages are missing.
    let job = after(&hold, &mut scanner, 5).await.pop().expect("a job");
    assert_eq!(job.digest, forgotten);
    upload(&hold, &job, &[("vuln-report", REPORT)]).await;
    scanner
        .say(result(&job, "complete", 0, Some(new), json!({})))
        .await;
    assert_eq!(told(&hold, &forgotten).await["result"]["state"], "partial");
    assert!(after(&hold, &mut scanner, 60).await.is_empty(), "each once");
    hold.stop().await;
}

#[tokio::test]
async fn a_list_that_cannot_be_looked_up_again_is_made_again_as_one_that_never_was_looked_up() {
    let hold = started().await.restart(without_rests).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let (old, new) = (days_ago(&hold, 2), days_ago(&hold, 1));
    let digest = scanned(&hold, &mut scanner, "image", "complete", Some(old)).await;
    // Without a list there is nothing to look up.
    push_of(&hold, "without-list").await;
    let job = scanner.job().await;
    let mut without_list = original_result(&job.digest, 1);
    without_list["databaseBuilt"] = json!(old);
    scanner.say(without_list).await;
    says_database(&mut scanner, new).await;
    let job = after(&hold, &mut scanner, 5).await.pop().expect("a job");
    assert!(job.list_url.is_some());
    scanner.say(failure(&job, "limit:memory")).await;
    let mut again = after(&hold, &mut scanner, 5).await;
    again.extend(after(&hold, &mut scanner, 5).await);
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].digest, &again[0].list_url), (&digest, &None));
    // The good result stays.
    assert_eq!(told(&hold, &digest).await["result"]["summary"]["high"], 1);
    let job = &again[0];
    upload(&hold, job, &[("vuln-report", REPORT)]).await;
    scanner
        .say(result(job, "complete", 0, Some(new), json!({})))
        .await;
    assert_eq!(
        told(&hold, &digest).await["result"]["summary"]["high"],
        1,
        "a scan has a list"
    );
    let job = after(&hold, &mut scanner, 5).await.pop().expect("a job");
    upload(&hold, &job, &[("sbom", SPDX), ("vuln-report", REPORT)]).await;
    scanner
        .say(result(&job, "complete", 0, Some(new), json!({})))
        .await;

    let never = scanned(&hold, &mut scanner, "never-looked-up", "sbom-only", None).await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.extend(after(&hold, &mut scanner, 3600).await);
    }
    let job = jobs.iter().find(|job| job.digest == never).expect("a scan");
    assert_eq!(job.list_url, None);
    hold.stop().await;
}

#[tokio::test]
async fn only_a_scanner_with_a_newer_database_looks_up_again_and_without_one_nothing_waits() {
    let hold = started().await;
    let mut other = FakeScanner::ours(&hold, 1).await;
    let (old, new) = (days_ago(&hold, 2), days_ago(&hold, 1));
    let first = scanned(&hold, &mut other, "first", "complete", Some(old)).await;
    let second = scanned(&hold, &mut other, "second", "complete", Some(old)).await;
    says_database(&mut other, old).await;
    let mut newer = FakeScanner::ours(&hold, 1).await;
    says_database(&mut newer, new).await;
    let job = after(&hold, &mut newer, 5).await.pop().expect("a job");
    assert!(other.settle().await.is_empty());
    // It has no room for the next one.
    assert!(after(&hold, &mut newer, 5).await.is_empty());
    assert!(other.settle().await.is_empty());
    let waiting = if job.digest == first { &second } else { &first };
    assert_eq!(job_state(&hold, waiting).await, "ready");
    newer.leave().await;
    hold.hold.scanning().look_after().await.unwrap();
    assert_eq!(job_state(&hold, waiting).await, "done");

    // One that only says so is not asked again.
    says_database(&mut other, new).await;
    hold.advance(TimeDelta::hours(2));
    let mut jobs = after(&hold, &mut other, 5).await;
    let job = loop {
        match jobs.pop() {
            Some(job) => break job,
            None => jobs = after(&hold, &mut other, 5).await,
        }
    };
    if job.list_url.is_some() {
        upload(&hold, &job, &[("vuln-report", REPORT)]).await;
    } else {
        upload(&hold, &job, &[("sbom", SPDX), ("vuln-report", REPORT)]).await;
    }
    let more = other.say(result(&job, "complete", 1, Some(old), json!({}))).await;
    assert!(more.iter().all(|job| job.list_url.is_none()), "{more:?}");
    hold.stop().await;
}
