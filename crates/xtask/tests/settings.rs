//! Every key of the example files has an effect, and the files of the original are read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use atcr_appview::config::AppViewConfig;
use atcr_appview::settings::AppViewSettings;
use atcr_hold::config::HoldConfig;
use atcr_hold::settings::HoldSettings;
use atcr_server::{LoadOptions, Loaded, Problems, Settings, load};
use serde_norway::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = variables.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// What a server makes of its settings, as text.
trait Server: Settings {
    const EXAMPLE: &'static str;
    fn parsed(&self) -> String;
}

impl Server for HoldConfig {
    const EXAMPLE: &'static str = "config-hold.example.yaml";
    fn parsed(&self) -> String {
        format!("{:?}", HoldSettings::parse(self, &mut Problems::default()))
    }
}

impl Server for AppViewConfig {
    const EXAMPLE: &'static str = "config-appview.example.yaml";
    fn parsed(&self) -> String {
        format!("{:?}", AppViewSettings::parse(self, &mut Problems::default()))
    }
}

fn outcome<S: Server>(variables: &BTreeMap<String, String>) -> String {
    let options = LoadOptions {
        file: None,
        environment: variables.clone(),
    };
    match load::<S>(&options) {
        Ok(loaded) => loaded.config.parsed(),
        Err(error) => error.to_string(),
    }
}

/// The keys of a file with their defaults.
fn keys(value: &Value, prefix: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Mapping(fields) => {
            for (name, value) in fields {
                let name = name.as_str().unwrap();
                let key = if prefix.is_empty() {
                    name.to_owned()
                } else {
                    format!("{prefix}.{name}")
                };
                keys(value, &key, found);
            }
        }
        value => found.push((prefix.to_owned(), value.clone())),
    }
}

/// Values of the kind of `default` that are others.
fn others(default: &Value) -> Vec<String> {
    let texts = [
        "7m",
        "7/1m",
        "https://other.example.com",
        "did:web:other.example.com",
        "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
        "other",
        "/other",
        "postgres://other.example/other",
        "10.1.2.3:99",
        "none",
        "filesystem",
        "plc",
        "never",
        "json",
    ];
    match default {
        Value::Bool(on) => vec![(!on).to_string()],
        Value::Number(_) => vec!["3".to_owned(), "70000".to_owned()],
        Value::Sequence(_) => vec![
            "10.9.0.0/16".to_owned(),
            "https://other.example.com".to_owned(),
            "other".to_owned(),
        ],
        _ => texts.map(str::to_owned).to_vec(),
    }
}

