//! Layering, names in errors, the generated file.

use std::collections::BTreeMap;

use atcr_server::{
    ConfigError, HumanDuration, LoadOptions, Problems, Secret, Settings, changed_yaml, commented_yaml, load,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The example's own settings.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Example {
    /// Where it listens.
    server: Server,
    /// Where objects go.
    storage: Storage,
}

/// Where it listens.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Server {
    /// Address and port.
    addr: String,
    /// How long an answer may take.
    timeout: HumanDuration,
    /// Names besides the first.
    domains: Vec<String>,
    /// For development.
    test_mode: bool,
    /// Most requests at once.
    limit: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            addr: ":5000".to_owned(),
            timeout: HumanDuration::from_secs(900),
            domains: Vec::new(),
            test_mode: false,
            limit: 10,
        }
    }
}

/// Where objects go.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Storage {
    /// The bucket; empty for none.
    bucket: String,
    /// The secret key.
    secret_key: Secret,
    /// A folder instead.
    path: Option<String>,
}

impl Settings for Example {
    const ENV_PREFIX: &'static str = "EX";
    const ENV_ALIASES: &'static [(&'static str, &'static str)] = &[
        ("S3_BUCKET", "storage.bucket"),
        ("AWS_SECRET_ACCESS_KEY", "storage.secret_key"),
    ];

    const OLD_VARIABLES: &'static [(&'static str, &'static str)] = &[("OLD_ADDR", "server.addr")];

    const RETIRED: &'static [(&'static str, &'static str)] = &[
        ("billing", "nothing is billed"),
        ("server.theme", "it has one look"),
        ("STRIPE_SECRET_KEY", "nothing is billed"),
    ];

    fn validate(&self, problems: &mut Problems) {
        problems.require(self.server.limit > 0, "server.limit", "must be at least 1");
        problems.require(!self.server.addr.is_empty(), "server.addr", "must be set");
    }
}

fn options(yaml: Option<&str>, env: &[(&str, &str)]) -> (LoadOptions, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = yaml.map(|text| {
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, text).expect("the file is written");
        path
    });
    let environment: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    (LoadOptions { file, environment }, dir)
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let (options, _dir) = options(
        Some("server:\n  addr: ':1'\n  timeout: 168h0m0s\nstorage:\n  bucket: from-file\n"),
        &[
            ("EX_SERVER_ADDR", ":2"),
            ("S3_BUCKET", "from-alias"),
            ("EX_SERVER_DOMAINS", "a.example, b.example"),
        ],
    );
    let loaded = load::<Example>(&options).expect("it loads");
    assert_eq!(loaded.config.server.addr, ":2");
    assert_eq!(loaded.config.server.timeout.get().as_secs(), 168 * 3600);
    assert_eq!(loaded.config.server.domains, ["a.example", "b.example"]);
    assert_eq!(loaded.config.storage.bucket, "from-alias");
    assert_eq!(loaded.config.server.limit, 10);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn a_variable_by_its_old_name_is_read_and_said() {
    let (both, _dir) = options(None, &[("OLD_ADDR", ":3")]);
    let loaded = load::<Example>(&both).expect("it loads");
    assert_eq!(loaded.config.server.addr, ":3");
    assert_eq!(
        loaded.warnings,
        ["the variable OLD_ADDR is an old name of EX_SERVER_ADDR; it is still read, but rename it"]
    );
    let (both, _dir) = options(None, &[("OLD_ADDR", ":3"), ("EX_SERVER_ADDR", ":4")]);
    let loaded = load::<Example>(&both).expect("it loads");
    assert_eq!(loaded.config.server.addr, ":4");
    assert_eq!(
        loaded.warnings,
        ["the variable OLD_ADDR is an old name of EX_SERVER_ADDR, which is set too and counts"]
    );
}

#[test]
fn what_the_original_has_settings_for_and_we_do_not_is_said_and_no_mistake() {
    let yaml =
        "server:\n  theme: dark\n  addr: ':1'\nbilling:\n  currency: usd\n  tiers:\n    - name: small\n";
    let variables = [
        ("STRIPE_SECRET_KEY", "x"),
        ("EX_BILLING_CURRENCY", "usd"),
        ("EX_SERVER_THEME", "dark"),
        ("EX_SERVER_THEMES", "of somebody else"),
    ];
    let (given, _dir) = options(Some(yaml), &variables);
    let loaded = load::<Example>(&given).expect("it loads");
    assert_eq!(loaded.config.server.addr, ":1");
    let mut warnings = loaded.warnings;
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            "the setting billing.currency of the original has no effect here: nothing is billed",
            "the setting billing.tiers of the original has no effect here: nothing is billed",
            "the setting server.theme of the original has no effect here: it has one look",
            "the variable EX_BILLING_CURRENCY of the original has no effect here: nothing is billed",
            "the variable EX_SERVER_THEME of the original has no effect here: it has one look",
            "the variable STRIPE_SECRET_KEY of the original has no effect here: nothing is billed",
        ]
    );
    // What neither has is refused as before.
    let (given, _dir) = options(Some("billings:\n  currency: usd\nserver:\n  themes: dark\n"), &[]);
    let error = load::<Example>(&given).expect_err("it is wrong");
    let keys: Vec<&str> = error
        .problems()
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(keys, ["billings.currency", "server.themes"]);
}

#[test]
fn our_own_variable_wins_over_the_well_known_one() {
    let (options, _dir) = options(None, &[("S3_BUCKET", "alias"), ("EX_STORAGE_BUCKET", "own")]);
    assert_eq!(
        load::<Example>(&options).expect("it loads").config.storage.bucket,
        "own"
    );
}

