//! `s3-test`, against an S3 service in this process.

use std::path::Path;

use axum::Router;
use axum::error_handling::HandleError;
use axum::http::StatusCode;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use crate::{Run, run_as, serve};

async fn s3(root: &Path) -> String {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(SimpleAuth::from_single("access", "secret"));
    let service = HandleError::new(builder.build(), |error| async move {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}"))
    });
    serve(Router::new().fallback_service(service)).await
}

async fn tested(endpoint: &str, secret: &str, more: &[&str]) -> Run {
    let variables = [
        ("S3_BUCKET", "blobs"),
        ("S3_ENDPOINT", endpoint),
        ("AWS_ACCESS_KEY_ID", "access"),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_atcr"));
    run_as(program, &[&["s3-test"], more].concat(), &variables).await
}

#[tokio::test]
async fn a_bucket_that_does_all_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("blobs")).unwrap();
    let endpoint = s3(folder.path()).await;
    let run = tested(&endpoint, "secret", &[]).await.ok();
    assert!(
        run.stdout.starts_with("bucket blobs at http://127.0.0.1:"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("X-Amz-Signature"), "{}", run.stdout);
    assert_eq!(run.stdout.matches("\nok ").count(), 12, "{}", run.stdout);
    let steps = tested(&endpoint, "secret", &["--json"]).await.ok().json();
    assert!(
        steps.len() == 12 && steps.iter().all(|step| step["ok"] == true),
        "{steps:?}"
    );
    let mut left = Vec::new();
    let mut folders = vec![folder.path().join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                left.push(path);
            }
        }
    }
    assert!(left.is_empty(), "{left:?}");
    let shown = tested(&endpoint, "secret", &["--show-urls"]).await.ok().stdout;
    assert!(shown.contains("X-Amz-Signature"), "{shown}");
}

#[tokio::test]
async fn the_step_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("blobs")).unwrap();
    let endpoint = s3(folder.path()).await;
    let wrong = tested(&endpoint, "wrong", &["--json"]).await;
    assert_eq!(wrong.code, Some(1));
    let steps = wrong.json();
    assert_eq!((steps.len(), &steps[0]["ok"]), (1, &false.into()));
    assert!(!wrong.stderr.contains("wrong\""), "{}", wrong.stderr);
    // Downloads go to a place that is not the bucket.
    let zone = serve(Router::new()).await;
    let variables = [
        ("S3_BUCKET", "blobs"),
        ("S3_ENDPOINT", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "access"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("HOLD_STORAGE_PULL_ZONE", zone.as_str()),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_atcr"));
    let run = run_as(program, &["s3-test"], &variables).await;
    assert_eq!(run.code, Some(1));
    assert!(
        run.stdout.contains("failed  the pull zone answers HEAD"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("ok      what was written is removed"),
        "{}",
        run.stdout
    );
    let folder_of_files = run_as(program, &["s3-test"], &[]).await;
    assert!(
        folder_of_files.stderr.contains("storage.bucket"),
        "{}",
        folder_of_files.stderr
    );
}
