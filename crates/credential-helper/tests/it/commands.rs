//! What people run: status, switch, logout, version, completions, help, keyrings.

use serde_json::{Value, json};

use super::fake_appview::{Answer, FakeAppView, approved};
use super::home::{ALICE, BOB, CAROL, HELPER, Home, config};

#[test]
fn help_names_what_people_run_and_not_what_docker_runs() {
    insta::assert_snapshot!(Home::new().run(&["--help"], ""));
    insta::assert_snapshot!("login_help", Home::new().run(&["login", "--help"], ""));
    let run = Home::new().run(&[], "");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
}

#[test]
fn version_has_the_bare_version_as_its_second_word() {
    let run = Home::new().run(&["version"], "");
    let words: Vec<&str> = run.stdout.split_whitespace().collect();
    assert_eq!(words[..2], ["docker-credential-atcr", env!("CARGO_PKG_VERSION")]);
    assert_eq!(Home::new().run(&["--version"], "").stdout, run.stdout);
    let json: Value = serde_json::from_str(&Home::new().run(&["version", "--json"], "").stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn completions_are_written_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = Home::new().run(&["completions", shell], "");
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains("configure-docker"), "{shell}");
    }
}

#[test]
fn status_tells_what_works_what_ended_and_what_was_set_aside() {
    let appview = FakeAppView::start();
    appview.on(
        "/auth/token",
        [
            Answer::json(200, json!({"token": "t"})),
            Answer::json(
                401,
                json!({"errors": [{"code": "UNAUTHORIZED", "message": "your session has ended; sign in again at http://here/auth/oauth/login\u{1b}[2J"}]}),
            ),
        ],
    );
    let home = Home::with_config(&config(&appview.url(), &[ALICE, BOB, CAROL]));
    home.run(&["switch", "carol.test"], "");
    home.run(&["erase"], &appview.host());
    let run = home.run(&["status"], "");
    insta::assert_snapshot!(appview.redact(&run.to_string()));
    let asked = appview.asked_of("/auth/token");
    assert_eq!(asked.len(), 2, "what is set aside is not asked about");
    assert!(asked[0].line.ends_with("?service=127.0.0.1"), "{asked:?}");
    // alice.test:atcr_device_of_alice.test
    assert_eq!(
        asked[0].authorization.as_deref(),
        Some("Basic YWxpY2UudGVzdDphdGNyX2RldmljZV9vZl9hbGljZS50ZXN0")
    );
    let json: Value = serde_json::from_str(&home.run(&["status", "--json", "--offline"], "").stdout).unwrap();
    assert_eq!(json["registries"][0]["accounts"][0]["state"], "unchecked");
}

#[test]
fn status_in_json_has_every_field_and_no_secret() {
    let mut home = Home::with_config(&config("https://atcr.io", &[ALICE, BOB]));
    home.set("ATCR_REGISTRY", "atcr.io");
    home.set("ATCR_USERNAME", "ci.test");
    home.set("ATCR_TOKEN", "atcr_device_ci");
    let run = home.run(&["status", "--json", "--offline"], "");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    insta::assert_json_snapshot!(json);
    assert!(!run.to_string().contains("atcr_device"), "{run}");
}

#[test]
fn a_registry_that_cannot_be_reached_is_not_a_sign_in_that_ended() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let home = Home::with_config(&config(&format!("http://{host}"), &[ALICE]));
    let run = home.run(&["status"], "");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stdout.contains("could not be checked"), "{run}");
}

#[test]
fn status_without_an_account_fails() {
    insta::assert_snapshot!(Home::new().run(&["status"], ""));
}

#[test]
fn switch_takes_a_registry_an_account_or_both() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE, BOB, CAROL]));
    let active = || {
        let text: Value = serde_json::from_str(&home.read(".atcr/config.json")).unwrap();
        text["registries"]["https://atcr.io"]["active"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for (arguments, expected) in [
        (["switch", "bob.test"].as_slice(), "bob.test"),
        (&["switch", "atcr.io", "carol.test"], "carol.test"),
        (&["switch", "@alice.test"], "alice.test"),
        (&["switch", BOB.1], "bob.test"),
    ] {
        let run = home.run(arguments, "");
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(active(), expected);
    }
    insta::assert_snapshot!("switch_which", home.run(&["switch"], ""));
    insta::assert_snapshot!(
        "switch_unknown",
        home.run(&["switch", "atcr.io", "dave.test"], "")
    );
    assert_eq!(active(), "bob.test");
}

#[test]
fn logout_revokes_the_device_and_forgets_the_account() {
    let appview = FakeAppView::with_polls([]);
    let home = Home::with_config(&config(&appview.url(), &[ALICE, BOB]));
    let run = home.run(&["logout", &appview.host(), "alice.test"], "");
    insta::assert_snapshot!(appview.redact(&run.to_string()));
    assert_eq!(
        appview.asked_of("/auth/device/revoke")[0].body,
        r#"{"device_secret":"atcr_device_of_alice.test"}"#
    );
    let text = home.read(".atcr/config.json");
    assert!(!text.contains("alice.test"), "{text}");
    // The last one left is the active one.
    assert!(home.run(&["get"], &appview.host()).stdout.contains("bob.test"));
    home.run(&["logout", "--all"], "");
    assert_eq!(home.run(&["get"], &appview.host()).code, 1);
}

#[test]
fn logout_forgets_also_when_the_registry_does_not_answer() {
    let appview = FakeAppView::start();
    appview.on("/auth/device/revoke", [Answer::bytes(500, "")]);
    let home = Home::with_config(&config(&appview.url(), &[ALICE]));
    let run = home.run(&["logout"], "");
    insta::assert_snapshot!(appview.redact(&run.to_string()));
    assert!(!home.read(".atcr/config.json").contains("alice.test"));
}

#[test]
fn several_accounts_are_not_guessed_between_without_a_terminal() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE, BOB]));
    insta::assert_snapshot!(home.run(&["logout"], ""));
    assert!(home.read(".atcr/config.json").contains("alice.test"));
}

