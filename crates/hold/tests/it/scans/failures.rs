//! Scans that fail, and scanners that lie.

use super::*;

#[tokio::test]
async fn a_failed_scan_keeps_the_last_good_result() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| settings.scanning.rescan_interval = Some(Duration::from_millis(1)))
        .await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::original(&hold).await;
    scanner.hear().await;
    scanner.say(original_result(&digest, 2)).await;
    let record = scan_record(&hold, &digest).await.expect("a record");
    loop {
        hold.hold.scanning().look_after().await.unwrap();
        if !scanner.settle().await.is_empty() {
            break;
        }
    }
    scanner
        .say(json!({ "type": "scan_result", "digest": digest, "error": "no space <script>" }))
        .await;
    assert_eq!(scan_record(&hold, &digest).await.expect("a record"), record);
    let view = told(&hold, &digest).await;
    assert_eq!(view["result"]["summary"]["high"], 2);
    assert_eq!(view["job"]["state"], "resting");
    assert_eq!(view["job"]["failure"]["message"], "no space <script>");
    hold.stop().await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again_later_and_what_will_not_is_given_up() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    for (class, state) in [
        ("fetch", "resting"),
        ("db", "resting"),
        ("digest-mismatch", "failed"),
        ("too-large:entries", "failed"),
        ("limit:memory", "failed"),
        ("some new word", "resting"),
    ] {
        let digest = push(&hold, class).await;
        let job = scanner.job().await;
        scanner.say(failure(&job, class)).await;
        assert_eq!(job_state(&hold, &digest).await, state, "{class}");
    }
    // A scanner that ends is no failure of the image.
    let digest = push(&hold, "shutdown").await;
    let job = scanner.job().await;
    let again = scanner.say(failure(&job, "shutdown")).await;
    assert_eq!(again.first().map(|job| &job.digest), Some(&digest));
    hold.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_valid_ends_the_connection_and_the_job_waits_again() {
    let hold = start(true).await.restart(without_rests).await;
    let digest = push(&hold, "image").await;
    let another = digest_of("another");
    let messages = [
        "{".to_owned(),
        json!({ "type": "scan_result", "digest": another, "summary": { "total": -1 } }).to_string(),
        json!({ "type": "scan_result", "summary": { "total": 1 } }).to_string(),
        json!({ "type": "scan_progress", "digest": digest }).to_string(),
    ];
    for message in messages {
        let mut scanner = FakeScanner::ours(&hold, 1).await;
        scanner.job().await;
        assert_eq!(
            scanner.provoke(message.clone()).await,
            Some(CloseCode::Policy),
            "{message}"
        );
        look_after(&hold).await;
        assert_eq!(job_state(&hold, &digest).await, "ready", "{message}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection_before_it_is_read() {
    let hold = start(true).await.restart(without_rests).await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    scanner.job().await;
    let long = json!({ "type": "scan_result", "digest": digest, "error": "x".repeat(100_000) }).to_string();
    let end = scanner.provoke(long).await;
    assert!(matches!(end, None | Some(CloseCode::Size)), "{end:?}");
    // The one that comes next has it.
    while job_state(&hold, &digest).await != "ready" {
        look_after(&hold).await;
    }
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    assert_eq!(scanner.job().await.digest, digest);
    hold.stop().await;
}

#[tokio::test]
async fn a_result_that_cannot_be_used_is_a_failure_of_the_scan() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let cases = [
        json!({ "state": "complete", "summary": { "total": 1 }, "uploaded": true }),
        json!({ "state": "complete", "summary": { "total": 1 }, "sbom": base64("not JSON") }),
        json!({ "state": "complete", "summary": { "total": 1 }, "sbom": base64("{\"a\":") }),
    ];
    for (number, mut result) in cases.into_iter().enumerate() {
        let digest = push(&hold, &format!("image {number}")).await;
        let job = scanner.job().await;
        result["type"] = "scan_result".into();
        result["seq"] = job.seq.into();
        result["digest"] = digest.as_str().into();
        scanner.say(result).await;
        let view = told(&hold, &digest).await;
        assert_eq!(view["job"]["failure"]["class"], "result", "{view}");
        assert_eq!(view["result"], Value::Null);
        assert_eq!(scan_record(&hold, &digest).await, None);
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_result_for_another_image_than_the_jobs_is_passed_over() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let digest = push(&hold, "image").await;
    let job = scanner.job().await;
    let mut result = original_result(&digest_of("another"), 0);
    result["seq"] = job.seq.into();
    result["sbom"] = Value::Null;
    scanner.say(result).await;
    for kind in ["scan_progress", "scan_release"] {
        let message = json!({ "type": kind, "seq": job.seq, "digest": digest_of("another"), "stage": "x" });
        scanner.say(message).await;
    }
    let view = told(&hold, &digest).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["stage"]),
        (&json!("running"), &Value::Null)
    );
    hold.stop().await;
}
