//! One test for each known attack on a credential helper.

use super::home::{ALICE, BOB, Home, config};

fn leaks(home: &Home, request: &str) -> bool {
    let run = home.run(&["get"], request);
    assert_eq!(run.code, 1, "{request:?}: {run}");
    run.stdout.contains("atcr_device_") || run.stderr.contains("atcr_device_")
}

#[test]
fn a_look_alike_of_a_registry_gets_nothing() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    for request in [
        "atcr.io.evil.example",
        "xatcr.io",
        "atcr.io@evil.example",
        "https://atcr.io@evil.example/",
        "https://evil.example/atcr.io",
        "evil.example/atcr.io",
        "https://evil.example#atcr.io",
        "https://evil.example\\atcr.io",
        "sub.atcr.io",
        "atcr.io.",
        "atcr.io:444",
        "atcr.io:80",
        "http://atcr.io",
        "atcr%2Eio",
        "\u{430}tcr.io",
        "atcr.io\u{200b}",
        "io",
        "localhost",
    ] {
        assert!(!leaks(&home, request), "{request:?}");
    }
}

#[test]
fn a_request_of_several_lines_is_refused_whole() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    for request in [
        "atcr.io\nhost=evil",
        "evil.example\natcr.io",
        "atcr.io\0",
        "atcr.io\r",
        "atcr.io\n\n",
    ] {
        assert!(!leaks(&home, request), "{request:?}");
    }
}

#[test]
fn control_characters_do_not_get_into_the_accounts() {
    let home = Home::new();
    for (server, username, secret) in [
        ("atcr.io\\nx", "alice.test", "pw"),
        ("atcr.io", "alice\\r\\n.test", "pw"),
        ("atcr.io", "alice\\u0000", "pw"),
        ("atcr.io", "alice:test", "pw"),
        ("atcr.io", "alice.test", "p\\nw"),
        ("atcr.io", "alice.test", ""),
        ("http://registry.example", "alice.test", "pw"),
    ] {
        let request = format!(r#"{{"ServerURL":"{server}","Username":"{username}","Secret":"{secret}"}}"#);
        let run = home.run(&["store"], &request);
        assert_eq!(run.code, 1, "{request}: {run}");
    }
    assert!(!home.exists(".atcr/config.json"));
}

#[test]
fn a_request_without_end_is_refused() {
    let run = Home::new().run(&["get"], &"a".repeat(200_000));
    assert_eq!((run.code, run.stdout.as_str()), (1, "the request is too long\n"));
}

#[test]
fn a_secret_of_one_registry_is_never_given_to_another() {
    let mut text: serde_json::Value = serde_json::from_str(&config("https://atcr.io", &[ALICE])).unwrap();
    let other: serde_json::Value = serde_json::from_str(&config("https://buoy.example", &[BOB])).unwrap();
    text["registries"]["https://buoy.example"] = other["registries"]["https://buoy.example"].clone();
    let home = Home::with_config(&text.to_string());
    // The image names Alice, the registry is the other one.
    let run = home.run(&["get"], "buoy.example/alice.test");
    assert!(run.stdout.contains("atcr_device_of_bob.test"), "{run}");
}

#[test]
fn a_file_of_accounts_is_for_its_owner_alone() {
    let home = Home::new();
    home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"alice.test","Secret":"pw"}"#,
    );
    assert_eq!(home.mode(".atcr"), 0o700);
    assert_eq!(home.mode(".atcr/config.json"), 0o600);
    // Also when it was open to all before.
    let file = std::fs::File::open(home.path(".atcr/config.json")).unwrap();
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"bob.test","Secret":"pw"}"#,
    );
    assert_eq!(home.mode(".atcr/config.json"), 0o600);
}

#[test]
fn secrets_are_in_no_message_of_a_broken_file() {
    let broken = config("https://atcr.io", &[ALICE]).replace("\"version\":2", "\"version\":true");
    let home = Home::with_config(&broken);
    for arguments in [["get"].as_slice(), &["status"], &["list"], &["logout"]] {
        let run = home.run(arguments, "atcr.io");
        assert!(!run.to_string().contains("atcr_device"), "{run}");
    }
}
