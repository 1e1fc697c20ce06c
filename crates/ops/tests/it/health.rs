//! `healthcheck`, also by its own name.

use std::path::Path;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::{atcr, run_as, serve};

async fn server() -> String {
    let router = Router::new()
        .route("/readyz", get(|| async { "{}" }))
        .route("/failing", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/silent", get(std::future::pending::<()>));
    serve(router).await
}

#[tokio::test]
async fn a_server_that_is_well_is_told_from_one_that_is_not() {
    let url = server().await;
    let well = atcr(&["healthcheck", &format!("{url}/readyz")]).await.ok();
    assert_eq!(well.stdout, format!("{url}/readyz answers 200\n"));
    let failing = atcr(&["healthcheck", "--json", &format!("{url}/failing")]).await;
    assert_eq!(failing.code, Some(1));
    let answer = &failing.json()[0];
    assert_eq!(
        (&answer["healthy"], &answer["status"]),
        (&false.into(), &503.into())
    );
    assert_eq!(failing.stderr, format!("error: {url}/failing answers 503\n"));
    let silent = atcr(&["healthcheck", "--timeout", "200ms", &format!("{url}/silent")]).await;
    assert_eq!(silent.code, Some(1));
    assert!(
        silent.stderr.contains("/silent does not answer"),
        "{}",
        silent.stderr
    );
    let nobody = atcr(&["healthcheck", "http://127.0.0.1:1/"]).await;
    assert_eq!(nobody.code, Some(1));
    assert_eq!(nobody.stderr.lines().count(), 1, "{}", nobody.stderr);
}

#[tokio::test]
async fn a_link_by_the_name_of_a_tool_is_that_tool() {
    let url = server().await;
    let folder = tempfile::tempdir().unwrap();
    let links = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/image-root.sh"));
    let links = links.unwrap();
    let names = links
        .lines()
        .find_map(|line| line.trim().strip_prefix("for name in "));
    let names: Vec<&str> = names.unwrap().trim_end_matches("; do").split(' ').collect();
    assert_eq!(names, atcr_ops::names::NAMES, "the images have a link for each");
    for name in names {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_atcr"), &link).unwrap();
        let help = run_as(&link, &["--help"], &[]).await.ok();
        assert!(help.stdout.contains("Examples"), "{name}: {}", help.stdout);
    }
    let healthcheck: &Path = &folder.path().join("healthcheck");
    run_as(healthcheck, &[&format!("{url}/readyz")], &[]).await.ok();
    let failing = run_as(healthcheck, &[&format!("{url}/failing")], &[]).await;
    assert_eq!(failing.code, Some(1));
}
