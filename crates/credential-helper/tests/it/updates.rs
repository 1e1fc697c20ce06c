//! The program replaces itself only by what was announced, and signed where a key is named.

use std::fmt::Write as _;
use std::io::Write as _;

use atcr_credential_helper::release::{Version, platform, required_key};
use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::fake_appview::{Answer, FakeAppView};
use super::home::{HELPER, Home, Run};

const NEW: &str = "#!/bin/sh\necho docker-credential-atcr 9.9.9\n";

fn tar(name: &str, program: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in [("README.md", "read me"), (name, program)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn zip(program: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive
        .start_file("docker-credential-atcr", zip::write::SimpleFileOptions::default())
        .unwrap();
    archive.write_all(program.as_bytes()).unwrap();
    archive.finish().unwrap().into_inner()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The key that signs, and its public half as did:key.
fn key() -> (SigningKey, String) {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let mut multikey = vec![0x80, 0x24];
    multikey.extend_from_slice(key.verifying_key().to_encoded_point(true).as_bytes());
    let did = format!(
        "did:key:{}",
        multibase::encode(multibase::Base::Base58Btc, multikey)
    );
    (key, did)
}

struct Release {
    appview: FakeAppView,
    home: Home,
}

impl Release {
    /// A release of `archive`, signed.
    fn new(archive: Vec<u8>, change: impl FnOnce(&mut Value)) -> Self {
        let appview = FakeAppView::start();
        let (os, arch) = platform();
        let mut release = json!({
            "version": "9.9.9",
            "archives": [
                {"os": "plan9", "arch": arch, "url": "/nowhere", "sha256": ""},
                {"os": os, "arch": arch, "url": format!("{}/dist/helper.tar.gz", appview.url()), "sha256": sha256(&archive)},
            ],
            "signing_key": null,
        });
        change(&mut release);
        let (key, _) = key();
        let signature: p256::ecdsa::Signature = key.sign(&archive);
        appview.on("/api/credential-helper/version", [Answer::json(200, release)]);
        appview.on("/dist/helper.tar.gz", [Answer::bytes(200, archive)]);
        appview.on(
            "/dist/helper.tar.gz.sig",
            [Answer::bytes(200, signature.to_der().as_bytes())],
        );
        let home = Home::new();
        std::fs::create_dir_all(home.path("bin")).unwrap();
        std::fs::copy(HELPER, home.path("bin/docker-credential-atcr")).unwrap();
        Self { appview, home }
    }

    /// An update by a user who names the key.
    fn update(&self, more: &[&str]) -> Run {
        let (_, did) = key();
        self.update_without_key(&[&["--signing-key", &did], more].concat())
    }

    fn update_without_key(&self, more: &[&str]) -> Run {
        let mut command = self.home.command(self.home.path("bin/docker-credential-atcr"));
        command
            .args(["update", "--registry", &self.appview.host()])
            .args(more);
        self.home.finish(command, "")
    }

    fn is_replaced(&self) -> bool {
        let installed = std::fs::read(self.home.path("bin/docker-credential-atcr")).unwrap();
        let files = std::fs::read_dir(self.home.path("bin")).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside the program");
        installed == NEW.as_bytes()
    }
}

#[test]
fn a_newer_release_takes_the_programs_place() {
    for archive in [
        tar("docker-credential-atcr", NEW),
        tar("docker-credential-atcr_9.9.9/docker-credential-atcr", NEW),
        zip(NEW),
    ] {
        let release = Release::new(archive, |_| ());
        let run = release.update(&[]);
        assert_eq!(run.code, 0, "{run}");
        assert!(release.is_replaced());
        assert_eq!(release.home.mode("bin/docker-credential-atcr"), 0o755);
    }
}

#[test]
fn check_only_says_and_leaves_with_ten() {
    let release = Release::new(tar("docker-credential-atcr", NEW), |_| ());
    insta::assert_snapshot!(release.update(&["--check"]));
    assert!(!release.is_replaced());
}

#[test]
fn check_in_json_says_both_versions() {
    let release = Release::new(tar("docker-credential-atcr", NEW), |_| ());
    let run = release.update(&["--check", "--json"]);
    assert_eq!(run.code, 10, "{run}");
    let said: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        said,
        json!({
            "registry": release.appview.url(),
            "current": env!("CARGO_PKG_VERSION"),
            "newest": "9.9.9",
            "newer": true,
            "installed": false,
        })
    );
    let said: Value = serde_json::from_str(&release.update(&["--json"]).stdout).unwrap();
    assert_eq!(said["installed"], true);
}

#[test]
fn a_key_that_was_built_in_counts_and_another_that_is_given_is_refused() {
    assert_eq!(required_key(Some("built in"), None).unwrap(), Some("built in"));
    assert_eq!(
        required_key(Some("built in"), Some("built in")).unwrap(),
        Some("built in")
    );
    assert!(required_key(Some("built in"), Some("given")).is_err());
    assert_eq!(required_key(None, Some("given")).unwrap(), Some("given"));
    assert_eq!(required_key(None, None).unwrap(), None);
}

#[test]
fn a_build_without_a_key_does_not_update_itself_and_says_how_to() {
    let (_, did) = key();
    let archive = || tar("docker-credential-atcr", NEW);
    let named = Release::new(archive(), |release| release["signing_key"] = did.clone().into());
    let run = named.update_without_key(&[]);
    insta::assert_snapshot!(
        "key_that_the_registry_names",
        named.appview.redact(&run.to_string())
    );
    assert!(!named.is_replaced());
    assert!(named.appview.asked_of("/dist/helper.tar.gz").is_empty());

    let unnamed = Release::new(archive(), |_| ());
    let run = unnamed.update_without_key(&[]);
    insta::assert_snapshot!("no_key_at_all", unnamed.appview.redact(&run.to_string()));
    assert!(!unnamed.is_replaced());
    // What there is, is still said.
    assert_eq!(unnamed.update_without_key(&["--check"]).code, 10);
}

#[test]
fn the_newest_version_stays() {
    for version in [env!("CARGO_PKG_VERSION"), "0.0.1", "v0.0.9"] {
        let release = Release::new(Vec::new(), |release| release["version"] = version.into());
        let run = release.update(&[]);
        assert_eq!(run.code, 0, "{run}");
        assert!(!release.is_replaced());
    }
}

#[test]
fn an_archive_that_was_tampered_with_is_not_installed() {
    let good = tar("docker-credential-atcr", NEW);
    let other = sha256(b"other");
    let release = Release::new(good, |release| release["archives"][1]["sha256"] = other.into());
    insta::assert_snapshot!(release.update(&[]));
    assert!(!release.is_replaced());
}

#[test]
fn an_archive_that_does_not_hold_a_working_program_is_not_installed() {
    for archive in [
        tar("other-program", NEW),
        tar("docker-credential-atcr", "#!/bin/sh\nexit 1\n"),
        tar(
            "docker-credential-atcr",
            "#!/bin/sh\necho docker-credential-atcr 1.0.0\n",
        ),
        b"no archive".to_vec(),
        tar("docker-credential-atcr", NEW)[..60].to_vec(),
    ] {
        let release = Release::new(archive, |_| ());
        let run = release.update(&[]);
        assert_eq!(run.code, 1, "{run}");
        assert!(!release.is_replaced());
    }
}

#[test]
fn with_a_key_only_what_it_signed_is_installed() {
    let (key, _) = key();
    let archive = tar("docker-credential-atcr", NEW);
    let signature: p256::ecdsa::Signature = key.sign(&archive);
    let wrong: p256::ecdsa::Signature = key.sign(b"another archive");
    let release = || Release::new(archive.clone(), |_| ());

    let unsigned = release();
    unsigned.appview.off("/dist/helper.tar.gz.sig");
    insta::assert_snapshot!(unsigned.update(&[]));
    assert!(!unsigned.is_replaced());

    let forged = release();
    forged.appview.on(
        "/dist/helper.tar.gz.sig",
        [Answer::bytes(200, wrong.to_der().as_bytes())],
    );
    let run = forged.update(&[]);
    assert!(run.stderr.contains("signature is not valid"), "{run}");
    assert!(!forged.is_replaced());

    let base64 = base64::engine::general_purpose::STANDARD.encode(signature.to_der().as_bytes()) + "\n";
    for good in [signature.to_bytes().to_vec(), base64.into_bytes()] {
        let signed = release();
        signed
            .appview
            .on("/dist/helper.tar.gz.sig", [Answer::bytes(200, good)]);
        let run = signed.update(&[]);
        assert_eq!(run.code, 0, "{run}");
        assert!(signed.is_replaced());
    }
}

#[test]
fn a_registry_without_releases_is_said() {
    let appview = FakeAppView::start();
    let run = Home::new().run(&["update", "--registry", &appview.host()], "");
    insta::assert_snapshot!(appview.redact(&run.to_string()));
    let release = Release::new(Vec::new(), |release| release["archives"] = json!([]));
    let run = release.update(&[]);
    assert!(run.stderr.contains("there is no release for"), "{run}");
}

#[test]
fn versions_are_in_order() {
    let sorted = [
        "0.1.0-rc.1",
        "0.1.0",
        "0.1.2",
        "v0.1.10",
        "0.2.0",
        "1.0.0-alpha",
        "1.0.0+build",
    ];
    let versions: Vec<Version> = sorted.iter().map(|text| text.parse().unwrap()).collect();
    assert!(versions.is_sorted());
    for text in [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "1.2.x",
        "1..2",
        "1.2.3-\u{1b}[2J",
        "+1.2.3",
        "1.2.-3",
    ] {
        assert!(text.parse::<Version>().is_err(), "{text:?}");
    }
}
