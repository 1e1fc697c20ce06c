//! Generations of the vulnerability database, with the real Grype.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse as _;
use serde_json::json;

use super::images::{planted, sha256};
use super::planted::database;
use super::program::{Machine, RealTools};

fn generations(machine: &Machine) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(machine.path("vulndb"))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn current(machine: &Machine) -> String {
    fs::read_to_string(machine.path("vulndb/current")).unwrap()
}

#[tokio::test]
async fn a_database_that_is_older_or_broken_does_not_replace_the_one_in_use() {
    let Some(tools) = RealTools::find() else { return };
    let machine = Machine::new(&tools);
    let newer = database(&tools.grype, machine.folder.path(), "2026-11-20 10:00:00").await;
    let older = database(&tools.grype, machine.folder.path(), "2026-11-19 10:00:00").await;
    let import = |path: &Path| machine.run(&["db", "import", path.to_str().unwrap()]);
    assert!(import(&newer).status.success());
    let in_use = current(&machine);

    let output = import(&older);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("older than the one in use"),
        "{said}"
    );
    let broken = machine.path("broken.db");
    fs::write(&broken, b"SQLite format 3\0 and nothing else").unwrap();
    let output = import(&broken);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(current(&machine), in_use);
    assert_eq!(generations(&machine), [in_use]);
    let status = machine.run(&["db", "status"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.starts_with("database of 2026-11-20 10:00 UTC"), "{said}");
}

#[tokio::test]
async fn what_another_process_uses_stays_and_what_one_left_is_removed() {
    let Some(tools) = RealTools::find() else { return };
    let machine = Machine::new(&tools);
    let older = database(&tools.grype, machine.folder.path(), "2026-11-19 10:00:00").await;
    let newer = database(&tools.grype, machine.folder.path(), "2026-11-20 10:00:00").await;
    let import = |path: &Path| machine.run(&["db", "import", path.to_str().unwrap()]);
    assert!(import(&older).status.success());
    let first = current(&machine);
    let incoming = machine.path("vulndb/incoming-x");
    fs::create_dir(&incoming).unwrap();
    let lock = |folder: &Path| {
        let file = fs::File::create(folder.join("in-use")).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared).unwrap();
        file
    };
    let others = [lock(&machine.path("vulndb").join(&first)), lock(&incoming)];
    assert!(import(&newer).status.success());
    let second = current(&machine);
    assert!(machine.run(&["db", "status"]).status.success());
    let mut all = vec![first, second.clone(), "incoming-x".to_owned()];
    all.sort();
    assert_eq!(generations(&machine), all);
    drop(others);
    assert!(machine.run(&["db", "status"]).status.success());
    assert_eq!(generations(&machine), [second]);
}

#[tokio::test]
async fn a_database_that_was_damaged_on_the_disk_is_not_used() {
    let Some(tools) = RealTools::find() else { return };
    let machine = Machine::new(&tools);
    let archive = database(&tools.grype, machine.folder.path(), "2026-11-20 10:00:00").await;
    assert!(
        machine
            .run(&["db", "import", archive.to_str().unwrap()])
            .status
            .success()
    );
    let file = machine
        .path("vulndb")
        .join(current(&machine))
        .join("6/vulnerability.db");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let result = machine
        .scan(&planted().write(&machine.path("layout")), &[])
        .unwrap();
    assert_eq!(result["state"], "sbom-only");
}

/// What a publisher has: a list with its newest archive.
#[derive(Default)]
struct Published {
    files: Vec<(String, Vec<u8>)>,
    asked: Vec<String>,
}

async fn publish(published: &Arc<Mutex<Published>>) -> String {
    async fn serve(
        State(published): State<Arc<Mutex<Published>>>,
        method: Method,
        uri: Uri,
    ) -> axum::response::Response {
        let mut published = published.lock().unwrap();
        published.asked.push(format!("{method} {}", uri.path()));
        let found = published.files.iter().find(|(path, _)| *path == uri.path());
        match found {
            Some((_, bytes)) => bytes.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(serve).with_state(Arc::clone(published));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/databases/latest.json")
}

fn put(published: &Arc<Mutex<Published>>, database: &Path, built: &str) {
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_path_with_name(database, "vulnerability.db")
        .unwrap();
    let archive = zstd::stream::encode_all(&*archive.into_inner().unwrap(), 1).unwrap();
    let name = format!("db-{}.tar.zst", built.replace(':', "-"));
    let list = json!({
        "status": "active",
        "schemaVersion": "6.1.10",
        "built": built,
        "path": name,
        "checksum": sha256(&archive).as_str(),
    });
    let mut published = published.lock().unwrap();
    published
        .files
        .retain(|(path, _)| !path.ends_with("latest.json") && !path.ends_with(&name));
    published
        .files
        .push(("/databases/latest.json".to_owned(), list.to_string().into_bytes()));
    published.files.push((format!("/databases/{name}"), archive));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_fetched_once_and_an_archive_that_is_not_what_the_list_says_is_not_used() {
    let Some(tools) = RealTools::find() else { return };
    let mut machine = Machine::new(&tools);
    let published = Arc::new(Mutex::new(Published::default()));
    let list = publish(&published).await;
    machine.set("SCANNER_VULN_DB_URL", &list);
    let first = database(&tools.grype, machine.folder.path(), "2026-11-20 10:00:00").await;
    put(&published, &first, "2026-11-20T10:00:00Z");
    let update = || {
        let mut command = machine.command(&["db", "update"]);
        async move {
            tokio::task::spawn_blocking(move || command.output().unwrap())
                .await
                .unwrap()
        }
    };
    let output = update().await;
    assert!(output.status.success(), "{output:?}");
    let in_use = current(&machine);
    let archives = |published: &Arc<Mutex<Published>>| {
        let published = published.lock().unwrap();
        published
            .asked
            .iter()
            .filter(|asked| asked.starts_with("GET") && asked.ends_with(".zst"))
            .count()
    };
    assert_eq!(archives(&published), 1, "{:?}", published.lock().unwrap().asked);

    let output = update().await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("there is no newer database"), "{said}");
    assert_eq!(archives(&published), 1);

    let second = database(&tools.grype, machine.folder.path(), "2026-11-21 10:00:00").await;
    put(&published, &second, "2026-11-21T10:00:00Z");
    published.lock().unwrap().files.last_mut().unwrap().1[100] ^= 1;
    let output = update().await;
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(current(&machine), in_use);

    put(&published, &second, "2026-11-21T10:00:00Z");
    let output = update().await;
    assert!(output.status.success(), "{output:?}");
    assert_ne!(current(&machine), in_use);
}
