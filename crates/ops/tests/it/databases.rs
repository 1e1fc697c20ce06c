//! `db-migrate`.

use std::path::Path;

use atcr_index_sqlite::SqliteIndex;
use atcr_test_support::postgres_server::PostgresServer;

use crate::{atcr, run_as};

#[tokio::test]
async fn an_index_is_copied_once_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.db");
    SqliteIndex::open(&file).await.unwrap().close().await;
    let server = PostgresServer::start().unwrap();
    let url = server.url("postgres");
    let file = file.to_str().unwrap();
    let missing = atcr(&["db-migrate", "--file", "/nowhere/index.db", "--to", &url]).await;
    assert_eq!(missing.stderr, "error: there is no file /nowhere/index.db\n");
    let copied = atcr(&["db-migrate", "--file", file, "--to", &url, "--json"])
        .await
        .ok();
    let lines = copied.json();
    assert_eq!(lines.len(), 24);
    assert_eq!(lines[23]["copied"], true);
    // By its own name, with the appview's variables.
    let link = folder.path().join("db-migrate");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_atcr"), &link).unwrap();
    let variables = [
        ("ATCR_INDEX_DATABASE_PATH", file),
        ("ATCR_INDEX_DATABASE_URL", &url),
    ];
    let again = run_as(Path::new(&link), &[], &variables).await.ok();
    assert!(
        again.stdout.contains("account: 0 rows, all equal"),
        "{}",
        again.stdout
    );
    let wrong = atcr(&["db-migrate", "--file", file, "--to", "mysql://u:s3cr3t@h/d"]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("postgres://"), "{}", wrong.stderr);
}
