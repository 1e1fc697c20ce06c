//! The hold's settings and its command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use atcr_hold::config::HoldConfig;
use atcr_hold::settings::{IdentitySettings, StorageSettings};
use atcr_hold_pds::records::captain::Stated;
use atcr_server::commented_yaml;
use atcr_server::{LoadOptions, load};

use crate::harness::settings;

fn loaded(yaml: &str, env: &[(&str, &str)]) -> Result<HoldConfig, String> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("hold.yaml");
    std::fs::write(&file, yaml).expect("written");
    let environment: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    load::<HoldConfig>(&LoadOptions {
        file: Some(file),
        environment,
    })
    .map(|loaded| loaded.config)
    .map_err(|error| error.to_string())
}

#[test]
fn the_example_file_is_what_config_init_writes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config-hold.example.yaml");
    let written = std::fs::read_to_string(&path).expect("config-hold.example.yaml at the top");
    let generated = commented_yaml::<HoldConfig>().expect("YAML");
    assert!(
        written == generated,
        "config-hold.example.yaml is not up to date; run `cargo run -p atcr-hold -- config init --force {}`",
        path.display()
    );
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = loaded(
        "log_level: info,atcr_hold=loud\nserver:\n  addr: nowhere\n  public_url: http://hold.example.com/path\n  appview_did: appview\n\
         registration:\n  owner_did: alice.test\ndatabase:\n  did_method: plc\n  did: did:web:x.test\n  rotation_key: zzz\n  captain_rotation_key: key\n  path: ''\n\
         storage:\n  driver: s3\n  endpoint: s3.example.com\nsurver: 1\n",
        &[],
    )
    .expect_err("all wrong");
    for key in [
        "log_level",
        "server.addr",
        "server.public_url",
        "server.appview_did",
        "registration.owner_did",
        "database.did: must be a did:plc",
        "database.rotation_key:",
        "database.captain_rotation_key:",
        "database.path",
        "storage.bucket",
        "storage.access_key",
        "storage.secret_key",
        "storage.endpoint",
        "surver",
    ] {
        assert!(problems.contains(key), "{key} in:\n{problems}");
    }
}

#[test]
fn plain_http_needs_test_mode() {
    let yaml = "server:\n  public_url: http://localhost:8080\n";
    assert!(loaded(yaml, &[]).expect_err("no").contains("server.test_mode"));
    let config = loaded(yaml, &[("HOLD_SERVER_TEST_MODE", "true")]).expect("valid");
    let IdentitySettings::Web(did) = settings(&config).identity else {
        panic!("the default is did:web");
    };
    assert_eq!(did.as_str(), "did:web:localhost%3A8080");
}

