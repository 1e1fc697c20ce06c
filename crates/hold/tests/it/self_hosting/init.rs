//! `atcr-hold init` without a terminal.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Captain, HANDLE, failure, run, succeed};

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_was_set_up_by_flags_is_checked_and_made() {
    let captain = Captain::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let backup = folder.path().join("backup");
    let mut arguments = vec![
        "init",
        "--yes",
        "--url",
        "hold.example.com",
        "--captain",
        "@Captain.Test",
        "--public",
        "yes",
        "--open",
        "no",
        "--appview",
        "registry.example.com",
        "--data-dir",
        data.to_str().expect("UTF-8"),
        "--did-method",
        "web",
        "--backup",
        backup.to_str().expect("UTF-8"),
        "--proxy",
        "nginx",
    ];
    arguments.extend(captain.network());
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let asides = String::from_utf8(output.stderr).expect("text");
    let shown = format!("{HANDLE} (Captain Test), {}", captain.did);
    assert!(asides.contains(&shown), "{asides}");
    assert!(asides.contains(" free"), "{asides}");
    let said = String::from_utf8(output.stdout).expect("text");
    for part in [
        "server_name hold.example.com;",
        "proxy_pass http://127.0.0.1:8080;",
        "proxy_set_header Upgrade",
        "client_max_body_size 0;",
        "https://hold.example.com/admin as captain.test",
        "did:web:hold.example.com",
        "same disk",
    ] {
        assert!(said.contains(part), "{part} in:\n{said}");
    }

    let file = folder.path().join("hold.yaml");
    assert_eq!(mode(&file), 0o600);
    let written = std::fs::read_to_string(&file).expect("the file");
    let keys: Vec<&str> = written
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '-']))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys,
        [
            "server",
            "addr",
            "public_url",
            "public",
            "appview_did",
            "trusted_proxies",
            "handle_resolver_url",
            "test_mode",
            "registration",
            "owner_did",
            "allow_all_crew",
            "storage",
            "driver",
            "database",
            "path",
            "backup",
            "path",
        ],
        "{written}"
    );
    assert!(
        written.contains("# The URL under which clients reach the hold"),
        "{written}"
    );
    assert!(
        written.contains(&format!("owner_did: {}", captain.did)),
        "{written}"
    );

    // The file is what the other commands take.
    succeed(folder.path(), &["config", "check", "--config", "hold.yaml"]);
    let made = succeed(folder.path(), &["repo", "init", "--config", "hold.yaml"]);
    assert!(made.contains("did:web:hold.example.com is made"), "{made}");
    let again = failure(folder.path(), &["repo", "init", "--config", "hold.yaml"]);
    assert!(again.contains("is the folder of a hold already"), "{again}");
}

#[test]
fn an_answer_that_is_missing_without_a_terminal_is_named_by_its_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let captain = ["--captain", "did:web:captain.test", "--no-lookup"];
    let with = |more: &[&'static str]| [&["init"], more].concat();
    let url = ["--url", "hold.example.com"];
    for (arguments, flag) in [
        (with(&[]), "--url is missing"),
        (with(&["--yes"]), "--url is missing"),
        (with(&url), "--captain is missing"),
        (with(&[&url[..], &captain].concat()), "--public is missing"),
        (
            with(&[&url[..], &captain, &["--public", "no"]].concat()),
            "--open is missing",
        ),
    ] {
        let said = failure(folder.path(), &arguments);
        assert!(said.contains(flag), "{arguments:?}: {said}");
    }
    assert!(!folder.path().join("hold.yaml").exists(), "nothing is written");
}

#[test]
fn an_answer_that_is_wrong_is_refused_by_its_flag_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "").expect("written");
    let file = folder.path().join("file");
    let file = file.to_str().expect("UTF-8");
    let good = [
        ("--url", "hold.example.com"),
        ("--captain", "did:web:captain.test"),
        ("--data-dir", "/var/lib/atcr-hold"),
    ];
    for (flag, wrong) in [
        ("--url", "http://hold.example.com"),
        ("--url", "hold.example.com/path"),
        ("--captain", "nobody"),
        ("--appview", "not a name"),
        ("--data-dir", "relative/path"),
        ("--data-dir", file),
        ("--backup", "/var/lib/atcr-hold/backup"),
        ("--listen", "here"),
        ("--trusted-proxy", "proxy"),
    ] {
        let mut arguments = vec!["init", "--yes", "--no-lookup", flag, wrong];
        for (name, value) in good.iter().filter(|(name, _)| *name != flag) {
            arguments.extend([name, value]);
        }
        let said = failure(folder.path(), &arguments);
        assert!(said.contains(flag), "{flag} {wrong}: {said}");
    }
    assert!(!folder.path().join("hold.yaml").exists(), "nothing is written");
}

#[test]
fn a_file_that_is_there_is_kept_unless_it_shall_be_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hold.yaml");
    std::fs::write(&file, "server: {}\n").expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("for everybody");
    let mut arguments = vec![
        "init",
        "--yes",
        "--url",
        "hold.example.com",
        "--captain",
        "did:web:captain.test",
        "--no-lookup",
    ];
    let said = failure(folder.path(), &arguments);
    assert!(said.contains("hold.yaml exists; --force"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "server: {}\n");
    arguments.push("--force");
    succeed(folder.path(), &arguments);
    assert!(
        std::fs::read_to_string(&file)
            .expect("the file")
            .contains("did:web:captain.test")
    );
    assert_eq!(mode(&file), 0o600, "it may come to hold secrets");
}
