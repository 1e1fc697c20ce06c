//! A release as an appview serves it: installed by its own script, taken by `update`, and refused when it was changed.
//!
//! Needs the optimised programs, which `cargo xtask test` builds.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use atcr_test_support::network::{Ports, Program};
use atcr_test_support::tools::Workspace;
use serde_json::{Value, json};

/// A program that says it is a later version, and does nothing else.
const LATER: &str = "#!/bin/sh\necho docker-credential-atcr 9.9.9 '(of a test)'\n";

struct Ran {
    success: bool,
    text: String,
}

fn run(command: &mut Command) -> Ran {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ran {
        success: output.status.success(),
        text: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    }
}

fn succeed(command: &mut Command) -> String {
    let ran = run(command);
    assert!(ran.success, "{command:?} failed:\n{}", ran.text);
    ran.text
}

/// The helper as it was built.
fn helper() -> PathBuf {
    let workspace = Workspace::locate().expect("the workspace");
    workspace
        .binary("docker-credential-atcr")
        .expect("built by `cargo xtask test`")
}

/// A folder with a release of `program`, signed, and an appview that serves it.
struct Release {
    folder: tempfile::TempDir,
    url: String,
    archive: PathBuf,
    // Dropped before the folder it works in.
    /// The public half of the key that signed it.
    key: String,
    _appview: Program,
}

impl Release {
    async fn of(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key.pem");
        succeed(
            Command::new("openssl")
                .args([
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-out",
                ])
                .arg(&key),
        );
        let dist = folder.path().join("dist");
        let said = succeed(
            Command::new(env!("CARGO_BIN_EXE_xtask"))
                .args(["dist", "--program"])
                .arg(program)
                .arg("--signing-key")
                .arg(&key)
                .arg("--out")
                .arg(&dist),
        );
        let after = |name: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {said}")).to_owned()
        };
        let signing_key = after("signing_key: ");
        let ports = Ports::free().expect("a port");
        let url = format!("http://127.0.0.1:{}", ports.appview);
        let config = json!({
            "server": {
                "addr": format!("127.0.0.1:{}", ports.appview),
                "base_url": url,
                "default_hold_did": "did:web:localhost%3A1",
                "test_mode": true,
                "data_dir": folder.path().join("appview"),
            },
            // It is not about the network.
            "index": { "enabled": false },
            "credential_helper": {
                "release_dir": after("release_dir: "),
                "signing_key": signing_key,
            },
        });
        let path = folder.path().join("appview.yaml");
        fs::write(&path, config.to_string()).expect("a file");
        let workspace = Workspace::locate().expect("the workspace");
        let mut appview = Program::spawn(
            "appview",
            &workspace
                .binary("atcr-appview")
                .expect("built by `cargo xtask test`"),
            &["serve".as_ref(), "--config".as_ref(), path.as_os_str()],
            &folder.path().join("appview.log"),
        )
        .expect("the appview starts");
        appview
            .wait_for_ready(&format!("{url}/readyz"), Duration::from_secs(30))
            .await
            .expect("the appview is ready");
        let archive = fs::read_dir(&dist)
            .expect("the release")
            .map(|entry| entry.expect("a file").path())
            .find(|path| path.extension() == Some(OsStr::new("gz")))
            .expect("an archive");
        Self {
            folder,
            url,
            archive,
            key: signing_key,
            _appview: appview,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `curl … | sh`, as the page says it.
    fn install(&self, install_dir: &Path) -> Ran {
        run(Command::new("sh")
            .args(["-c", &format!("curl -fsSL {}/install.sh | sh", self.url)])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("INSTALL_DIR", install_dir))
    }

    /// `update` of the helper at `program`.
    fn update(&self, program: &Path) -> Ran {
        run(Command::new(program)
            .args(["update", "--registry", self.url.trim_start_matches("http://")])
            .args(["--signing-key", &self.key])
            .env_clear()
            .env("HOME", self.folder.path()))
    }

    /// The helper of today, where `update` may replace it.
    fn installed(&self) -> PathBuf {
        let folder = self.path("bin");
        fs::create_dir_all(&folder).expect("a folder");
        let program = folder.join("docker-credential-atcr");
        fs::copy(helper(), &program).expect("a copy");
        program
    }
}

fn later(folder: &Path) -> PathBuf {
    let program = folder.join("later");
    fs::write(&program, LATER).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    program
}

#[tokio::test]
async fn the_install_script_installs_what_was_packed() {
    let release = Release::of(&helper()).await;
    let folder = release.path("made by the script").join("bin");
    let ran = release.install(&folder);
    assert!(ran.success, "{}", ran.text);
    let program = folder.join("docker-credential-atcr");
    assert_eq!(
        fs::read(&program).expect("a program"),
        fs::read(helper()).expect("a program")
    );
    let mode = fs::metadata(&program).expect("a program").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let version = succeed(Command::new(&program).args(["version", "--json"]));
    let version: Value = serde_json::from_str(&version).expect("JSON");
    let version = version["version"].as_str().expect("text");
    let host = release.url.trim_start_matches("http://");
    for line in [
        format!("Downloading docker-credential-atcr {version} for linux/"),
        format!("Installed: {}", program.display()),
        format!("export PATH=\"{}:$PATH\"", folder.display()),
        format!("docker-credential-atcr login {host}"),
    ] {
        assert!(ran.text.contains(&line), "{line:?} is not in {}", ran.text);
    }
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
}

#[tokio::test]
async fn the_install_script_leaves_the_old_program_when_the_archive_was_changed() {
    let release = Release::of(&helper()).await;
    let mut bytes = fs::read(&release.archive).expect("the archive");
    bytes.push(0);
    fs::write(&release.archive, bytes).expect("the archive");
    let folder = release.path("bin");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("docker-credential-atcr"), "old").expect("a program");
    let ran = release.install(&folder);
    assert!(!ran.success, "{}", ran.text);
    assert!(
        ran.text
            .contains("does not have the announced SHA-256; nothing was installed"),
        "{}",
        ran.text
    );
    assert_eq!(
        fs::read_to_string(folder.join("docker-credential-atcr")).expect("a program"),
        "old"
    );
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
}

