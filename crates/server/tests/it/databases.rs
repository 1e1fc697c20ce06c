//! The pools over a SQLite file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use atcr_server::database::{Database, DatabaseOptions, Durability};
use sqlx::migrate::Migrator;

async fn open(path: &Path, folder: &Path) -> Database {
    std::fs::write(
        folder.join("20260101000000_things.sql"),
        "CREATE TABLE things (name TEXT NOT NULL) STRICT;",
    )
    .expect("a migration");
    let migrations = Migrator::new(folder).await.expect("the migrations");
    let options = DatabaseOptions {
        durability: Durability::ProcessEnd,
        readers: 2,
    };
    Database::open(path, options, &migrations)
        .await
        .expect("it opens")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[tokio::test]
async fn d15_the_files_of_a_database_are_their_owners_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("data/below/x.db");
    let database = open(&path, dir.path()).await;
    sqlx::query("INSERT INTO things VALUES ('a')")
        .execute(database.writer())
        .await
        .expect("a write");
    let folder = path.parent().expect("a folder");
    assert_eq!(mode(folder), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let file = entry.expect("an entry").path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        files += 1;
    }
    assert!(files >= 2, "the file and its log");
    database.close().await;
}

#[tokio::test]
async fn a_database_that_others_could_read_is_made_private() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("x.db");
    std::fs::write(&path, "").expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    let database = open(&path, dir.path()).await;
    assert_eq!(mode(&path), 0o600);
    database.close().await;
}

#[tokio::test]
async fn readers_cannot_write_and_the_writer_can() {
    let dir = tempfile::tempdir().expect("a folder");
    let database = open(&dir.path().join("x.db"), dir.path()).await;
    database.check().await.expect("a write would go through");
    assert!(
        sqlx::query("INSERT INTO things VALUES ('a')")
            .execute(database.readers())
            .await
            .is_err()
    );
    database.close().await;
    assert!(database.check().await.is_err());
}

#[tokio::test]
async fn a_durable_statement_waits_for_the_disk_and_the_next_one_does_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let database = open(&dir.path().join("x.db"), dir.path()).await;
    let note_mode = || sqlx::query("INSERT INTO things SELECT synchronous FROM pragma_synchronous");
    database
        .execute_durably(note_mode())
        .await
        .expect("a durable write");
    note_mode().execute(database.writer()).await.expect("a write");
    let modes: Vec<String> = sqlx::query_scalar("SELECT name FROM things ORDER BY rowid")
        .fetch_all(database.readers())
        .await
        .expect("the modes");
    // 2 is FULL, 1 is NORMAL.
    assert_eq!(modes, ["2", "1"]);
    database.close().await;
}
