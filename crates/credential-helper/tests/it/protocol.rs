//! Docker's protocol, byte for byte.

use std::process::Stdio;

use super::home::{ALICE, BOB, HELPER, Home, config};

const NOT_FOUND: &str = "credentials not found in native keychain\n";

#[test]
fn get_answers_with_one_line_of_json_and_nothing_else() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    for request in ["atcr.io", "atcr.io\n", "atcr.io\r\n"] {
        let run = home.run(&["get"], request);
        assert_eq!(
            run.stdout,
            "{\"ServerURL\":\"atcr.io\",\"Username\":\"alice.test\",\"Secret\":\"atcr_device_of_alice.test\"}\n"
        );
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    }
    let run = home.run(&["get"], "https://atcr.io/v2/");
    assert!(
        run.stdout.starts_with("{\"ServerURL\":\"https://atcr.io/v2/\","),
        "{run}"
    );
}

#[test]
fn without_an_account_the_answer_is_the_exact_sentence_of_docker_credential_helpers_and_one_line_of_advice() {
    let run = Home::new().run(&["get"], "atcr.io");
    assert_eq!((run.code, run.stdout.as_str()), (1, NOT_FOUND));
    assert_eq!(
        run.stderr,
        "not signed in to atcr.io; sign in: docker-credential-atcr login atcr.io\n"
    );
}

#[test]
fn a_missing_server_url_is_the_sentence_of_docker_credential_helpers() {
    for command in ["get", "erase"] {
        let run = Home::new().run(&[command], "");
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (1, "no credentials server URL\n")
        );
    }
    let run = Home::new().run(&["store"], r#"{"ServerURL":"","Username":"u","Secret":"s"}"#);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (1, "no credentials server URL\n")
    );
    let run = Home::new().run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"","Secret":"s"}"#,
    );
    assert_eq!((run.code, run.stdout.as_str()), (1, "no credentials username\n"));
}

#[test]
fn get_does_not_wait_for_a_standard_input_that_is_closed() {
    let home = Home::new();
    let output = home
        .command(HELPER)
        .arg("get")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"no credentials server URL\n");
}

#[test]
fn what_docker_login_stores_is_what_get_answers() {
    let home = Home::new();
    let run = home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"alice.test","Secret":"abcd-efgh-ijkl-mnop"}"#,
    );
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
    let run = home.run(&["get"], "atcr.io");
    assert_eq!(
        run.stdout,
        "{\"ServerURL\":\"atcr.io\",\"Username\":\"alice.test\",\"Secret\":\"abcd-efgh-ijkl-mnop\"}\n"
    );
    let accounts: serde_json::Value = serde_json::from_str(&home.read(".atcr/config.json")).unwrap();
    let alice = &accounts["registries"]["https://atcr.io"]["accounts"]["alice.test"];
    assert_eq!(alice["app_password"], "abcd-efgh-ijkl-mnop");
}

#[test]
fn a_device_secret_that_docker_hands_back_keeps_its_account_as_it_was() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE, BOB]));
    let before = home.run(&["status", "--offline", "--json"], "").stdout;
    let stored = home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"alice.test","Secret":"atcr_device_of_alice.test"}"#,
    );
    assert_eq!(stored.code, 0, "{stored}");
    assert_eq!(home.run(&["status", "--offline", "--json"], "").stdout, before);
}

#[test]
fn an_app_password_takes_the_place_of_a_device_and_that_is_said() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    let run = home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"Alice.test","Secret":"pw"}"#,
    );
    insta::assert_snapshot!(run);
    let answer = home.run(&["get"], "atcr.io").stdout;
    assert!(
        answer.contains(r#""Username":"Alice.test","Secret":"pw""#),
        "{answer}"
    );
}

#[test]
fn docker_logout_deletes_the_app_password_that_docker_login_brought_and_no_other_account() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"bob.test","Secret":"pw"}"#,
    );
    let erased = home.run(&["erase"], "atcr.io");
    insta::assert_snapshot!(erased);
    assert!(!home.read(".atcr/config.json").contains("bob.test"));
    // `docker logout` erases under several spellings of the same registry.
    for spelling in ["atcr.io", "https://atcr.io"] {
        let again = home.run(&["erase"], spelling);
        assert_eq!(
            (again.code, again.stdout.as_str(), again.stderr.as_str()),
            (0, "", "")
        );
    }
    let answer = home.run(&["get"], "atcr.io");
    assert!(answer.stdout.contains("atcr_device_of_alice.test"), "{answer}");
}

#[test]
fn docker_logout_sets_a_device_aside_and_switch_brings_it_back() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    let erased = home.run(&["erase"], "atcr.io");
    insta::assert_snapshot!("set_aside", erased);
    assert_eq!(
        home.run(&["erase"], "atcr.io").to_string(),
        "exit: 0\n--- stdout\n--- stderr\n"
    );
    let refused = home.run(&["get"], "atcr.io");
    assert_eq!((refused.code, refused.stdout.as_str()), (1, NOT_FOUND));
    insta::assert_snapshot!("get_of_set_aside", refused);
    assert_eq!(home.run(&["list"], "").stdout, "{}\n");
    assert_eq!(home.run(&["switch", "atcr.io", "alice.test"], "").code, 0);
    assert_eq!(home.run(&["get"], "atcr.io").code, 0);
}

#[test]
fn erase_takes_no_account_that_is_not_active() {
    let mut text: serde_json::Value =
        serde_json::from_str(&config("https://atcr.io", &[ALICE, BOB])).unwrap();
    text["registries"]["https://atcr.io"]["active"] = serde_json::Value::Null;
    let home = Home::with_config(&text.to_string());
    let before = home.read(".atcr/config.json");
    assert_eq!(home.run(&["erase"], "atcr.io").code, 0);
    assert_eq!(home.run(&["erase"], "other.example").code, 0);
    assert_eq!(home.read(".atcr/config.json"), before);
}

#[test]
fn list_names_each_registry_and_who_would_be_handed_out() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE, BOB]));
    home.run(
        &["store"],
        r#"{"ServerURL":"localhost:5000","Username":"bob.test","Secret":"pw"}"#,
    );
    let run = home.run(&["list"], "");
    assert_eq!(
        run.to_string(),
        "exit: 0\n--- stdout\n{\"atcr.io\":\"alice.test\",\"localhost:5000\":\"bob.test\"}\n--- stderr\n"
    );
}

#[test]
fn accounts_that_cannot_be_read_are_not_called_missing() {
    let home = Home::with_config("{\"version\": 2,");
    let run = home.run(&["get"], "atcr.io");
    insta::assert_snapshot!(run);
    let home = Home::with_config(r#"{"version": 3, "registries": []}"#);
    insta::assert_snapshot!("newer_version", home.run(&["get"], "atcr.io"));
}
