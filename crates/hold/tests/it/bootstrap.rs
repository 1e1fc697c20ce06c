//! The first start, and the later ones.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_hold::compose::{Hold, StartError, Surroundings};
use atcr_hold::config::HoldConfig;
use atcr_hold_pds::records::captain::Stated;
use atcr_server::Shutdown;
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::harness::identities::Identities;
use crate::harness::{Setup, TestHold, egress, settings};

async fn captain(hold: &TestHold) -> Value {
    let record = hold
        .query(&format!(
            "com.atproto.repo.getRecord?repo={}&collection=io.atcr.hold.captain&rkey=self",
            hold.did()
        ))
        .await
        .ok();
    record["value"].clone()
}

#[tokio::test]
async fn the_first_start_makes_the_captain_crew() {
    let hold = TestHold::start(Setup::default()).await;
    let captain = captain(&hold).await;
    assert_eq!(captain["owner"], hold.captain.did.as_str());
    assert_eq!(captain["public"], false);
    assert_eq!(captain["allowAllCrew"], false);
    assert_eq!(captain["enableBlueskyPosts"], false);
    let crew = hold
        .query(&format!(
            "com.atproto.repo.listRecords?repo={}&collection=io.atcr.hold.crew",
            hold.did()
        ))
        .await
        .ok();
    let owner = &crew["records"][0]["value"];
    assert_eq!(owner["member"], hold.captain.did.as_str());
    assert_eq!(owner["role"], "owner");
    assert_eq!(
        owner["permissions"],
        json!(["blob:read", "blob:write", "crew:admin"])
    );
    let events = hold
        .hold
        .repo()
        .events_after(0, 10)
        .await
        .expect("readable")
        .len();
    // Those of a new repository: identity, account, commit, sync.
    assert_eq!(events, 5, "captain, crew and profile are one commit");
    let query = format!("app.bsky.actor.getProfile?actor={}", hold.did());
    let profile = hold.query(&query).await.ok();
    assert_eq!(
        (&profile["displayName"], &profile["description"]),
        (
            &json!("127.0.0.1"),
            &json!("Keeps the layers of container images.")
        )
    );

    let mode = |path: &str| {
        let metadata = std::fs::metadata(hold.data_dir().join(path)).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("signing.key"), 0o600);
    hold.stop().await;
}

#[tokio::test]
async fn a_profile_is_written_once_and_only_if_it_is_wanted() {
    let profile = "sh.tangled.actor.profile";
    let record = async |hold: &TestHold| {
        let query = format!(
            "com.atproto.repo.getRecord?repo={}&collection={profile}&rkey=self",
            hold.did()
        );
        hold.query(&query).await
    };
    let none = TestHold::start_with(Setup::default(), |config| {
        config.registration.profile_display_name = "none".to_owned();
    })
    .await;
    assert_eq!(record(&none).await.error(), (404, "RecordNotFound"));
    none.stop().await;

    let hold = TestHold::start_with(Setup::default(), |config| {
        config.registration.profile_display_name = "The harbour".to_owned();
    })
    .await;
    let written = record(&hold).await.ok();
    assert_eq!(written["value"]["displayName"], "The harbour");
    let delete = json!({ "repo": hold.did(), "collection": profile, "rkey": "self" });
    hold.call("com.atproto.repo.deleteRecord", Some(&hold.captain), &delete)
        .await
        .ok();
    let hold = hold.restart(|_| ()).await;
    assert_eq!(
        record(&hold).await.error(),
        (404, "RecordNotFound"),
        "what was deleted stays so"
    );
    hold.stop().await;
}

#[tokio::test]
async fn a_restart_changes_the_captain_record_only_where_the_settings_changed() {
    let hold = TestHold::start(Setup::default()).await;
    let before = captain(&hold).await;
    let commit = hold.hold.repo().latest_commit();
    let document = hold.query("com.atproto.server.describeServer").await.ok();

    let hold = hold.restart(|_| ()).await;
    assert_eq!(
        hold.hold.repo().latest_commit(),
        commit,
        "nothing changed, nothing written"
    );
    assert_eq!(
        hold.query("com.atproto.server.describeServer").await.ok(),
        document
    );

    let hold = hold
        .restart(|settings| {
            settings.public = Some(true);
            settings.allow_all_crew = Some(true);
            settings.region = Stated::This("harbour".to_owned());
            settings.successor = Stated::This("did:web:next.test".parse().expect("a DID"));
            // Another owner in the settings is no mutiny.
            settings.owner = Some("did:web:pirate.test".parse().expect("a DID"));
        })
        .await;
    let after = captain(&hold).await;
    assert_eq!(after["public"], true);
    assert_eq!(after["allowAllCrew"], true);
    assert_eq!(after["region"], "harbour");
    assert_eq!(after["successor"], "did:web:next.test");
    assert_eq!(after["owner"], before["owner"]);
    assert_eq!(after["deployedAt"], before["deployedAt"]);

    // A captain is needed to begin with, not later; and what is not said stays.
    let hold = hold
        .restart(|settings| {
            settings.owner = None;
            settings.public = None;
            settings.allow_all_crew = None;
        })
        .await;
    assert_eq!(captain(&hold).await, after);
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_without_an_owner_does_not_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = HoldConfig::default();
    config.server.public_url = "https://hold.test".to_owned();
    config.database.path = dir.path().join("data").display().to_string();
    let surroundings = Surroundings {
        ticks: Arc::new(atcr_hold::gc::ports::ProcessTicks::start()),
        clock: Arc::new(SystemClock),
        resolver: Arc::new(Identities::default()),
        shutdown: Shutdown::new(),
        egress: egress(),
    };
    let error = Hold::open(&settings(&config), surroundings)
        .await
        .expect_err("no captain");
    assert!(matches!(error, StartError::Captain(_)));
    assert!(error.to_string().contains("registration.owner_did"), "{error}");
}

