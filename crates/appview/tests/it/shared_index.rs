//! Appviews that share the index in a PostgreSQL database.

use atcr_appview::compose::{Outside, compose};
use atcr_appview::settings::AppViewSettings;
use atcr_server::{Problems, Secret, Shutdown};
use atcr_test_support::fakes::PdsFault;
use atcr_test_support::postgres_server::PostgresServer;

use crate::harness::{Answer, TestAppView, sha256};

async fn on(server: &PostgresServer, plc: Option<String>) -> TestAppView {
    let url = server.url("postgres");
    TestAppView::start_with(move |config| {
        config.index.enabled = true;
        config.index.database_url = Secret::new(url);
        if let Some(plc) = plc {
            config.server.plc_directory_url.clone_from(&plc);
            config.server.handle_resolver_url = plc;
        }
    })
    .await
}

/// The repositories that a search finds.
async fn found(appview: &TestAppView, typed: &str) -> Vec<String> {
    let answer = Answer::of(appview.get(&format!("/api/v1/search?q={typed}"))).await;
    answer.assert_status(200);
    let items = answer.json()["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item["name"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn a_push_through_one_is_on_the_pages_of_the_other_when_it_returns() {
    let server = PostgresServer::start().unwrap();
    let one = on(&server, None).await;
    let other = on(&server, Some(one.pds.url())).await;
    let sailor = one.sailor("alice.test", &["alice.test/shop"]).await;
    sailor.push("alice.test/shop", "latest", &one.image("shop")).await;
    assert_eq!(found(&other, "shop").await, ["shop"]);
    assert_eq!(found(&one, "shop").await, ["shop"]);
    let page = Answer::of(other.get("/r/alice.test/shop")).await;
    page.assert_status(200);
    // The file is not made.
    assert!(!one.settings().paths.index.exists());
}

#[tokio::test]
async fn no_memory_of_one_answers_what_a_push_or_deletion_through_the_other_changed() {
    let server = PostgresServer::start().unwrap();
    let one = on(&server, None).await;
    let other = on(&server, Some(one.pds.url())).await;
    let sailor = one.sailor("alice.test", &["alice.test/app"]).await;
    let pull = async |reference: &str| {
        let token = other
            .get("/auth/token")
            .query(&[("scope", "repository:alice.test/app:pull")]);
        let token = Answer::of(token).await.json();
        let path = format!("/v2/alice.test/app/manifests/{reference}");
        let asked = other.get(&path).bearer_auth(token["token"].as_str().unwrap());
        Answer::of(asked).await
    };
    let (first, second) = (one.image("first"), one.image("second"));
    sailor.push("alice.test/app", "v1", &first).await;
    assert_eq!(pull("v1").await.body, first.bytes());
    sailor.push("alice.test/app", "v1", &second).await;
    assert_eq!(pull("v1").await.body, second.bytes());
    let digest = sha256(&second);
    assert_eq!(pull(digest.as_str()).await.body, second.bytes());
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/alice.test/app/manifests/{reference}");
        sailor.delete(&path).await.assert_status(202);
        pull(reference).await.assert_error(404, "MANIFEST_UNKNOWN");
    }
}

#[tokio::test]
async fn while_a_server_is_silent_nothing_from_before_a_write_that_another_appview_heard_of_is_served() {
    let server = PostgresServer::start().unwrap();
    let one = on(&server, None).await;
    let other = on(&server, Some(one.pds.url())).await;
    let sailor = one.sailor("alice.test", &["alice.test/app"]).await;
    let image = one.image("first");
    sailor.push("alice.test/app", "v1", &image).await;
    let token = other
        .get("/auth/token")
        .query(&[("scope", "repository:alice.test/app:pull")]);
    let token = Answer::of(token).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let pull = async || Answer::of(other.get("/v2/alice.test/app/manifests/v1").bearer_auth(&token)).await;
    assert_eq!(pull().await.body, image.bytes());
    for method in ["sync.getLatestCommit", "sync.getBlob", "repo.getRecord"] {
        let fault = Some(PdsFault::Status(502, "BadGateway"));
        one.pds.set_fault(&format!("com.atproto.{method}"), fault);
    }
    let heard = |of: &str| {
        let statement = format!("UPDATE atcr_index.account SET head_seen = {of}");
        server.run("postgres", &statement).unwrap();
    };
    heard("'3zzzzzzzzzzzz'");
    pull().await.assert_error(503, "UNAVAILABLE");
    heard("rev");
    assert_eq!(pull().await.body, image.bytes());
}