/// A keyring that keeps entries as files, speaking the protocol of docker-credential-helpers.
const KEYRING: &str = r#"#!/bin/sh
folder="$HOME/keyring"; mkdir -p "$folder"
request=$(cat)
name() { printf '%s' "$1" | tr '/:' '__'; }
case $1 in
store) url=$(printf '%s' "$request" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/'); printf '%s' "$request" > "$folder/$(name "$url")" ;;
get) cat "$folder/$(name "$request")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f "$folder/$(name "$request")" ;;
esac
"#;

#[test]
fn a_keyring_that_is_asked_for_keeps_the_secret_out_of_the_file() {
    let appview = FakeAppView::with_polls([approved(ALICE.0, ALICE.1, "atcr_device_new_alice")]);
    let home = Home::new();
    home.write_program("bin/docker-credential-pass", KEYRING);
    let run = home.run(&["login", &appview.host(), "--no-browser", "--keyring=pass"], "");
    assert_eq!(run.code, 0, "{run}");
    assert!(!home.read(".atcr/config.json").contains("atcr_device"));
    let run = home.run(&["get"], &appview.host());
    assert!(run.stdout.contains("atcr_device_new_alice"), "{run}");
    assert_eq!(std::fs::read_dir(home.path("keyring")).unwrap().count(), 1);
    home.run(&["logout"], "");
    assert_eq!(std::fs::read_dir(home.path("keyring")).unwrap().count(), 0);
    assert_eq!(appview.asked_of("/auth/device/revoke").len(), 1);
}

#[test]
fn signing_in_again_with_a_keyring_ends_the_device_that_is_replaced() {
    let appview = FakeAppView::with_polls([
        approved(ALICE.0, ALICE.1, "atcr_device_first"),
        approved(ALICE.0, ALICE.1, "atcr_device_second"),
    ]);
    let home = Home::new();
    home.write_program("bin/docker-credential-pass", KEYRING);
    for _ in 0..2 {
        let run = home.run(&["login", &appview.host(), "--no-browser", "--keyring=pass"], "");
        assert_eq!(run.code, 0, "{run}");
        assert!(!run.stderr.contains("warning"), "{run}");
    }
    let revoked: Vec<String> = appview
        .asked_of("/auth/device/revoke")
        .into_iter()
        .map(|asked| asked.body)
        .collect();
    assert_eq!(revoked, [r#"{"device_secret":"atcr_device_first"}"#]);
    let run = home.run(&["get"], &appview.host());
    assert!(run.stdout.contains("atcr_device_second"), "{run}");
}

#[test]
fn signing_in_again_without_the_keyring_takes_the_secret_out_of_it() {
    let appview = FakeAppView::with_polls([
        approved(ALICE.0, ALICE.1, "atcr_device_first"),
        approved(ALICE.0, ALICE.1, "atcr_device_second"),
    ]);
    let home = Home::new();
    home.write_program("bin/docker-credential-pass", KEYRING);
    home.run(&["login", &appview.host(), "--no-browser", "--keyring=pass"], "");
    let run = home.run(&["login", &appview.host(), "--no-browser"], "");
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(
        appview.asked_of("/auth/device/revoke")[0].body,
        r#"{"device_secret":"atcr_device_first"}"#
    );
    assert_eq!(std::fs::read_dir(home.path("keyring")).unwrap().count(), 0);
}

#[test]
fn a_replaced_device_that_the_keyring_lost_is_said() {
    let appview = FakeAppView::with_polls([
        approved(ALICE.0, ALICE.1, "atcr_device_first"),
        approved(ALICE.0, ALICE.1, "atcr_device_second"),
    ]);
    let home = Home::new();
    home.write_program("bin/docker-credential-pass", KEYRING);
    let login = || home.run(&["login", &appview.host(), "--no-browser", "--keyring=pass"], "");
    login();
    std::fs::remove_dir_all(home.path("keyring")).unwrap();
    let run = login();
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("could not be revoked"), "{run}");
}

#[test]
fn a_device_that_the_keyring_refuses_is_ended_at_once() {
    let appview = FakeAppView::with_polls([approved(ALICE.0, ALICE.1, "atcr_device_new_alice")]);
    let home = Home::new();
    home.write_program("bin/docker-credential-pass", "#!/bin/sh\necho locked; exit 1\n");
    let run = home.run(&["login", &appview.host(), "--no-browser", "--keyring=pass"], "");
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.stderr.contains("docker-credential-pass failed: locked"),
        "{run}"
    );
    assert_eq!(
        appview.asked_of("/auth/device/revoke")[0].body,
        r#"{"device_secret":"atcr_device_new_alice"}"#
    );
    assert!(!home.exists(".atcr/config.json"));
}

