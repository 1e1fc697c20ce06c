//! The process around the registry: identity, health, configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use atcr_appview::config::AppViewConfig;
use atcr_atproto::identity::DidDocument;
use atcr_server::{LoadOptions, commented_yaml, load};
use http::Method;

use crate::harness::{Answer, TestAppView, settings};

#[tokio::test]
async fn the_appview_has_a_did_document_with_its_key() {
    let mut appview = TestAppView::start().await;
    let port = appview.url.rsplit(':').next().unwrap().to_owned();
    let did = format!("did:web:127.0.0.1%3A{port}").parse().unwrap();
    let read = |answer: Answer| {
        answer.assert_status(200);
        DidDocument::parse(&did, &answer.body).unwrap()
    };
    let document = read(Answer::of(appview.get("/.well-known/did.json")).await);
    let key = document.verification_method("atcr_appview").unwrap();
    assert_eq!(document.signing_key(), Some(key.clone()));
    assert_eq!(
        document.service("atcr_appview").unwrap().as_str(),
        format!("{}/", appview.url)
    );
    appview.restart().await;
    let document = read(Answer::of(appview.get("/.well-known/did.json")).await);
    assert_eq!(
        document.verification_method("atcr_appview"),
        Some(key),
        "the key is kept"
    );
}

#[tokio::test]
async fn keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let appview = TestAppView::start().await;
    for file in [
        "data",
        "data/auth/private-key.pem",
        "data/auth/appview.key",
        "data/auth/vault.key",
    ] {
        let mode = std::fs::metadata(appview.data().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
}

#[tokio::test]
async fn health_is_told_without_credentials() {
    let appview = TestAppView::start().await;
    for path in ["/livez", "/readyz"] {
        let answer = Answer::of(appview.get(path)).await;
        answer.assert_status(200);
        assert_eq!(answer.json()["status"], "ok");
    }
}

#[tokio::test]
async fn d11_probes_do_not_take_the_databases_lock_each_time() {
    use sqlx::ConnectOptions as _;
    let appview = TestAppView::start().await;
    Answer::of(appview.get("/readyz")).await.assert_status(200);
    // The answer is good for some seconds: it stays, although no write would go through now.
    let file = appview.data().join("data/ui.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut writer = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    for _ in 0..3 {
        Answer::of(appview.get("/readyz")).await.assert_status(200);
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_sane_one_is_taken_over() {
    let appview = TestAppView::start().await;
    let own = Answer::of(appview.get("/livez")).await;
    assert_eq!(own.header("x-request-id").len(), 32);
    let given = Answer::of(appview.get("/v2/").header("x-request-id", "proxy-1.2_3")).await;
    assert_eq!(given.header("x-request-id"), "proxy-1.2_3");
    for bad in ["", "a b", &"x".repeat(100)] {
        let answer = Answer::of(appview.get("/livez").header("x-request-id", bad)).await;
        assert_eq!(answer.header("x-request-id").len(), 32, "{bad:?}");
    }
}

#[tokio::test]
async fn every_error_body_names_the_request() {
    let appview = TestAppView::start().await;
    let ask = |method: Method, path: &str| {
        let request = appview
            .request(method, path)
            .header("x-request-id", "id-of-this-1");
        Answer::of(request)
    };
    for path in ["/v2/", "/v2/alice.test/app/nothing", "/auth/token?scope=x"] {
        let answer = ask(Method::GET, path).await;
        assert_eq!(
            answer.json()["errors"][0]["detail"]["requestId"],
            "id-of-this-1",
            "{path}"
        );
    }
    for path in [
        "/api/devices",
        "/nothing",
        "/dist/nothing",
        "/api/credential-helper/version",
    ] {
        let answer = ask(Method::GET, path).await;
        assert_eq!(answer.json()["requestId"], "id-of-this-1", "{path}");
    }
    let device = ask(Method::POST, "/auth/device/token").await;
    assert_eq!(device.json()["request_id"], "id-of-this-1");
    let page = appview
        .get("/nothing")
        .header("accept", "text/html")
        .header("x-request-id", "id-of-this-1");
    assert!(Answer::of(page).await.text().contains("id-of-this-1"));
}

#[tokio::test]
async fn unknown_paths_and_methods_speak_the_registrys_dialect() {
    let appview = TestAppView::start().await;
    Answer::of(appview.get("/v2/alice.test/app/nothing"))
        .await
        .assert_error(404, "UNSUPPORTED");
    let answer = Answer::of(appview.request(Method::POST, "/v2/alice.test/app/manifests/v1")).await;
    answer.assert_error(405, "UNSUPPORTED");
    assert!(
        answer.header("allow").contains("PUT"),
        "{}",
        answer.header("allow")
    );
    Answer::of(appview.get("/v2/alice.test/APP/tags/list"))
        .await
        .assert_error(400, "NAME_INVALID");
    Answer::of(appview.get("/v2/app/tags/list"))
        .await
        .assert_error(404, "NAME_UNKNOWN");
}

fn example_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config-appview.example.yaml")
}

#[test]
fn the_example_file_is_what_config_init_writes() {
    let written = commented_yaml::<AppViewConfig>().unwrap();
    let kept = std::fs::read_to_string(example_path()).unwrap_or_default();
    assert_eq!(
        kept, written,
        "run: cargo run -p atcr-appview -- config init > config-appview.example.yaml"
    );
}

#[test]
fn the_example_file_is_valid_and_says_what_the_defaults_say() {
    let options = LoadOptions {
        file: Some(example_path()),
        ..LoadOptions::default()
    };
    let loaded = load::<AppViewConfig>(&options).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let settings = settings(&loaded.config);
    assert_eq!(settings.base_url.as_str(), "http://127.0.0.1:5000/");
    assert_eq!(settings.did.as_str(), "did:web:127.0.0.1%3A5000");
    assert_eq!(settings.paths.database, PathBuf::from("/var/lib/atcr/ui.db"));
}

#[test]
fn every_wrong_setting_is_named_at_once() {
    let environment: BTreeMap<String, String> = [
        ("ATCR_SERVER_ADDR", "nowhere"),
        ("ATCR_SERVER_BASE_URL", "https://atcr.example/registry"),
        ("ATCR_SERVER_DEFAULT_HOLD_DID", "hold.example.com"),
        ("ATCR_SERVER_PLC_DIRECTORY_URL", "plc"),
        ("ATCR_UPSTREAM_PDS_TIMEOUT", "0s"),
        ("ATCR_LOG_FORMAT", "xml"),
        ("ATCR_LOG_LEVEL", "verbose"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let options = LoadOptions {
        environment,
        ..LoadOptions::default()
    };
    let error = load::<AppViewConfig>(&options).unwrap_err();
    let mut keys: Vec<&str> = error
        .problems()
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "log_format",
            "log_level",
            "server.addr",
            "server.base_url",
            "server.default_hold_did",
            "server.plc_directory_url",
            "upstream.pds_timeout",
        ]
    );
}

#[test]
fn a_hold_did_with_a_plain_port_is_understood() {
    let mut config = AppViewConfig::default();
    config.server.default_hold_did = "did:web:localhost:8080".to_owned();
    assert_eq!(
        settings(&config).default_hold.unwrap().as_str(),
        "did:web:localhost%3A8080"
    );
}

#[tokio::test]
async fn an_appview_that_is_told_to_stop_while_its_database_is_locked_at_the_start_ends_with_success() {
    use sqlx::ConnectOptions as _;
    let data = tempfile::tempdir().unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(data.path().join("ui.db"))
        .create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut starting = std::process::Command::new(env!("CARGO_BIN_EXE_atcr-appview"))
        .arg("serve")
        .env("ATCR_SERVER_ADDR", address.to_string())
        .env("ATCR_SERVER_DATA_DIR", data.path())
        .env("ATCR_SERVER_TEST_MODE", "true")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // It listens before it opens anything, and knows signals by then.
    while std::net::TcpStream::connect(address).is_err() {
        assert_eq!(starting.try_wait().unwrap(), None, "it ended by itself");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&starting);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Left alone, it would give up waiting for the lock and fail.
    assert_eq!(starting.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn an_appview_without_room_on_its_disk_is_not_ready() {
    let appview = TestAppView::start_with(|config| config.server.free_disk_bytes = u64::MAX >> 1).await;
    let answer = Answer::of(appview.get("/readyz")).await;
    answer.assert_status(503);
    assert_eq!(answer.json()["status"], "unready");
    Answer::of(appview.get("/livez")).await.assert_status(200);
}
