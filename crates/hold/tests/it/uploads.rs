//! A blob's way in and out over XRPC, on the filesystem store.

use atcr_hold::adapters::sqlite;
use atcr_oci::{Algorithm, Digest};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Answer, Setup, TestHold};

const COMPLETE: &str = "io.atcr.hold.completeUpload";

#[tokio::test]
async fn the_table_of_uploads_does_not_wait_for_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = sqlite::open(&folder.path().join("hold.sqlite"))
        .await
        .expect("a database");
    let settings: (i64, String) =
        sqlx::query_as("SELECT synchronous, journal_mode FROM pragma_synchronous, pragma_journal_mode")
            .fetch_one(database.writer())
            .await
            .expect("settings");
    let normal = 1;
    assert_eq!(settings, (normal, "wal".to_owned()));
}

#[tokio::test]
async fn what_was_uploaded_is_read_back_through_the_redirect() {
    let hold = TestHold::start(Setup::default()).await;
    let begun = hold
        .call(
            "io.atcr.hold.initiateUpload",
            Some(&hold.captain),
            &json!({ "digest": "uploads/temp-9f0c", "size": 5 }),
        )
        .await
        .ok();
    assert_eq!(begun["store"]["hashes"], true);
    assert_eq!(begun["store"]["streaming"], true);
    assert_eq!(begun["part"]["partNumber"], 1);
    assert_eq!(begun["part"]["method"], "PUT");
    let part = hold
        .call(
            "io.atcr.hold.getPartUploadUrl",
            Some(&hold.captain),
            &json!({ "uploadId": begun["uploadId"], "partNumber": 1 }),
        )
        .await
        .ok();
    assert!(
        part["url"]
            .as_str()
            .is_some_and(|url| url.starts_with(hold.settings.public_url.as_str()))
    );

    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, b"hello");
        let mut input = hold.send_blob(&hold.captain, b"hello").await;
        input["digest"] = json!(digest);
        for _ in 0..2 {
            // The second time as after a lost answer.
            let done = hold.call(COMPLETE, Some(&hold.captain), &input).await.ok();
            assert_eq!(done, json!({ "status": "completed", "digest": digest }));
        }

        let path = format!(
            "/xrpc/com.atproto.sync.getBlob?did={}&cid={digest}",
            hold.captain.did
        );
        let token = hold.token(&hold.captain);
        let redirect = hold
            .get(&path)
            .bearer_auth(&token)
            .send()
            .await
            .expect("an answer");
        assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(redirect.headers()["cache-control"], "no-store");
        let location = redirect.headers()["location"].to_str().expect("text");
        let bytes = hold.follow(location).await;
        assert_eq!(bytes, b"hello");

        let head = hold
            .request(Method::HEAD, &path)
            .bearer_auth(&token)
            .send()
            .await
            .expect("an answer");
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.headers()["content-length"], "5");
    }
    hold.stop().await;
}

#[tokio::test]
async fn bytes_that_are_something_else_are_refused_and_gone() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let claimed = Digest::of(Algorithm::Sha256, b"what was promised");
    let mut input = hold.send_blob(&hold.captain, b"what was sent").await;
    input["digest"] = json!(claimed);
    let answer = hold.call(COMPLETE, Some(&hold.captain), &input).await;
    assert_eq!(answer.error(), (400, "InvalidDigest"));
    let again = hold.call(COMPLETE, Some(&hold.captain), &input).await;
    assert_eq!(again.error(), (404, "InvalidUploadId"));
    let blob = hold
        .query(&format!("com.atproto.sync.getBlob?cid={claimed}&method=GET"))
        .await;
    assert_eq!(blob.error(), (404, "BlobNotFound"));
    hold.stop().await;
}

