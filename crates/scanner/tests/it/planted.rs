//! A tiny vulnerability database: the tool makes its tables, the test plants rows in them. The whole-system tests have this file too.

use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

const SEED: &str =
    "CREATE TABLE db_metadata(build_timestamp datetime, model integer, revision integer, addition integer)";

/// Findings in the Debian and the Python package of `images::planted`, of which one is known to be exploited, and in a Go module.
const ROWS: &[&str] = &[
    "INSERT INTO providers(id,date_captured) VALUES('debian','2026-11-01 00:00:00+00:00'),('github','2026-11-01 00:00:00+00:00')",
    "INSERT INTO operating_systems(id,name,major_version,codename,channel) VALUES(1,'debian','12','bookworm','')",
    "INSERT INTO packages(id,ecosystem,name) VALUES(1,'deb','planted-src'),(2,'python','planted-py'),(3,'go-module','oras.land/oras-go/v2')",
    r#"INSERT INTO blobs(id,value) VALUES
 (1,'{"id":"CVE-2099-0001","severities":[{"scheme":"CHMLN","value":"high","rank":1}]}'),
 (2,'{"cves":["CVE-2099-0001"],"ranges":[{"version":{"type":"dpkg","constraint":"< 1.0-2"},"fix":{"version":"1.0-2","state":"fixed"}}]}'),
 (3,'{"id":"GHSA-aaaa-bbbb-0002","aliases":["CVE-2099-0002"],"severities":[{"scheme":"CHML","value":"critical","rank":1}]}'),
 (4,'{"cves":["CVE-2099-0002"],"ranges":[{"version":{"type":"python","constraint":"<1.0.1"},"fix":{"version":"1.0.1","state":"fixed"}}]}'),
 (5,'{"cve":"CVE-2099-0002"}'),
 (6,'{"id":"GHSA-aaaa-bbbb-0003","aliases":["CVE-2099-0003"],"severities":[{"scheme":"CHML","value":"medium","rank":1}]}'),
 (7,'{"cves":["CVE-2099-0003"],"ranges":[{"version":{"type":"go","constraint":"<99.0.0"},"fix":{"state":"not-fixed"}}]}')"#,
    "INSERT INTO vulnerability_handles(id,name,status,provider_id,blob_id) VALUES(1,'CVE-2099-0001','active','debian',1),(2,'GHSA-aaaa-bbbb-0002','active','github',3),(3,'GHSA-aaaa-bbbb-0003','active','github',6)",
    "INSERT INTO affected_package_handles(vulnerability_id,operating_system_id,package_id,blob_id) VALUES(1,1,1,2),(2,NULL,2,4),(3,NULL,3,7)",
    "INSERT INTO known_exploited_vulnerability_handles(cve,blob_id) VALUES('CVE-2099-0002',5)",
];

/// A database file built at `built`, SQLite's form of UTC, with the planted findings.
pub(crate) async fn database(grype: &Path, folder: &Path, built: &str) -> PathBuf {
    let cache = folder.join("making");
    let seed = folder.join("seed.db");
    let mut connection = open(&seed).await;
    for statement in [
        SEED.to_owned(),
        format!("INSERT INTO db_metadata VALUES('{built}+00:00',6,1,10)"),
    ] {
        execute(&mut connection, &statement).await;
    }
    connection.close().await.unwrap();
    let output = Command::new(grype)
        .args(["db", "import", seed.to_str().unwrap()])
        .env_clear()
        .env("HOME", folder)
        .env("GRYPE_DB_CACHE_DIR", &cache)
        .env("GRYPE_CHECK_FOR_APP_UPDATE", "false")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let planted = folder.join(format!("planted-{}.db", built.replace([' ', ':'], "-")));
    std::fs::copy(cache.join("6/vulnerability.db"), &planted).unwrap();
    let mut connection = open(&planted).await;
    for rows in ROWS {
        execute(&mut connection, rows).await;
    }
    connection.close().await.unwrap();
    std::fs::remove_dir_all(cache).unwrap();
    std::fs::remove_file(seed).unwrap();
    planted
}

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.unwrap()
}

async fn execute(connection: &mut SqliteConnection, statement: &str) {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}