#[tokio::test]
async fn a_second_one_behind_the_same_base_url_is_refused() {
    let server = PostgresServer::start().unwrap();
    let mut one = on(&server, None).await;
    let folder = tempfile::tempdir().unwrap();
    let mut same = one.configuration();
    same.server.base_url = one.settings().base_url.to_string();
    same.server.data_dir = folder.path().to_owned();
    let same = AppViewSettings::parse(&same, &mut Problems::default()).unwrap();
    let refused = compose(&same, Outside::real(), Shutdown::new())
        .await
        .err()
        .unwrap();
    assert!(
        refused.to_string().contains("another appview with the base URL"),
        "{refused:#}"
    );
    one.stop().await;
    let shutdown = Shutdown::new();
    compose(&same, Outside::real(), shutdown.clone()).await.unwrap();
    shutdown.begin();
}

#[tokio::test]
async fn a_server_whose_base_url_another_one_has_taken_stops() {
    let server = PostgresServer::start().unwrap();
    let one = on(&server, None).await;
    let folder = tempfile::tempdir().unwrap();
    let mut other = one.configuration();
    other.server.base_url = "http://127.0.0.1:9".to_owned();
    other.server.data_dir = folder.path().to_owned();
    let other = AppViewSettings::parse(&other, &mut Problems::default()).unwrap();
    let shutdown = Shutdown::new();
    compose(&other, Outside::real(), shutdown.clone()).await.unwrap();
    // It was out of reach of the database for so long that its claim was over.
    let taken = "UPDATE atcr_index.lease SET holder = 'another', expires_at = clock_timestamp() + interval '1 hour' \
                 WHERE name = 'appview http://127.0.0.1:9/'";
    server.run("postgres", taken).unwrap();
    let stopped = tokio::time::timeout(std::time::Duration::from_mins(1), shutdown.soft().cancelled());
    assert!(stopped.await.is_ok(), "it goes on");
    let holder = "SELECT holder FROM atcr_index.lease WHERE name = 'appview http://127.0.0.1:9/'";
    assert_eq!(server.run("postgres", holder).unwrap().trim(), "another");
    shutdown.drain(std::time::Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_server_whose_database_can_only_be_read_is_not_ready() {
    let server = PostgresServer::start().unwrap();
    let one = on(&server, None).await;
    server
        .run(
            "postgres",
            "ALTER DATABASE postgres SET default_transaction_read_only = on; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'",
        )
        .unwrap();
    Answer::of(one.get("/readyz")).await.assert_status(503);
}

#[test]
fn the_index_is_in_a_file_or_in_a_database_and_no_message_has_the_password() {
    let refused = |path: &str, url: &str| {
        let mut config = atcr_appview::config::AppViewConfig::default();
        config.index.database_path = path.into();
        config.index.database_url = Secret::new(url);
        let mut problems = Problems::default();
        let settings = AppViewSettings::parse(&config, &mut problems);
        assert!(settings.is_none_or(|settings| settings.index_database.is_none()));
        format!("{problems:?}")
    };
    for (path, url, message) in [
        (
            "/x/index.db",
            "postgres://a:s3cr3t@h/d",
            "is set beside index.database_path",
        ),
        ("", "mysql://a:s3cr3t@h/d", "it has to begin with postgres://"),
        ("", "postgres://a:s3cr3t@h", "it has to name a database"),
    ] {
        let problems = refused(path, url);
        assert!(problems.contains("index.database_url"), "{problems}");
        assert!(problems.contains(message), "{problems}");
        assert!(!problems.contains("s3cr3t"), "{problems}");
    }
}
