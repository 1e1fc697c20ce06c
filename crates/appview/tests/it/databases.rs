//! The two database files: what survives what.

use std::path::Path;

use atcr_appview::adapters::sqlite::{Database, Databases, scratch_path};
use http::Method;
use serde_json::json;

use crate::harness::{Answer, TestAppView};

const APP: &str = "alice.test/app";

#[tokio::test]
async fn without_the_scratch_file_accounts_are_listed_again_and_nobody_is_signed_out() {
    let mut appview = TestAppView::start().await;
    let token = appview.sailor("alice.test", &[APP]).await.token;
    let image = appview.image("scratch");
    let push = appview
        .request(Method::PUT, &format!("/v2/{APP}/manifests/v1"))
        .bearer_auth(&token)
        .body(image.bytes().clone());
    Answer::of(push).await.assert_status(201);
    let list = format!("/v2/{APP}/tags/list");
    let listed = Answer::of(appview.get(&list).bearer_auth(&token)).await;
    assert_eq!(listed.json()["tags"], json!(["v1"]));
    let uploads = format!("/v2/{APP}/blobs/uploads/");
    let begun = Answer::of(appview.request(Method::POST, &uploads).bearer_auth(&token)).await;
    let session = begun.header("location").to_owned();

    appview.stop().await;
    for file in ["ui-scratch.db", "ui-scratch.db-wal", "ui-scratch.db-shm"] {
        let path = appview.data().join("data").join(file);
        assert!(
            file != "ui-scratch.db" || path.exists(),
            "{file} is there to be lost"
        );
        let _ = std::fs::remove_file(path);
    }
    appview.restart().await;
    appview.pds.forget_calls();
    Answer::of(appview.get(&session).bearer_auth(&token))
        .await
        .assert_error(404, "BLOB_UPLOAD_UNKNOWN");
    let listed = Answer::of(appview.get(&list).bearer_auth(&token)).await;
    assert_eq!(listed.json()["tags"], json!(["v1"]));
    let push = appview
        .request(Method::PUT, &format!("/v2/{APP}/manifests/v2"))
        .bearer_auth(&token)
        .body(image.bytes().clone());
    Answer::of(push).await.assert_status(201);
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 0);
}

#[tokio::test]
async fn nobody_else_on_the_machine_reads_the_databases() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::open(&folder.path().join("ui.db")).await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 4, "both files and their logs");
    databases.close().await;
}

async fn pragma(database: &Database, name: &'static str) -> String {
    let query = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .fetch_one(database.writer())
        .await
        .unwrap()
}

async fn tables(database: &Database) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name NOT LIKE '_sqlx_%' ORDER BY name",
    )
    .fetch_all(database.readers())
    .await
    .unwrap()
}

#[tokio::test]
async fn only_what_can_be_made_again_is_written_without_waiting_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::open(&folder.path().join("ui.db")).await.unwrap();
    let (full, normal) = ("2", "1");
    assert_eq!(pragma(&databases.durable, "synchronous").await, full);
    assert_eq!(pragma(&databases.scratch, "synchronous").await, normal);
    for database in [&databases.durable, &databases.scratch] {
        assert_eq!(pragma(database, "journal_mode").await, "wal");
    }
    let durable = tables(&databases.durable).await;
    let scratch = tables(&databases.scratch).await;
    for table in [
        "device",
        "oauth_session",
        "pds_session",
        "refresh_token",
        "web_session",
    ] {
        assert!(durable.iter().any(|name| name == table), "{table} in {durable:?}");
    }
    for table in ["upload_session", "upload_part", "manifest", "tag"] {
        assert!(scratch.iter().any(|name| name == table), "{table} in {scratch:?}");
    }
    assert!(durable.iter().all(|table| !scratch.contains(table)));
    databases.check().await.unwrap();
    databases.close().await;
    assert!(databases.check().await.is_err());
}

#[test]
fn the_scratch_file_is_named_after_the_other() {
    for (durable, scratch) in [
        ("/data/ui.db", "/data/ui-scratch.db"),
        ("/data/appview.sqlite3", "/data/appview-scratch.sqlite3"),
        ("atcr", "atcr-scratch"),
    ] {
        assert_eq!(scratch_path(Path::new(durable)), Path::new(scratch));
    }
}
