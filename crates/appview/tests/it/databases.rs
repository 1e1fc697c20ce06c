//! The two database files: what survives what.

use std::path::Path;

use atcr_appview::adapters::sqlite::deletions::SqliteDeletions;
use atcr_appview::adapters::sqlite::{Database, Databases, open_durable, scratch_path};
use atcr_appview::manage::ports::{Deletion, DeletionStore as _};
use atcr_atproto::syntax::Did;
use atcr_oci::{Algorithm, Digest};
use atcr_registry::manifest::removal::{Removed, RemovedManifest};
use chrono::{DateTime, TimeDelta};
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

#[tokio::test]
async fn an_account_with_many_deletions_takes_no_other_account_its_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_durable(&folder.path().join("ui.db")).await.unwrap();
    let deletions = SqliteDeletions::new(database.clone()).keeping_bytes(100_000);
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let deletion = |id: &str, minute: i64, bytes: usize| Deletion {
        id: id.to_owned(),
        repository: "app".to_owned(),
        removed: Removed {
            tags: Vec::new(),
            manifests: vec![RemovedManifest {
                digest: Digest::of(Algorithm::Sha256, id.as_bytes()),
                media_type: "application/json".to_owned(),
                hold: None,
                bytes: vec![b'a'; bytes].into(),
            }],
        },
        is_finished: false,
        deleted_at: now + TimeDelta::minutes(minute),
        expires_at: now + TimeDelta::hours(24),
    };
    let did = |name: &str| -> Did { format!("did:plc:{name:a<24}").parse().unwrap() };
    deletions
        .keep(&did("alice"), &deletion("small", 0, 1_000))
        .await
        .unwrap();
    for number in 1..=9 {
        let large = deletion(&format!("large {number}"), number, 20_000);
        deletions.keep(&did("mallory"), &large).await.unwrap();
    }
    let kept = async |name: &str| -> Vec<String> {
        let list = deletions
            .list(&did(name), now + TimeDelta::minutes(10))
            .await
            .unwrap();
        list.into_iter().map(|deletion| deletion.id).collect()
    };
    assert_eq!(kept("alice").await, ["small"]);
    assert_eq!(
        kept("mallory").await,
        ["large 9", "large 8", "large 7", "large 6"]
    );
    // Each account has one that is larger than any before.
    for number in 1..=9 {
        let one = deletion(&format!("one {number}"), 9, number * 10_000);
        deletions
            .keep(
                &did(&format!("many{}", "bcdefghij".chars().nth(number - 1).unwrap())),
                &one,
            )
            .await
            .unwrap();
        let bytes: i64 = sqlx::query_scalar("SELECT sum(size_bytes) FROM deletion")
            .fetch_one(database.readers())
            .await
            .unwrap();
        assert!(bytes <= 100_000, "{bytes} bytes after {number}");
    }
    database.close().await;
}

fn digest_of(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

#[tokio::test]
async fn a_deletion_from_before_manifests_had_rows_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_durable(&folder.path().join("ui.db")).await.unwrap();
    let content = json!({
        "tags": [{ "tag": "v1", "digest": digest_of("{}").to_string() }],
        "manifests": [
            { "digest": digest_of("{}").to_string(), "media_type": "application/json", "hold": null, "text": "{}" },
            { "digest": digest_of("\"ä\"").to_string(), "media_type": "other", "hold": "did:web:hold.test", "text": "\"ä\"" },
        ],
    });
    sqlx::raw_sql("DROP TABLE deletion_manifest")
        .execute(database.writer())
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO deletion (id, did, repository, tags, manifests, content, size_bytes, deleted_at, expires_at, finished) \
         VALUES ('old', 'did:web:alice.test', 'app', 1, 2, ?, 100, 1, 10, 1)",
    )
    .bind(content.to_string())
    .execute(database.writer())
    .await
    .unwrap();
    sqlx::raw_sql(include_str!(
        "../../migrations/20261201000400_deletion_manifest.sql"
    ))
    .execute(database.writer())
    .await
    .unwrap();
    let deletions = SqliteDeletions::new(database.clone());
    let alice: Did = "did:web:alice.test".parse().unwrap();
    let at = DateTime::from_timestamp(2, 0).unwrap();
    let found = deletions.find(&alice, "old", at).await.unwrap().unwrap();
    assert_eq!(found.removed.tags.len(), 1);
    let manifests: Vec<_> = found.removed.manifests.iter().collect();
    assert_eq!(manifests[0].bytes.as_ref(), b"{}");
    assert_eq!(manifests[1].bytes.as_ref(), "\"ä\"".as_bytes());
    assert_eq!(manifests[1].hold.as_ref().unwrap().as_str(), "did:web:hold.test");
    deletions.forget(&alice, "old").await.unwrap();
    // Bytes need not be text.
    let binary = Deletion {
        id: "binary".to_owned(),
        removed: Removed {
            manifests: vec![RemovedManifest {
                bytes: vec![0xff, 0].into(),
                ..found.removed.manifests[0].clone()
            }],
            ..found.removed.clone()
        },
        is_finished: false,
        ..found
    };
    deletions.keep(&alice, &binary).await.unwrap();
    assert_eq!(deletions.find(&alice, "binary", at).await.unwrap(), Some(binary));
    deletions.forget(&alice, "binary").await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM deletion_manifest")
        .fetch_one(database.readers())
        .await
        .unwrap();
    assert_eq!(rows, 0);
    database.close().await;
}