#[tokio::test]
async fn two_holds_do_not_share_a_folder() {
    let hold = TestHold::start(Setup::default()).await;
    let surroundings = Surroundings {
        ticks: Arc::new(atcr_hold::gc::ports::ProcessTicks::start()),
        clock: hold.clock.clone(),
        resolver: hold.identities.clone(),
        shutdown: Shutdown::new(),
        egress: egress(),
    };
    let error = Hold::open(&hold.settings, surroundings)
        .await
        .expect_err("locked");
    assert!(matches!(error, StartError::Repo(_)), "{error}");
    hold.stop().await;
}

#[test]
fn everything_that_the_process_writes_is_for_its_user_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    // The operator made the folder, as a container's volume is made.
    std::fs::create_dir(&data).expect("made");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("set");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let mut serving = Command::new(env!("CARGO_BIN_EXE_atcr-hold"))
        .arg("serve")
        .env_clear()
        .env("HOLD_SERVER_ADDR", port.to_string())
        .env("HOLD_SERVER_PUBLIC_URL", format!("http://{port}"))
        .env("HOLD_SERVER_TEST_MODE", "True")
        .env("HOLD_REGISTRATION_OWNER_DID", "did:web:captain.test")
        .env("HOLD_DATABASE_PATH", &data)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let output = serving.stderr.take().expect("piped");
    let mut said = Vec::new();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let listens = line.contains("listening");
        said.push(line);
        if listens {
            break;
        }
    }
    let files = walk(&data);
    serving.kill().expect("it runs");
    serving.wait().expect("it ends");

    assert!(
        said.iter().any(|line| line.contains("no AppView is trusted")),
        "{said:?}"
    );
    let names = |name: &str| files.iter().any(|(path, _)| path.ends_with(name));
    for name in [
        "hold.sqlite",
        "signing.key",
        "objects",
        "objects/url-signing.key",
        "repo",
    ] {
        assert!(names(name), "{name} in {files:?}");
    }
    for (path, mode) in files {
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

fn walk(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("its metadata");
        found.push((entry.path(), metadata.permissions().mode()));
        if metadata.is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[test]
fn a_hold_that_is_told_to_stop_while_its_disk_hangs_at_the_start_ends_with_success() {
    let dir = tempfile::tempdir().expect("a folder");
    let repo = dir.path().join("repo");
    std::fs::create_dir(&repo).expect("made");
    SigningKey::load_or_create(&dir.path().join("signing.key"), Curve::K256).expect("a key");
    // Some part of a repository, or its loss would end the start.
    std::fs::write(repo.join("manifest.tmp"), "").expect("written");
    // Whoever opens it waits for a reader that never comes.
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, repo.join("lock"), FileType::Fifo, mode, 0).expect("a FIFO");
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let mut starting = Command::new(env!("CARGO_BIN_EXE_atcr-hold"))
        .arg("serve")
        .env_clear()
        .env("HOLD_SERVER_ADDR", address.to_string())
        .env("HOLD_SERVER_PUBLIC_URL", format!("http://{address}"))
        .env("HOLD_SERVER_TEST_MODE", "true")
        .env("HOLD_REGISTRATION_OWNER_DID", "did:web:captain.test")
        .env("HOLD_DATABASE_PATH", dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    // It listens before it opens anything, and knows signals by then.
    while std::net::TcpStream::connect(address).is_err() {
        assert_eq!(starting.try_wait().expect("it runs"), None, "it ended by itself");
        std::thread::yield_now();
    }
    rustix::process::kill_process(Pid::from_child(&starting), Signal::TERM).expect("it runs");
    // Without an end this would wait for ever.
    for _ in 0..3000 {
        if let Some(status) = starting.try_wait().expect("it runs") {
            assert_eq!(status.code(), Some(0));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    starting.kill().expect("it runs");
    panic!("it did not end");
}