#[tokio::test]
async fn an_upload_is_its_beginners_alone() {
    let hold = TestHold::start(Setup::default()).await;
    let other = hold.crew("other", &["blob:write"]).await;
    let mut input = hold.send_blob(&hold.captain, b"mine").await;
    input["digest"] = json!(Digest::of(Algorithm::Sha256, b"mine"));
    let id = json!({ "uploadId": input["uploadId"] });
    for (nsid, input) in [
        (COMPLETE, input.clone()),
        ("io.atcr.hold.abortUpload", id.clone()),
        (
            "io.atcr.hold.getPartUploadUrl",
            json!({ "uploadId": input["uploadId"], "partNumber": 2 }),
        ),
    ] {
        let answer = hold.call(nsid, Some(&other), &input).await;
        assert_eq!(answer.error(), (404, "InvalidUploadId"), "{nsid}");
    }
    let aborted = hold
        .call("io.atcr.hold.abortUpload", Some(&hold.captain), &id)
        .await
        .ok();
    assert_eq!(aborted, json!({ "status": "aborted" }));
    let late = hold.call(COMPLETE, Some(&hold.captain), &input).await;
    assert_eq!(late.error(), (404, "InvalidUploadId"));
    hold.stop().await;
}

#[tokio::test]
async fn an_upload_may_be_named_by_a_sha512_digest() {
    let hold = TestHold::start(Setup::default()).await;
    let identifier = format!("sha512:{}", "ab".repeat(64));
    let input = json!({ "digest": identifier });
    hold.call("io.atcr.hold.initiateUpload", Some(&hold.captain), &input)
        .await
        .ok();
    hold.stop().await;
}

#[tokio::test]
async fn malformed_input_is_named() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let rows = [
        ("io.atcr.hold.initiateUpload", json!({}), "InvalidRequest"),
        (
            "io.atcr.hold.initiateUpload",
            json!({ "digest": "" }),
            "InvalidDigest",
        ),
        (
            "io.atcr.hold.initiateUpload",
            json!({ "digest": "../../etc" }),
            "InvalidDigest",
        ),
        (
            "io.atcr.hold.getPartUploadUrl",
            json!({ "uploadId": "x", "partNumber": 0 }),
            "InvalidPartNumber",
        ),
        (
            "io.atcr.hold.getPartUploadUrl",
            json!({ "uploadId": "x", "partNumber": 10_001 }),
            "InvalidPartNumber",
        ),
        (
            COMPLETE,
            json!({ "uploadId": "x", "digest": "sha256:xyz", "parts": [] }),
            "InvalidDigest",
        ),
        (
            COMPLETE,
            json!({ "uploadId": "x", "digest": format!("sha256:{:064}", 0), "parts": [] }),
            "MissingParts",
        ),
    ];
    for (nsid, input, name) in rows {
        let answer = hold.call(nsid, Some(&hold.captain), &input).await;
        assert_eq!(answer.error(), (400, name), "{nsid} {input}");
    }
    let blobs = [
        ("cid=sha256:xyz", (400, "InvalidDigest")),
        ("cid=md5:00", (400, "InvalidDigest")),
        (
            "cid=bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            (404, "BlobNotFound"),
        ),
        ("did=did:web:a.test", (400, "InvalidRequest")),
    ];
    for (parameters, expected) in blobs {
        let answer = hold
            .query(&format!("com.atproto.sync.getBlob?{parameters}"))
            .await;
        assert_eq!(answer.error(), expected, "{parameters}");
    }
    let digest = hold.put_blob(&hold.captain, b"x").await;
    let path = format!("/xrpc/com.atproto.sync.getBlob?cid={digest}&method=PUT");
    let answer = Answer::of(hold.get(&path)).await;
    assert_eq!(answer.error(), (400, "InvalidRequest"));
    hold.stop().await;
}

#[tokio::test]
async fn blobs_outlive_a_restart_and_so_does_a_running_upload() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let digest = hold.put_blob(&hold.captain, b"kept").await;
    let mut input = hold.send_blob(&hold.captain, b"half-way").await;
    let hold = hold.restart(|_| ()).await;
    let url = hold
        .query(&format!("com.atproto.sync.getBlob?cid={digest}&method=GET"))
        .await
        .ok();
    assert_eq!(hold.follow(url["url"].as_str().expect("a URL")).await, b"kept");
    input["digest"] = json!(Digest::of(Algorithm::Sha256, b"half-way"));
    hold.call(COMPLETE, Some(&hold.captain), &input).await.ok();
    hold.stop().await;
}