#[test]
fn a_bucket_makes_it_s3_and_aws_names_are_read() {
    let yaml = "server:\n  public_url: https://hold.example.com\n";
    let config = loaded(yaml, &[]).expect("valid");
    let StorageSettings::Filesystem { path } = settings(&config).storage else {
        panic!("the embedded default is the filesystem");
    };
    assert_eq!(path, PathBuf::from("/var/lib/atcr-hold/objects"));

    let env = [
        ("S3_BUCKET", "layers"),
        ("S3_ENDPOINT", "https://s3.example.com"),
        ("AWS_REGION", "eu-north-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
    ];
    let parsed = settings(&loaded(yaml, &env).expect("valid"));
    assert_eq!(parsed.region, Stated::Unsaid);
    assert_eq!(parsed.first_region.as_deref(), Some("eu-north-1"));
    let StorageSettings::S3(s3) = parsed.storage else {
        panic!("a bucket was named");
    };
    assert_eq!((s3.bucket.as_str(), s3.path_style), ("layers", true));
    assert!(!format!("{s3:?}").contains("hush"));
}

#[test]
fn no_appview_is_trusted_unless_one_is_named() {
    let yaml = "server:\n  public_url: https://hold.example.com\n";
    assert_eq!(settings(&loaded(yaml, &[]).expect("valid")).trusted_appview, None);
    let named = [("HOLD_SERVER_APPVIEW_DID", "did:web:registry.example.com")];
    let trusted = settings(&loaded(yaml, &named).expect("valid")).trusted_appview;
    assert_eq!(trusted.expect("named").as_str(), "did:web:registry.example.com");
}

#[test]
fn an_optional_field_of_the_captain_record_is_left_set_or_removed() {
    let yaml = "server:\n  public_url: https://hold.example.com\n";
    let successor =
        |text: &str| settings(&loaded(yaml, &[("HOLD_SERVER_SUCCESSOR", text)]).expect("valid")).successor;
    assert_eq!(successor(""), Stated::Unsaid);
    assert_eq!(successor("none"), Stated::Removed);
    let next = "did:web:next.example.com";
    assert_eq!(successor(next), Stated::This(next.parse().expect("a DID")));
}

#[test]
fn limits_that_cannot_be_kept_are_named() {
    let problems = loaded(
        "server:\n  public_url: https://hold.example.com\nlimits:\n  notices_per_hour: 0\n  layers_per_manifest: 30\n  \
         layer_records_per_hour: 20\n  new_repositories_per_hour: 0\n",
        &[],
    )
    .expect_err("all wrong");
    for key in [
        "limits.notices_per_hour",
        "limits.layers_per_manifest",
        "limits.new_repositories_per_hour",
    ] {
        assert!(problems.contains(key), "{key} in:\n{problems}");
    }
}

#[test]
fn tiers_keep_their_order_in_every_way_to_write_them() {
    let top = "server:\n  public_url: https://hold.example.com\n";
    let ways = [
        "quota:\n  tiers:\n    - {name: swabbie, quota: 2GB}\n    - {name: deckhand, quota: 5 gb, scan_on_push: true}\n    - name: bosun\n      quota: 10737418240\n",
        "quota:\n  tiers:\n    swabbie: {quota: 2GB}\n    deckhand:\n      quota: 5GB\n      scan_on_push: true\n    bosun: 10GB\n",
    ];
    for way in ways {
        let tiers = settings(&loaded(&format!("{top}{way}"), &[]).expect(way)).tiers;
        let found: Vec<(&str, u64, bool)> = tiers
            .all()
            .iter()
            .map(|tier| (&*tier.name, tier.quota_bytes >> 30, tier.scan_on_push))
            .collect();
        assert_eq!(
            found,
            [("swabbie", 2, false), ("deckhand", 5, true), ("bosun", 10, false)],
            "{way}"
        );
    }
    let config = loaded(top, &[("HOLD_QUOTA_TIERS", "swabbie=2GB, bosun=10GB")]).expect("valid");
    let names: Vec<String> = settings(&config)
        .tiers
        .all()
        .iter()
        .map(|tier| tier.name.clone())
        .collect();
    assert_eq!(names, ["swabbie", "bosun"]);
    assert!(settings(&loaded(top, &[]).expect("valid")).tiers.is_empty());
}

#[test]
fn tiers_that_cannot_be_are_named() {
    let top = "server:\n  public_url: https://hold.example.com\n";
    for (wrong, named) in [
        ("quota:\n  tiers: [{name: a, quota: much}]\n", "quota.tiers.a"),
        (
            "quota:\n  tiers: [{name: a, quota: 1GB}, {name: a, quota: 2GB}]\n",
            "two tiers named \"a\"",
        ),
        ("quota:\n  tiers: [{name: '', quota: 1GB}]\n", "1 to 32 bytes"),
        ("quota:\n  tiers: [just-a-name]\n", "quota.tiers"),
        ("quota:\n  tiers: [{name: a, qouta: 1GB}]\n", "quota.tiers"),
        (
            "quota:\n  tiers: [a=1GB]\n  defaults:\n    new_crew_tier: b\n",
            "quota.defaults.new_crew_tier",
        ),
        (
            "quota:\n  tiers: [a=1GB]\n  defaults:\n    plankowner_crew_tier: b\n",
            "quota.defaults.plankowner_crew_tier",
        ),
        (
            "quota:\n  defaults:\n    new_crew_tier: b\n",
            "quota.defaults.new_crew_tier",
        ),
    ] {
        let problems = loaded(&format!("{top}{wrong}"), &[]).expect_err(wrong);
        assert!(problems.contains(named), "{named} in:\n{problems}");
    }
}

#[test]
fn switches_are_read_in_every_spelling_that_go_programs_take() {
    let yaml = "server:\n  public_url: https://hold.example.com\n";
    let public = |text: &str| loaded(yaml, &[("HOLD_PUBLIC", text)]).map(|config| config.server.public);
    for text in ["1", "t", "T", "true", "TRUE", "True", "yes"] {
        assert_eq!(public(text), Ok(Some(true)), "{text}");
    }
    for text in ["0", "f", "F", "false", "FALSE", "False", "no"] {
        assert_eq!(public(text), Ok(Some(false)), "{text}");
    }
    assert!(public("maybe").is_err());
    assert_eq!(loaded(yaml, &[]).map(|config| config.server.public), Ok(None));
    let empty = format!("{yaml}  public:\n");
    assert_eq!(loaded(&empty, &[]).map(|config| config.server.public), Ok(None));
}

#[test]
fn the_command_line_writes_and_checks_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("hold.yaml");
    let init = run(&["config", "init", path(&file)], &[]);
    assert!(init.status.success(), "{init:?}");
    let again = run(&["config", "init", path(&file)], &[]);
    assert!(!again.status.success(), "an existing file is not overwritten");

    let unset = run(&["config", "check", "--config", path(&file)], &[]);
    assert!(!unset.status.success());
    assert!(String::from_utf8_lossy(&unset.stderr).contains("server.public_url"));
    let url = ("HOLD_SERVER_PUBLIC_URL", "https://hold.example.com");
    let checked = run(&["config", "check", "--config", path(&file)], &[url]);
    assert!(checked.status.success(), "{checked:?}");
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_atcr-hold"))
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .expect("the binary runs")
}