#[test]
fn other_processes_go_on_while_a_keyring_asks_its_owner() {
    let appview = FakeAppView::with_polls([approved(ALICE.0, ALICE.1, "atcr_device_new_alice")]);
    let home = Home::with_config(&config(&appview.url(), &[BOB]));
    home.write_program("bin/docker-credential-pass", KEYRING);
    let run = home.run(&["login", &appview.host(), "--no-browser", "--keyring=pass"], "");
    assert_eq!(run.code, 0, "{run}");
    let secret = "atcr_device_new_alice";
    // A keyring that answers only when another process has changed the accounts.
    let waiting = format!(
        "#!/bin/sh\n[ \"$1\" = get ] || exit 1\ncat >/dev/null\n{HELPER} switch bob.test >\"$HOME/switched\" 2>&1\necho '{{\"ServerURL\":\"x\",\"Username\":\"alice.test\",\"Secret\":\"{secret}\"}}'\n"
    );
    home.write_program("bin/docker-credential-pass", &waiting);
    let request = json!({"ServerURL": appview.host(), "Username": "alice.test", "Secret": secret});
    let run = home.run(&["store"], &request.to_string());
    assert_eq!(run.code, 0, "{run}");
    assert!(
        home.read("switched")
            .contains("bob.test is now the active account"),
        "{}",
        home.read("switched")
    );
    let text = home.read(".atcr/config.json");
    assert!(!text.contains(secret), "it stays in the keyring: {text}");
    let accounts: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(accounts["registries"][appview.url()]["active"], "alice.test");
}

#[test]
fn what_scripts_change_is_said_in_json() {
    let appview = FakeAppView::with_polls([]);
    let home = Home::with_config(&config(&appview.url(), &[ALICE, BOB]));
    home.run(
        &["store"],
        &json!({"ServerURL": appview.host(), "Username": "carol.test", "Secret": "pw"}).to_string(),
    );
    home.write_program("bin/docker-credential-atcr", "");
    let host = appview.host();
    let mut said = Vec::new();
    for arguments in [
        ["switch", "bob.test", "--json"].as_slice(),
        &["configure-docker", "--json", "--dry-run"],
        &["configure-docker", "--json"],
        &["configure-docker", "--json"],
        &["configure-docker", "--json", "--undo"],
        &["logout", &host, "alice.test", "--json"],
        &["logout", "--all", "--json"],
    ] {
        let run = home.run(arguments, "");
        assert_eq!(run.code, 0, "{run}");
        for line in appview.redact(&run.stdout).lines() {
            said.push(serde_json::from_str::<Value>(line).unwrap());
        }
        assert!(!run.stdout.contains("atcr_device"), "{run}");
    }
    insta::assert_json_snapshot!(said);
}

#[test]
fn a_keyring_that_lost_the_secret_is_said() {
    let appview = FakeAppView::with_polls([approved(ALICE.0, ALICE.1, "atcr_device_new_alice")]);
    let home = Home::new();
    home.write_program("bin/docker-credential-pass", KEYRING);
    home.run(&["login", &appview.host(), "--no-browser", "--keyring=pass"], "");
    std::fs::remove_dir_all(home.path("keyring")).unwrap();
    insta::assert_snapshot!(home.run(&["get"], &appview.host()));
}

#[test]
fn without_a_keyring_nothing_is_begun() {
    let appview = FakeAppView::with_polls([]);
    let mut home = Home::new();
    home.set("PATH", "/nowhere");
    insta::assert_snapshot!(home.run(&["login", &appview.host(), "--keyring"], ""));
    let run = home.run(&["login", &appview.host(), "--keyring=../x"], "");
    assert_eq!(run.code, 1, "{run}");
    assert!(appview.asked().is_empty());
}
