//! `init` and `doctor` at a bucket.

use std::path::Path;
use std::process::Output;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;

use super::{failure, program, run};
use crate::object_store::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, s3s_router};

/// A rule that removes layers, one that removes what is not a hold's, and one that is not in force.
const RULES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Rule><ID>tidy</ID><Filter><Prefix>docker/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>
  <Rule><ID>uploads</ID><Filter><Prefix>docker/registry/v2/uploads/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>7</Days></Expiration></Rule>
  <Rule><ID>others</ID><Filter><Prefix>photos/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>
  <Rule><ID>off</ID><Filter><Prefix></Prefix></Filter><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>
</LifecycleConfiguration>"#;

/// An S3 service with an empty bucket, which may have rules.
async fn service(root: &Path, has_rules: bool) -> String {
    std::fs::create_dir(root.join(BUCKET)).expect("a bucket");
    let rules = move |request: Request, next: Next| async move {
        let asks = request.uri().query().is_some_and(|query| {
            query
                .split('&')
                .any(|part| part == "lifecycle" || part == "lifecycle=")
        });
        if has_rules && asks {
            ([("content-type", "application/xml")], RULES).into_response()
        } else {
            next.run(request).await
        }
    };
    let router: Router = s3s_router(root).layer(from_fn(rules));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The objects that are in the bucket.
fn objects(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(BUCKET)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

fn arguments<'a>(endpoint: &'a str, data: &'a str) -> Vec<&'a str> {
    vec![
        "init",
        "--yes",
        "--local",
        "--url",
        "http://127.0.0.1:1",
        "--captain",
        "did:web:captain.test",
        "--no-lookup",
        "--data-dir",
        data,
        "--storage",
        "s3",
        "--endpoint",
        endpoint,
        "--bucket",
        BUCKET,
        "--access-key",
        ACCESS_KEY,
    ]
}

fn findings(output: &Output) -> Vec<String> {
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let findings = found["findings"].as_array().expect("findings").iter();
    findings
        .map(|finding| {
            let part = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", part("grade"), part("check"), part("text"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_all_is_written_down_and_left_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let endpoint = service(root, false).await;
    let data = root.join("data");
    let mut given = arguments(&endpoint, data.to_str().expect("UTF-8"));
    std::fs::write(root.join("secret"), format!("{SECRET_KEY}\n")).expect("written");
    given.extend(["--secret-key-file", "secret"]);
    let output = run(root, &given);
    assert!(output.status.success(), "{output:?}");
    let asides = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(asides.matches("\n  ok ").count(), 12, "{asides}");
    assert_eq!(objects(root), Vec::<std::path::PathBuf>::new());
    let written = std::fs::read_to_string(root.join("hold.yaml")).expect("the file");
    for line in [
        "driver: s3",
        &format!("bucket: {BUCKET}"),
        &format!("access_key: {ACCESS_KEY}"),
        &format!("secret_key: {SECRET_KEY}"),
    ] {
        assert!(written.contains(line), "{line} in:\n{written}");
    }
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        !said.contains(SECRET_KEY) && !asides.contains(SECRET_KEY),
        "{said}{asides}"
    );

    // The doctor tries the same and leaves nothing either.
    let doctor = run(root, &["doctor", "--config", "hold.yaml", "--json"]);
    let found = findings(&doctor);
    assert!(
        found.iter().any(|line| line.starts_with("ok store the bucket")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|line| line.starts_with("ok store's rules")),
        "{found:?}"
    );
    assert_eq!(objects(root), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_not_take_the_keys_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let endpoint = service(root, false).await;
    let data = root.join("data");
    let given = arguments(&endpoint, data.to_str().expect("UTF-8"));
    let said = failure(root, &given);
    assert!(said.contains("--secret-key-file is missing"), "{said}");
    let output = program(root, &given)
        .env("AWS_SECRET_ACCESS_KEY", "another-secret")
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("--bucket: it does not do"),
        "{said}"
    );
    assert!(!said.contains("another-secret"), "{said}");
    assert!(!root.join("hold.yaml").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_a_bucket_that_let_layers_expire_are_a_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let endpoint = service(root, true).await;
    let data = root.join("data");
    let mut given = arguments(&endpoint, data.to_str().expect("UTF-8"));
    std::fs::write(root.join("secret"), SECRET_KEY).expect("written");
    given.extend(["--secret-key-file", "secret"]);
    assert!(run(root, &given).status.success());
    let doctor = run(root, &["doctor", "--config", "hold.yaml", "--json"]);
    assert_eq!(doctor.status.code(), Some(2), "{doctor:?}");
    let found = findings(&doctor);
    let problems: Vec<&String> = found
        .iter()
        .filter(|line| line.starts_with("problem store's rules"))
        .collect();
    assert_eq!(problems.len(), 1, "{found:?}");
    assert!(
        problems[0].contains("\"tidy\" removes objects below \"docker/\" after 30 days"),
        "{problems:?}"
    );
}
