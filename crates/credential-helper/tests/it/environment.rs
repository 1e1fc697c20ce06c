//! Credentials from the environment, for continuous integration.

use atcr_credential_helper::environment::VARIABLES;

use super::home::{ALICE, Home, config};

fn home() -> Home {
    let mut home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    home.set("ATCR_REGISTRY", "atcr.io");
    home.set("ATCR_USERNAME", "ci.test");
    home
}

#[test]
fn a_token_of_the_environment_wins_for_its_registry_and_exists_for_no_other() {
    let mut home = home();
    home.set("ATCR_TOKEN", "ci-password");
    assert_eq!(
        home.run(&["get"], "https://atcr.io").stdout,
        "{\"ServerURL\":\"https://atcr.io\",\"Username\":\"ci.test\",\"Secret\":\"ci-password\"}\n"
    );
    for other in ["other.example", "atcr.io.evil.example", "xatcr.io", "atcr.io:444"] {
        let run = home.run(&["get"], other);
        assert_eq!(run.code, 1, "{run}");
        assert!(!run.to_string().contains("ci-password"), "{run}");
    }
}

#[test]
fn a_token_file_wins_over_a_token() {
    let mut home = home();
    home.set("ATCR_TOKEN", "ci-password");
    let file = home.write("secret", "from-file\n");
    home.set("ATCR_TOKEN_FILE", file.display().to_string());
    let run = home.run(&["get"], "atcr.io");
    assert!(run.stdout.contains("\"Secret\":\"from-file\""), "{run}");
}

#[test]
fn half_a_credential_is_an_error_and_not_a_stored_account() {
    let mut home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    home.set("ATCR_REGISTRY", "atcr.io");
    home.set("ATCR_TOKEN", "ci-password");
    insta::assert_snapshot!(home.run(&["get"], "atcr.io"));
    home.set("ATCR_USERNAME", "ci.test");
    home.set("ATCR_TOKEN_FILE", "/nowhere/secret");
    insta::assert_snapshot!("missing_token_file", home.run(&["get"], "atcr.io"));
}

#[test]
fn a_token_without_a_registry_is_not_used() {
    let mut home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    home.set("ATCR_TOKEN", "ci-password");
    let run = home.run(&["get"], "atcr.io");
    assert!(run.stdout.contains("alice.test"), "{run}");
}

#[test]
fn the_accounts_may_be_in_another_file() {
    let mut home = Home::new();
    home.set(
        "ATCR_CONFIG",
        home.path("elsewhere/accounts.json").display().to_string(),
    );
    home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"alice.test","Secret":"pw"}"#,
    );
    assert!(home.exists("elsewhere/accounts.json"));
    assert!(!home.exists(".atcr"));
    assert_eq!(home.run(&["get"], "atcr.io").code, 0);
}

#[test]
fn the_documentation_has_every_variable() {
    let documentation = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/credential-helper.md");
    let documentation = std::fs::read_to_string(documentation).unwrap();
    for (name, meaning) in VARIABLES {
        let row = format!("| `{name}` | {meaning} |");
        assert!(documentation.contains(&row), "missing row: {row}");
    }
}