#[test]
fn a_number_in_a_variable_for_a_text_stays_text() {
    let (options, _dir) = options(None, &[("EX_STORAGE_BUCKET", "12345")]);
    assert_eq!(
        load::<Example>(&options).expect("it loads").config.storage.bucket,
        "12345"
    );
}

#[test]
fn a_variable_for_a_switch_may_be_spelled_as_in_go() {
    for (spellings, switch) in [
        (["true", "True", "TRUE", "t", "T", "1", "yes"], true),
        (["false", "False", "FALSE", "f", "F", "0", "no"], false),
    ] {
        for spelling in spellings {
            let (options, _dir) = options(None, &[("EX_SERVER_TEST_MODE", spelling)]);
            let loaded = load::<Example>(&options).expect(spelling);
            assert_eq!(loaded.config.server.test_mode, switch, "{spelling}");
        }
    }
    let (options, _dir) = options(None, &[("EX_SERVER_TEST_MODE", "maybe")]);
    load::<Example>(&options).expect_err("no switch");
}

#[test]
fn every_problem_is_named_at_once() {
    let (options, _dir) = options(
        Some("server:\n  timeout: soon\n  test_mode: perhaps\n"),
        &[("EX_SERVER_LIMIT", "many"), ("EX_SERVER_ADDR", "")],
    );
    let error = load::<Example>(&options).expect_err("it is wrong");
    let mut keys: Vec<&str> = error
        .problems()
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "server.addr",
            "server.limit",
            "server.test_mode",
            "server.timeout"
        ],
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("EX_SERVER_LIMIT must be a whole number"),
        "{error}"
    );
}

#[test]
fn unknown_keys_are_refused_together_and_the_nearest_known_one_is_named() {
    let yaml = "server:\n  adr: ':1'\nstorag:\n  bucket: layers\nzzz: 1\n";
    let (options, _dir) = options(Some(yaml), &[]);
    let error = load::<Example>(&options).expect_err("it is wrong");
    assert_eq!(
        error.to_string(),
        "3 problems in the configuration\n  \
         server.adr: no such setting; did you mean server.addr?\n  \
         storag.bucket: no such setting; did you mean storage.bucket?\n  \
         zzz: no such setting"
    );
}

#[test]
fn a_variable_with_a_slip_is_a_warning_and_one_of_a_neighbour_is_not() {
    let neighbours = [
        ("EX_SERVER_ADR", ":1"),
        ("EX_SERVER_PORT", "tcp://10.0.0.1:80"),
        ("EX_SERVICE_HOST", "10.0.0.1"),
        ("OTHER_SERVER_ADR", ":1"),
    ];
    let (options, _dir) = options(None, &neighbours);
    assert_eq!(
        load::<Example>(&options).expect("it loads").warnings,
        ["the variable EX_SERVER_ADR is no setting; did you mean EX_SERVER_ADDR?"]
    );
}

#[test]
fn a_file_that_is_not_there_or_not_yaml_is_said_so() {
    let (mut options, dir) = options(Some("server: [\n"), &[]);
    assert!(matches!(load::<Example>(&options), Err(ConfigError::Yaml { .. })));
    options.file = Some(dir.path().join("none.yaml"));
    assert!(matches!(load::<Example>(&options), Err(ConfigError::File { .. })));
}

#[test]
fn an_empty_file_is_the_defaults() {
    let (options, _dir) = options(Some("# nothing\n"), &[]);
    assert_eq!(
        load::<Example>(&options).expect("it loads").config.server.addr,
        ":5000"
    );
}

#[test]
fn the_generated_file_documents_every_key_and_loads_to_the_defaults() {
    let text = commented_yaml::<Example>().expect("it is written");
    insta::assert_snapshot!(text);
    let (options, _dir) = options(Some(&text), &[]);
    let loaded = load::<Example>(&options).expect("it loads");
    assert_eq!(loaded.config.server.timeout, HumanDuration::from_secs(900));
}

#[test]
fn a_file_of_changes_has_what_differs_with_the_secrets_that_it_is_given_and_loads_to_the_same() {
    let mut config = Example::default();
    config.server.addr = ":8080".to_owned();
    config.server.domains = vec!["a.example".to_owned()];
    config.storage.bucket = "layers".to_owned();
    let secret = Secret::new("hunter2: #");
    let secrets = [("storage.secret_key", &secret)];
    let text = changed_yaml(&config, &secrets, "What differs.").expect("it is written");
    assert_eq!(
        text,
        "# What differs.\n\n# Where it listens.\nserver:\n  # Address and port.\n  addr: :8080\n  # Names besides the first.\n  \
         domains:\n    - a.example\n\n# Where objects go.\nstorage:\n  # The bucket; empty for none.\n  bucket: layers\n  \
         # The secret key.\n  secret_key: 'hunter2: #'\n"
    );
    let (options, _dir) = options(Some(&text), &[]);
    let loaded = load::<Example>(&options).expect("it loads").config;
    assert_eq!(loaded.storage.secret_key.expose(), secret.expose());
    assert_eq!(
        (loaded.server.addr, loaded.server.domains),
        (config.server.addr, config.server.domains)
    );
    assert_eq!((&*loaded.storage.bucket, loaded.server.limit), ("layers", 10));
}

#[test]
fn a_secret_is_in_no_output() {
    let (options, _dir) = options(None, &[("AWS_SECRET_ACCESS_KEY", "hunter2")]);
    let loaded = load::<Example>(&options).expect("it loads");
    assert_eq!(loaded.config.storage.secret_key.expose(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(
        !serde_json::to_string(&loaded.config)
            .expect("json")
            .contains("hunter2")
    );
}
