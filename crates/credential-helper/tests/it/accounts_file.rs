//! The file of accounts: versions, concurrency, what is kept.

use std::sync::Barrier;

use super::home::{ALICE, BOB, Home, config};

#[test]
fn a_device_file_of_version_1_is_imported_once_and_kept_as_backup() {
    let home = Home::new();
    let old = r#"{"credentials":{"https://atcr.io":{"handle":"alice.test","device_secret":"atcr_device_a","appview_url":"https://atcr.io"},
        "http://127.0.0.1:5000":{"handle":"bob.test","device_secret":"atcr_device_b","appview_url":"http://127.0.0.1:5000"}}}"#;
    home.write(".atcr/device.json", old);
    let run = home.run(&["get"], "atcr.io");
    assert!(
        run.stdout
            .contains(r#""Username":"alice.test","Secret":"atcr_device_a""#),
        "{run}"
    );
    let run = home.run(&["get"], "127.0.0.1:5000");
    assert!(
        run.stdout
            .contains(r#""Username":"bob.test","Secret":"atcr_device_b""#),
        "{run}"
    );
    assert_eq!(home.read(".atcr/device.json.bak"), old);
    assert!(!home.exists(".atcr/device.json"));
    assert_eq!(home.mode(".atcr/config.json"), 0o600);
    insta::assert_snapshot!(home.read(".atcr/config.json"));
}

#[test]
fn a_device_file_with_a_single_device_is_imported_too() {
    let home = Home::new();
    home.write(
        ".atcr/device.json",
        r#"{"handle":"alice.test","device_secret":"atcr_device_a","appview_url":"https://atcr.io/"}"#,
    );
    assert!(home.run(&["get"], "atcr.io").stdout.contains("atcr_device_a"));
}

#[test]
fn an_old_device_file_changes_nothing_once_there_are_accounts() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    home.write(
        ".atcr/device.json",
        r#"{"handle":"bob.test","device_secret":"atcr_device_b","appview_url":"https://atcr.io"}"#,
    );
    assert!(home.run(&["get"], "atcr.io").stdout.contains("alice.test"));
    assert!(home.exists(".atcr/device.json"));
}

#[test]
fn fields_of_later_versions_survive_a_change() {
    let mut text: serde_json::Value =
        serde_json::from_str(&config("https://atcr.io", &[ALICE, BOB])).unwrap();
    text["later"] = 1.into();
    text["registries"]["https://atcr.io"]["later"] = 2.into();
    text["registries"]["https://atcr.io"]["accounts"]["alice.test"]["later"] = 3.into();
    let home = Home::with_config(&text.to_string());
    assert_eq!(home.run(&["switch", "bob.test"], "").code, 0);
    text["registries"]["https://atcr.io"]["active"] = "bob.test".into();
    let now: serde_json::Value = serde_json::from_str(&home.read(".atcr/config.json")).unwrap();
    assert_eq!(now, text);
}

#[test]
fn processes_that_store_at_once_lose_nothing() {
    const WRITERS: usize = 12;
    let home = Home::new();
    let barrier = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let (home, barrier) = (&home, &barrier);
            scope.spawn(move || {
                let request = format!(
                    r#"{{"ServerURL":"atcr.io","Username":"user{number}.test","Secret":"pw{number}"}}"#
                );
                barrier.wait();
                let run = home.run(&["store"], &request);
                assert_eq!(run.code, 0, "{run}");
            });
        }
    });
    let accounts: serde_json::Value = serde_json::from_str(&home.read(".atcr/config.json")).unwrap();
    let accounts = accounts["registries"]["https://atcr.io"]["accounts"]
        .as_object()
        .unwrap();
    assert_eq!(accounts.len(), WRITERS);
    let left: Vec<String> = std::fs::read_dir(home.path(".atcr"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "config.json" && name != "config.json.lock")
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_file_behind_a_symbolic_link_stays_behind_it() {
    let home = Home::new();
    let real = home.write("dotfiles/config.json", &config("https://atcr.io", &[ALICE]));
    std::fs::create_dir_all(home.path(".atcr")).unwrap();
    std::os::unix::fs::symlink(real, home.path(".atcr/config.json")).unwrap();
    home.run(
        &["store"],
        r#"{"ServerURL":"atcr.io","Username":"bob.test","Secret":"pw"}"#,
    );
    assert!(
        std::fs::symlink_metadata(home.path(".atcr/config.json"))
            .unwrap()
            .is_symlink()
    );
    assert!(home.read("dotfiles/config.json").contains("bob.test"));
}

#[test]
fn get_needs_no_writable_home() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    let before = std::fs::metadata(home.path(".atcr/config.json"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(home.run(&["get"], "atcr.io").code, 0);
    let after = std::fs::metadata(home.path(".atcr/config.json"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    assert!(!home.exists(".atcr/config.json.lock"));
}