#[tokio::test]
async fn update_takes_a_later_release_with_its_signature() {
    let folder = tempfile::tempdir().expect("a folder");
    let release = Release::of(&later(folder.path())).await;
    let program = release.installed();
    let ran = release.update(&program);
    assert!(ran.success, "{}", ran.text);
    assert!(ran.text.contains("is now 9.9.9"), "{}", ran.text);
    assert_eq!(fs::read_to_string(&program).expect("a program"), LATER);
}

#[tokio::test]
async fn update_refuses_a_signature_of_another_key_and_none_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let release = Release::of(&later(folder.path())).await;
    let other = Release::of(&later(folder.path())).await;
    let signature = |release: &Release| release.archive.with_added_extension("sig");
    fs::copy(signature(&other), signature(&release)).expect("a copy");
    let program = release.installed();
    let before = fs::read(&program).expect("a program");
    let ran = release.update(&program);
    assert!(!ran.success, "{}", ran.text);
    assert!(ran.text.contains("signature is not valid"), "{}", ran.text);
    fs::remove_file(signature(&release)).expect("a file");
    let ran = release.update(&program);
    assert!(ran.text.contains("is not signed"), "{}", ran.text);
    assert_eq!(fs::read(&program).expect("a program"), before);
}

#[test]
fn a_release_is_the_same_each_time_and_openssl_verifies_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = later(folder.path());
    let key = folder.path().join("key.pem");
    succeed(
        Command::new("openssl")
            .args([
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-out",
            ])
            .arg(&key),
    );
    let outs = ["one", "two"].map(|name| folder.path().join(name));
    for out in &outs {
        succeed(
            Command::new(env!("CARGO_BIN_EXE_xtask"))
                .args(["dist", "--program"])
                .arg(&program)
                .arg("--signing-key")
                .arg(&key)
                .arg("--out")
                .arg(out),
        );
    }
    let read = |out: &Path, name: &str| fs::read(out.join(name)).expect("a file");
    let checksums = String::from_utf8(read(&outs[0], "checksums.txt")).expect("text");
    assert_eq!(checksums.as_bytes(), read(&outs[1], "checksums.txt"));
    let name = checksums.split_whitespace().nth(1).expect("a name");
    assert!(name.starts_with("docker-credential-atcr_9.9.9_"), "{name}");
    succeed(
        Command::new("sha256sum")
            .args(["--check", "checksums.txt"])
            .current_dir(&outs[0]),
    );
    let public = folder.path().join("public.pem");
    succeed(
        Command::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(&public),
    );
    succeed(
        Command::new("openssl")
            .args(["dgst", "-sha256", "-verify"])
            .arg(&public)
            .arg("-signature")
            .arg(outs[0].join(format!("{name}.sig")))
            .arg(outs[0].join(name)),
    );
    let listed = succeed(Command::new("tar").arg("-tzf").arg(outs[0].join(name)));
    assert_eq!(listed, "docker-credential-atcr\nREADME.md\nLICENSE\n");
}

#[test]
fn a_key_that_does_not_sign_and_a_target_that_is_not_released_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key.pem");
    succeed(
        Command::new("openssl")
            .args([
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
                "-out",
            ])
            .arg(&key),
    );
    let dist = |arguments: &[&OsStr]| {
        run(Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("dist")
            .args(arguments)
            .arg("--out")
            .arg(folder.path().join("dist")))
    };
    let ran = dist(&["--signing-key".as_ref(), key.as_os_str()]);
    assert!(
        !ran.success && ran.text.contains("is no P-256 key in PEM"),
        "{}",
        ran.text
    );
    let ran = dist(&["--target".as_ref(), "mips-unknown-linux-gnu".as_ref()]);
    assert!(
        !ran.success
            && ran
                .text
                .contains("there are no releases for mips-unknown-linux-gnu"),
        "{}",
        ran.text
    );
    let ran = dist(&["--program".as_ref(), "/bin/true".as_ref()]);
    assert!(
        !ran.success && ran.text.contains("does not say which"),
        "{}",
        ran.text
    );
    assert!(!folder.path().join("dist").exists());
}
