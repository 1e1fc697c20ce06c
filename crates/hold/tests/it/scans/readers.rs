//! Who is told what.

use atcr_atproto::crypto::Curve;
use atcr_hold::adapters::sqlite;
use atcr_hold::scanning::Publication;

use super::*;

#[tokio::test]
async fn a_private_hold_publishes_nothing_and_tells_those_who_may_read() {
    let hold = start(false).await;
    let digest = hold.put_blob(&hold.captain, b"a layer").await;
    let mut scanner = FakeScanner::original(&hold).await;
    let image = push(&hold, "image").await;
    scanner.hear().await;
    // The scanner reads what is private.
    let path = format!(
        "/xrpc/com.atproto.sync.getBlob?did={}&cid={digest}",
        hold.captain.did
    );
    let answer = hold
        .get(&path)
        .header("x-scanner-secret", SECRET)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 307);
    scanner.say(original_result(&image, 2)).await;
    assert_eq!(scan_record(&hold, &image).await, None);
    let collections = hold.hold.repo().collections().await.unwrap();
    assert!(
        !collections.iter().any(|name| name == "io.atcr.hold.scan"),
        "{collections:?}"
    );

    let stranger = hold.identities.account("stranger", Curve::K256);
    let reader = hold.crew("reader", &["blob:read"]).await;
    for path in [
        format!("/scans/{image}"),
        format!("/scans/{image}/sbom"),
        format!("/scans/{image}/vuln-report"),
    ] {
        let ask = |token: Option<String>| {
            let request = hold.get(&path);
            Answer::of(match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            })
        };
        assert_eq!(ask(None).await.error(), (401, "AuthRequired"), "{path}");
        assert_eq!(
            ask(Some(hold.token(&stranger))).await.error(),
            (403, "Forbidden"),
            "{path}"
        );
        assert_eq!(ask(Some(hold.token(&reader))).await.status, 200, "{path}");
    }
    assert_eq!(told(&hold, &image).await["result"]["summary"]["high"], 2);
    hold.stop().await;
}

#[tokio::test]
async fn a_private_hold_that_publishes_names_no_documents() {
    let hold = start(false).await;
    let hold = hold
        .restart(|settings| settings.scanning.publication = Publication::Always)
        .await;
    let mut scanner = FakeScanner::original(&hold).await;
    let image = push(&hold, "image").await;
    scanner.hear().await;
    scanner.say(original_result(&image, 2)).await;
    let record = scan_record(&hold, &image).await.expect("a record");
    assert_eq!(record["value"]["high"], 2);
    assert_eq!(record["value"]["sbomBlob"], Value::Null);
    let view = told(&hold, &image).await;
    let cid = view["result"]["documents"]["sbom"]["cid"]
        .as_str()
        .expect("a document");
    let path = format!("com.atproto.sync.getBlob?did={}&cid={cid}", hold.did());
    assert_eq!(hold.query(&path).await.status, 404);
    hold.stop().await;
}

#[tokio::test]
async fn a_public_hold_may_keep_results_to_itself() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| settings.scanning.publication = Publication::Never)
        .await;
    let mut scanner = FakeScanner::original(&hold).await;
    let image = push(&hold, "image").await;
    scanner.hear().await;
    scanner.say(original_result(&image, 2)).await;
    assert_eq!(scan_record(&hold, &image).await, None);
    let view = Answer::of(hold.get(&format!("/scans/{image}"))).await.ok();
    assert_eq!(view["result"]["summary"]["high"], 2);
    hold.stop().await;
}

#[tokio::test]
async fn who_waits_is_told_the_place_in_the_queue() {
    let hold = start(true).await;
    let mut last = digest_of("");
    for number in 0..4 {
        last = push(&hold, &format!("image {number}")).await;
    }
    let view = told(&hold, &last).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["ahead"]),
        (&json!("ready"), &json!(3))
    );
    let unknown = told(&hold, &digest_of("never pushed")).await;
    assert_eq!(
        (&unknown["job"], &unknown["result"]),
        (&Value::Null, &Value::Null)
    );
    let answer = Answer::of(hold.get("/scans/sha256:<script>")).await;
    assert_eq!(answer.error(), (400, "InvalidDigest"));
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_that_becomes_private_serves_documents_to_readers_only() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::original(&hold).await;
    let image = push(&hold, "image").await;
    scanner.hear().await;
    scanner.say(original_result(&image, 2)).await;
    let record = scan_record(&hold, &image).await.expect("a record");
    let cid = record["value"]["sbomBlob"]["ref"]["$link"]
        .as_str()
        .expect("a blob")
        .to_owned();
    let path = format!("/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}", hold.did());
    assert_eq!(hold.get(&path).send().await.unwrap().status(), 200);
    let hold = hold.restart(become_private).await;
    assert_eq!(Answer::of(hold.get(&path)).await.error(), (401, "AuthRequired"));
    let head = hold.request(reqwest::Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.status(), 401);
    let reader = hold.crew("reader", &["blob:read"]).await;
    let answer = hold.get(&path).bearer_auth(hold.token(&reader)).send().await;
    assert_eq!(answer.unwrap().text().await.unwrap(), SPDX);
    hold.stop().await;
}

#[tokio::test]
async fn a_result_that_waited_while_the_hold_became_private_is_not_published() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| settings.scanning.publication = Publication::Never)
        .await;
    let mut scanner = FakeScanner::original(&hold).await;
    let image = push(&hold, "image").await;
    scanner.hear().await;
    scanner.say(original_result(&image, 2)).await;
    scan_record(&hold, &image).await;
    let hold = hold
        .restart(|settings| {
            become_private(settings);
            settings.scanning.publication = Publication::IfPublic;
        })
        .await;
    // As the process left it that stopped before it published.
    let database = sqlite::open(&hold.data_dir().join("hold.sqlite")).await.unwrap();
    sqlx::query("UPDATE scans SET is_published = 0")
        .execute(database.writer())
        .await
        .unwrap();
    assert_eq!(scan_record(&hold, &image).await, None);
    hold.stop().await;
}

#[tokio::test]
async fn two_documents_with_the_same_bytes_are_published() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::original(&hold).await;
    let image = push(&hold, "image").await;
    scanner.hear().await;
    let mut result = original_result(&image, 0);
    result["vulnReport"] = base64(SPDX).into();
    scanner.say(result).await;
    let record = scan_record(&hold, &image).await.expect("a record");
    assert_eq!(
        record["value"]["sbomBlob"]["ref"],
        record["value"]["vulnReportBlob"]["ref"]
    );
    hold.stop().await;
}

#[tokio::test]
async fn an_image_is_scanned_again_when_a_document_of_its_result_is_gone() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::original(&hold).await;
    let image = push(&hold, "image").await;
    scanner.hear().await;
    scanner.say(original_result(&image, 2)).await;
    scan_record(&hold, &image).await.expect("a record");
    let database = sqlite::open(&hold.data_dir().join("hold.sqlite")).await.unwrap();
    for statement in ["DELETE FROM repo_blobs", "UPDATE scans SET is_published = 0"] {
        sqlx::query(statement).execute(database.writer()).await.unwrap();
    }
    hold.hold.scanning().publish().await.expect("published");
    assert_eq!(scanner.hear().await["digest"], image.as_str());
    hold.stop().await;
}

fn become_private(settings: &mut HoldSettings) {
    settings.public = Some(false);
}
