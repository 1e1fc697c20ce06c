//! A scanner that speaks the original's wire, and no more.

use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::*;

#[tokio::test]
async fn a_push_becomes_a_job_and_the_result_a_record_with_two_blobs() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::original(&hold).await;
    let digest = push(&hold, "image").await;
    let job = scanner.hear().await;
    let url = hold.settings.public_url.as_str();
    assert!(job["seq"].as_u64().is_some(), "{job}");
    assert_eq!(job["type"], "scan_job");
    assert_eq!(job["digest"], digest.as_str());
    assert_eq!(job["repository"], "app");
    assert_eq!(job["userDid"], hold.captain.did.as_str());
    assert_eq!(job["holdDid"], hold.did().as_str());
    assert_eq!(job["holdEndpoint"], url);
    assert_eq!(job["tag"], "1.0");
    assert_eq!(job["priority"], 0);
    // Messages that it may know.
    assert!(
        scanner
            .say(json!({ "type": "ack", "seq": job["seq"] }))
            .await
            .is_empty()
    );

    scanner.say(original_result(&digest, 3)).await;
    let record = scan_record(&hold, &digest).await.expect("a record");
    let value = &record["value"];
    let uri = format!("at://{}/io.atcr.manifest/{}", hold.captain.did, digest.hex());
    assert_eq!(value["manifest"], uri);
    assert_eq!((&value["high"], &value["total"]), (&json!(3), &json!(3)));
    assert_eq!(value["scannerVersion"], "atcr-scanner-v1.0.0");
    for (field, content) in [("sbomBlob", SPDX), ("vulnReportBlob", REPORT)] {
        let cid = value[field]["ref"]["$link"].as_str().expect("a blob");
        let path = format!("/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}", hold.did());
        let blob = hold.get(&path).send().await.unwrap().text().await.unwrap();
        assert_eq!(blob, content, "{field}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_result_is_recorded_once() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::original(&hold).await;
    let digest = push(&hold, "image").await;
    scanner.hear().await;
    scanner.say(original_result(&digest, 1)).await;
    let record = scan_record(&hold, &digest).await.expect("a record");
    let commit = hold.hold.repo().latest_commit().rev;
    // The same again, another one of the same image, and one of an image that nobody asked about.
    scanner.say(original_result(&digest, 1)).await;
    scanner.say(original_result(&digest, 9)).await;
    let other = digest_of("another image");
    scanner.say(original_result(&other, 9)).await;
    assert_eq!(scan_record(&hold, &digest).await.expect("a record"), record);
    assert_eq!(scan_record(&hold, &other).await, None);
    assert_eq!(hold.hold.repo().latest_commit().rev, commit);
    // A push of the same image soon after is no reason to scan it again.
    push(&hold, "image").await;
    assert!(scanner.settle().await.is_empty());
    assert_eq!(job_state(&hold, &digest).await, "done");
    hold.stop().await;
}

#[tokio::test]
async fn a_cursor_never_hides_a_job_that_waits_and_minus_one_wants_only_new_ones() {
    let hold = start(true).await;
    let first = push(&hold, "first").await;
    let secret = Some(SECRET);
    let mut only_new = FakeScanner::connect(&hold, "?cursor=-1&workers=1", secret)
        .await
        .unwrap();
    assert!(only_new.settle().await.is_empty());
    let mut late = FakeScanner::connect(&hold, "?cursor=99999999999999", secret)
        .await
        .unwrap();
    assert_eq!(late.job().await.digest, first);
    let second = push(&hold, "second").await;
    let third = push(&hold, "third").await;
    let mut got = vec![only_new.job().await.digest, late.job().await.digest];
    got.sort();
    let mut wanted = vec![second, third];
    wanted.sort();
    assert_eq!(got, wanted);
    for query in ["?cursor=x", "?workers=0", "?workers=1000"] {
        let refused = FakeScanner::connect(&hold, query, secret)
            .await
            .err()
            .expect("refused");
        let Error::Http(answer) = *refused else {
            panic!("{refused}")
        };
        assert_eq!(answer.status(), 400, "{query}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn without_the_secret_nothing_opens() {
    let hold = start(false).await;
    let digest = push(&hold, "image").await;
    let long = "x".repeat(4000);
    let wrong = ["", "a secret for scanner", "A secret for scanners", long.as_str()];
    for secret in wrong.map(Some).into_iter().chain([None]) {
        let refused = FakeScanner::connect(&hold, "?workers=1", secret)
            .await
            .err()
            .expect("refused");
        let Error::Http(answer) = *refused else {
            panic!("{refused}")
        };
        assert_eq!(answer.status(), 401, "{secret:?}");
        let body = answer.body().clone().unwrap_or_default();
        assert!(
            String::from_utf8_lossy(&body).contains("InvalidSecret"),
            "{secret:?}"
        );
    }
    let refused = FakeScanner::connect(&hold, "?secret=wrong", None)
        .await
        .err()
        .expect("refused");
    assert!(matches!(*refused, Error::Http(answer) if answer.status() == 401));
    // What a scanner reads and writes beside the socket.
    let blob = format!(
        "/xrpc/com.atproto.sync.getBlob?did={}&cid={digest}",
        hold.captain.did
    );
    for (method, path) in [
        (Method::GET, blob.as_str()),
        (Method::GET, &format!("/scans/{digest}")),
        (Method::PUT, "/scan-results/1/sbom"),
    ] {
        let request = hold.request(method, path).header("x-scanner-secret", "wrong");
        assert_eq!(
            Answer::of(request).await.error(),
            (401, "InvalidSecret"),
            "{path}"
        );
    }
    hold.stop().await;
}

#[tokio::test]
async fn guesses_of_the_secret_are_counted_as_tokens_that_are_no_good() {
    let hold = TestHold::start_with(Setup::default(), |config| {
        config.scanner.secret = Secret::new(SECRET);
        config.limits.exempt = Vec::new();
        config.limits.failed_tokens = "2/1m".parse().expect("a rate");
    })
    .await;
    let path = format!("/scans/{}", digest_of("image"));
    let ask = async |secret: &str| {
        Answer::of(hold.get(&path).header("x-scanner-secret", secret))
            .await
            .status
            .as_u16()
    };
    // What is right does not count.
    for _ in 0..4 {
        assert_eq!(ask(SECRET).await, 200);
    }
    assert_eq!([ask("a guess").await, ask("another").await], [401, 401]);
    assert_eq!([ask("a third").await, ask(SECRET).await], [429, 429]);
    let refused = FakeScanner::connect(&hold, "?workers=1", Some("a guess")).await;
    let refused = refused.err().expect("refused");
    assert!(matches!(*refused, Error::Http(answer) if answer.status() == 429));
    hold.stop().await;
}

#[tokio::test]
async fn a_guess_beside_another_credential_is_counted_for_its_address() {
    let hold = TestHold::start_with(Setup::default(), |config| {
        config.scanner.secret = Secret::new(SECRET);
        config.limits.exempt = Vec::new();
        config.limits.anonymous = "2/1m".parse().expect("a rate");
    })
    .await;
    let path = format!("/scans/{}", digest_of("image"));
    let ask = async || {
        let request = hold.get(&path).header("x-scanner-secret", "a guess");
        Answer::of(request.header("authorization", "x"))
            .await
            .status
            .as_u16()
    };
    assert_eq!([ask().await, ask().await, ask().await], [401, 401, 429]);
    hold.stop().await;
}

#[tokio::test]
async fn only_a_socket_shows_the_secret_in_its_address() {
    let hold = start(true).await;
    let path = format!("/scan-results/1/sbom?secret={}", SECRET.replace(' ', "%20"));
    let answer = Answer::of(hold.request(Method::PUT, &path)).await;
    assert_eq!(answer.error(), (401, "InvalidSecret"));
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_without_a_secret_has_no_scanners_and_queues_nothing() {
    let hold = TestHold::start(Setup::default()).await;
    let digest = push(&hold, "image").await;
    for header in [None, Some("")] {
        let refused = FakeScanner::connect(&hold, "", header)
            .await
            .err()
            .expect("refused");
        assert!(matches!(*refused, Error::Http(answer) if answer.status() == 501));
    }
    let view = told(&hold, &digest).await;
    assert_eq!(view["scanners"], json!({ "enabled": false, "connected": 0 }));
    assert_eq!(view["job"], Value::Null);
    let hold = hold
        .restart(|settings| settings.scanning.secret = Secret::new(SECRET))
        .await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    assert!(scanner.settle().await.is_empty());
    push(&hold, "image").await;
    assert_eq!(scanner.job().await.digest, digest);
    hold.stop().await;
}

#[tokio::test]
async fn a_long_result_that_arrives_slowly_is_no_silence() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| {
            settings.scanning.ping_interval = Duration::from_millis(500);
            settings.scanning.pong_within = Duration::from_secs(3);
        })
        .await;
    let digest = push(&hold, "image").await;
    let mut original = FakeScanner::original(&hold).await;
    original.hear().await;
    let mut result = original_result(&digest, 3);
    result["sbom"] = base64(&format!("{SPDX}{}", " ".repeat(200_000))).into();
    let result = result.to_string().into_bytes();
    // One frame: its head, then bits of it, without a pong in between.
    let mut frame = vec![0x81, 0xff];
    frame.extend((result.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(&result);
    let MaybeTlsStream::Plain(stream) = original.socket.get_mut() else {
        panic!("not plain");
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let piece = frame.len().div_ceil(24);
    for piece in frame.chunks(piece) {
        ticks.tick().await;
        stream.write_all(piece).await.expect("not cut off");
    }
    original.settle().await;
    assert_eq!(told(&hold, &digest).await["result"]["summary"]["high"], 3);
    hold.stop().await;
}

#[tokio::test]
async fn so_many_scanners_are_connected_and_one_that_leaves_makes_room() {
    let hold = start(true).await;
    let refusal = async |query: &str| {
        let refused = FakeScanner::connect(&hold, query, Some(SECRET)).await.err()?;
        let Error::Http(answer) = *refused else {
            panic!("{refused}")
        };
        Some(answer.status().as_u16())
    };
    let mut originals = Vec::new();
    for _ in 0..4 {
        originals.push(FakeScanner::original(&hold).await);
    }
    assert_eq!(refusal("").await, Some(429));
    originals.pop().expect("one of them").leave().await;
    originals.push(FakeScanner::original(&hold).await);
    let mut ours = Vec::new();
    for _ in 0..60 {
        ours.push(FakeScanner::ours(&hold, 1).await);
    }
    assert_eq!(refusal("?workers=1").await, Some(429));
    ours.pop().expect("one of them").leave().await;
    FakeScanner::ours(&hold, 1).await.leave().await;
    hold.stop().await;
}