/// The keys that nothing is made of, whatever their value, on any of the `bases`.
fn unread<S: Server>(bases: &[&[(&str, &str)]]) -> Vec<String> {
    let text = fs::read_to_string(root().join(S::EXAMPLE)).unwrap();
    let mut found = Vec::new();
    keys(&serde_norway::from_str(&text).unwrap(), "", &mut found);
    assert!(found.len() > 40, "{}", found.len());
    let is_read = |key: &str, default: &Value| {
        let variable = format!("{}_{}", S::ENV_PREFIX, key.replace('.', "_").to_uppercase());
        bases.iter().any(|base| {
            let base = environment(base);
            let before = outcome::<S>(&base);
            others(default).into_iter().any(|other| {
                let mut changed = base.clone();
                changed.insert(variable.clone(), other);
                outcome::<S>(&changed) != before
            })
        })
    };
    found
        .into_iter()
        .filter(|(key, default)| !is_read(key, default))
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn every_key_of_the_holds_example_has_an_effect() {
    let url = ("HOLD_SERVER_PUBLIC_URL", "https://hold.example.com");
    let files = [url, ("HOLD_DATABASE_DID_METHOD", "plc")];
    let bucket = [
        url,
        ("S3_BUCKET", "blobs"),
        ("S3_ENDPOINT", "https://s3.example.com"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    // What is no setting of the program's parts; secrets are shown nowhere.
    let elsewhere = ["version", "storage.access_key", "storage.secret_key"];
    let unread = unread::<HoldConfig>(&[&files, &bucket]);
    let unread: Vec<&String> = unread
        .iter()
        .filter(|key| !elsewhere.contains(&key.as_str()))
        .collect();
    assert!(unread.is_empty(), "{unread:?}");
}

#[test]
fn every_key_of_the_appviews_example_has_an_effect() {
    let hold = ("ATCR_SERVER_DEFAULT_HOLD_DID", "did:web:hold.example.com");
    let public = [hold, ("ATCR_SERVER_BASE_URL", "https://registry.example.com")];
    let unread = unread::<AppViewConfig>(&[&[hold], &public]);
    let unread: Vec<&String> = unread.iter().filter(|key| key.as_str() != "version").collect();
    assert!(unread.is_empty(), "{unread:?}");
}

/// The hold's keys of the original, in its own form.
const HOLD: &str = r#"
version: "0.1"
log_level: info
log_shipper: { backend: "", url: "", batch_size: 100, flush_interval: 5s, username: "", password: "" }
storage:
  access_key: id
  secret_key: hush
  region: us-east-1
  bucket: layers
  endpoint: https://s3.example.com
  pull_zone: https://cdn.example.com
server:
  addr: :8080
  public_url: https://hold.example.com
  public: true
  successor: ""
  test_mode: false
  relay_endpoint: https://relay1.us-east.bsky.network
  appview_did: did:web:atcr.io
  read_timeout: 5m0s
  write_timeout: 5m0s
registration:
  owner_did: did:plc:aaaaaaaaaaaaaaaaaaaaaaaa
  allow_all_crew: true
  profile_avatar_url: https://atcr.io/web-app-manifest-192x192.png
  profile_display_name: Cargo Hold
  profile_description: ahoy
  enable_bluesky_posts: true
  region: ""
database:
  path: /var/lib/atcr-hold
  key_path: ""
  did_method: web
  did: ""
  plc_directory_url: https://plc.directory
  rotation_key: ""
  rotation_key_path: ""
  libsql_sync_url: ""
  libsql_auth_token: ""
  libsql_sync_interval: 1m0s
admin: { enabled: true }
quota:
  tiers:
    deckhand: { quota: 5GB }
    bosun: { quota: 50GB, scan_on_push: true }
  defaults: { new_crew_tier: deckhand, plankowner_crew_tier: bosun }
gc: { enabled: false }
scanner: { secret: 0123456789abcdef, rescan_interval: 168h0m0s }
labeler: { did: "", grace_window: 720h0m0s }
"#;

/// The appview's.
const APPVIEW: &str = r#"
version: "0.1"
log_level: info
log_shipper: { backend: "", url: "", batch_size: 100, flush_interval: 5s, username: "", password: "" }
server:
  addr: :5000
  base_url: https://registry.example.com
  default_hold_did: did:web:hold.example.com
  oauth_key_path: /var/lib/atcr/oauth/client.key
  client_name: AT Container Registry
  client_short_name: ATCR
  registry_domains: [buoy.example]
  test_mode: false
ui:
  database_path: /var/lib/atcr/ui.db
  libsql_sync_url: ""
  libsql_auth_token: ""
  libsql_sync_interval: 1m0s
  theme: ""
health: { cache_ttl: 15m0s, check_interval: 15m0s }
jetstream:
  urls: [wss://jetstream2.us-west.bsky.network/subscribe]
  backfill_enabled: true
  relay_endpoints: [https://relay1.us-east.bsky.network]
auth: { key_path: /var/lib/atcr/auth/private-key.pem, cert_path: /var/lib/atcr/auth/private-key.crt }
credential_helper: { tangled_repo: "" }
legal: { company_name: "", jurisdiction: "" }
ai: { api_key: "" }
labeler: { did: "" }
billing:
  stripe_secret_key: ""
  webhook_secret: ""
  currency: usd
  success_url: "{base_url}/settings#storage"
  tiers: [{ name: deckhand, description: free }]
  managed_holds: []
"#;

fn of_original<S: Settings>(yaml: &str, variables: &[(&str, &str)]) -> Loaded<S> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, yaml).unwrap();
    let options = LoadOptions {
        file: Some(file),
        environment: environment(variables),
    };
    load::<S>(&options).unwrap()
}

/// The settings that warnings name as without effect.
fn without_effect(warnings: &[String]) -> Vec<&str> {
    let named = warnings.iter().filter_map(|warning| {
        let (before, _) = warning.split_once(" of the original has no effect here: ")?;
        before.rsplit(' ').next()
    });
    named.collect()
}

#[test]
fn a_hold_reads_the_file_of_the_original() {
    let Loaded { config, warnings } = of_original::<HoldConfig>(HOLD, &[]);
    let without = without_effect(&warnings);
    assert_eq!(without.len(), warnings.len(), "{warnings:?}");
    for key in [
        "log_shipper.url",
        "server.write_timeout",
        "database.libsql_sync_url",
    ] {
        assert!(without.contains(&key), "{key}: {warnings:?}");
    }
    assert_eq!(config.server.public, Some(true));
    assert_eq!(config.registration.allow_all_crew, Some(true));
    assert_eq!(config.storage.pull_zone, "https://cdn.example.com");
    assert_eq!(config.scanner.rescan_interval.get().as_secs(), 7 * 24 * 60 * 60);
}

#[test]
fn an_appview_reads_the_file_of_the_original() {
    let Loaded { config, warnings } = of_original::<AppViewConfig>(APPVIEW, &[]);
    let without = without_effect(&warnings);
    assert_eq!(without.len(), warnings.len(), "{warnings:?}");
    for key in ["ui.theme", "billing.tiers", "ai.api_key", "health.cache_ttl"] {
        assert!(without.contains(&key), "{key}: {warnings:?}");
    }
    assert_eq!(config.server.base_url, "https://registry.example.com");
}

#[test]
fn the_variables_of_older_versions_are_read_and_said() {
    let of_hold = [
        ("HOLD_PUBLIC_URL", "https://hold.example.com"),
        ("HOLD_OWNER", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("HOLD_PUBLIC", "true"),
        ("HOLD_ALLOW_ALL_CREW", "true"),
        ("STORAGE_DRIVER", "s3"),
    ];
    let Loaded { config, warnings } = of_original::<HoldConfig>("version: '0.1'\n", &of_hold);
    assert_eq!(config.server.public, Some(true));
    assert_eq!(config.registration.allow_all_crew, Some(true));
    assert_eq!(config.server.public_url, "https://hold.example.com");
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    let of_appview = [
        ("ATCR_HTTP_ADDR", ":5050"),
        ("ATCR_BASE_URL", "https://registry.example.com"),
        ("ATCR_DEFAULT_HOLD_DID", "did:web:hold.example.com"),
        ("JETSTREAM_URL", "wss://jetstream.example.com/subscribe"),
        ("ATCR_RELAY_ENDPOINT", "https://relay.example.com"),
        ("ATCR_UI_ENABLED", "true"),
        ("ATCR_BACKFILL_INTERVAL", "1h"),
    ];
    let Loaded { config, warnings } = of_original::<AppViewConfig>("version: '0.1'\n", &of_appview);
    assert_eq!(config.server.addr, ":5050");
    assert_eq!(config.jetstream.relay_endpoints, ["https://relay.example.com"]);
    assert_eq!(warnings.len(), 7, "{warnings:?}");
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("ATCR_SERVER_BASE_URL")),
        "{warnings:?}"
    );
}
