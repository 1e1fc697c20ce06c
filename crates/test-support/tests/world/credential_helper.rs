//! The credential helper with a real keyring, and under Podman.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use atcr_test_support::tools::require_commands;
use serde_json::Value;

use crate::sign_in::{Helper, approve, approve_again};
use crate::{World, client, run, succeed};

/// A store of `pass` with a key of its own, which no passphrase guards. Dropping it ends the agent that keeps the key.
struct Pass {
    variables: Vec<(&'static str, OsString)>,
}

impl Pass {
    fn new(world: &World) -> Self {
        require_commands(&["gpg", "pass", "docker-credential-pass"], &mut |_| {})
            .expect("`pass` and Docker's helper for it");
        let (keys, store) = (world.folder("gnupg"), world.folder("password-store"));
        succeed(Command::new("chmod").arg("700").arg(&keys));
        let pass = Self {
            variables: vec![
                ("GNUPGHOME", keys.into_os_string()),
                ("PASSWORD_STORE_DIR", store.into_os_string()),
            ],
        };
        let key = "keyring@test.example";
        succeed(pass.command("gpg").args([
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--quick-generate-key",
            key,
            "default",
            "default",
            "never",
        ]));
        succeed(pass.command("pass").args(["init", key]));
        pass
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What it has under the names that Docker's helper gives.
    fn entries(&self) -> usize {
        let listed = succeed(self.command("docker-credential-pass").arg("list"));
        let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|error| panic!("{error}: {listed}"));
        listed.as_object().map_or(0, serde_json::Map::len)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let _ = self.command("gpgconf").args(["--kill", "gpg-agent"]).output();
    }
}

/// What `get` answers for the registry.
fn secret(helper: &Helper, registry: &str) -> String {
    let answer = give(helper.command().arg("get"), registry);
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    answer["Secret"].as_str().expect("a secret").to_owned()
}

/// Runs a command that must succeed, with `input` on its standard input; what it wrote to standard output.
fn give(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut stdin = child.stdin.take().expect("standard input");
    stdin.write_all(input.as_bytes()).expect("an open pipe");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{command:?} failed");
    String::from_utf8(output.stdout).expect("text")
}

/// Whether the registry still takes a device secret.
async fn is_taken(world: &World, handle: &str, secret: &str) -> bool {
    let url = format!("{}/auth/token?service=127.0.0.1", world.appview());
    let answer = client()
        .get(url)
        .basic_auth(handle, Some(secret))
        .send()
        .await
        .expect("an answer");
    answer.status().is_success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_in_a_real_keyring_is_handed_out_replaced_and_revoked() {
    let world = World::start().await;
    let pass = Pass::new(&world);
    let mut helper = Helper::new(&world);
    helper.environment.clone_from(&pass.variables);
    let registry = world.registry();
    let arguments = ["--keyring=pass"];
    let browser = approve(&world, &helper, "alice.test", &arguments).await;
    let first = secret(&helper, &registry);
    assert_eq!(pass.entries(), 1);
    let file = std::fs::read_to_string(helper.home.join(".atcr/config.json")).expect("the accounts");
    assert!(!file.contains(&first), "the secret is in the keyring alone");
    assert!(is_taken(&world, "alice.test", &first).await);

    approve_again(&browser, &helper, "alice.test", &arguments).await;
    let second = secret(&helper, &registry);
    assert_ne!(first, second);
    assert!(
        !is_taken(&world, "alice.test", &first).await,
        "the replaced device is revoked"
    );
    assert!(is_taken(&world, "alice.test", &second).await);
    assert_eq!(pass.entries(), 1);

    succeed(helper.command().args(["logout", &registry, "--yes"]));
    assert!(!is_taken(&world, "alice.test", &second).await);
    assert_eq!(pass.entries(), 0);
}

/// `podman` with state of its own in `folder`.
fn podman(folder: &Path, helper: &Helper) -> Command {
    let mut command = Command::new("podman");
    command
        .arg("--root")
        .arg(folder.join("storage"))
        .arg("--runroot")
        .arg(folder.join("run"))
        .arg("--storage-driver=vfs")
        .env("HOME", &helper.home)
        .env("PATH", helper.path())
        .env("XDG_RUNTIME_DIR", folder)
        .env_remove("REGISTRY_AUTH_FILE");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_and_skopeo_ask_the_helper_that_their_own_auth_file_names() {
    let world = World::start().await;
    let helper = Helper::new(&world);
    let registry = world.registry();
    for handle in ["bob.test", "alice.test"] {
        let request = serde_json::json!({
            "ServerURL": registry,
            "Username": handle,
            "Secret": world.account(handle).app_password,
        });
        give(helper.command().arg("store"), &request.to_string());
    }
    let auth_file = helper.home.join(".config/containers/auth.json");
    succeed(
        helper
            .command()
            .args(["configure-docker", &registry, "--file"])
            .arg(&auth_file),
    );

    let folder = world.folder("podman");
    std::fs::write(folder.join("file"), "by podman").expect("a file");
    std::fs::write(folder.join("Containerfile"), "FROM scratch\nCOPY file /file\n").expect("a file");
    // Alice is the active account; whose image it is decides.
    for handle in ["alice.test", "bob.test"] {
        let image = format!("{registry}/{handle}/podman:1");
        succeed(
            podman(&folder, &helper)
                .args(["build", "--quiet", "--tag", &image])
                .arg(&folder),
        );
        succeed(podman(&folder, &helper).args(["push", "--tls-verify=false", &image]));
        succeed(podman(&folder, &helper).args(["rmi", "--force", &image]));
        succeed(podman(&folder, &helper).args(["pull", "--tls-verify=false", &image]));
        let inspected = succeed(
            Command::new("skopeo")
                .args(["inspect", "--tls-verify=false", "--authfile"])
                .arg(&auth_file)
                .arg(format!("docker://{image}"))
                .env("HOME", &helper.home)
                .env("PATH", helper.path()),
        );
        assert!(inspected.contains("sha256:"), "{inspected}");
    }

    succeed(helper.command().args(["logout", &registry, "--all", "--yes"]));
    let image = format!("{registry}/alice.test/podman:1");
    let refused = run(podman(&folder, &helper).args(["push", "--tls-verify=false", &image]));
    assert!(!refused.success, "no account is signed in: {}", refused.text);
}
