//! A person signs in at her own server with a browser, approves the credential helper, and Docker pushes without a login.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use atcr_test_support::docker_engine::Engine;
use atcr_test_support::network::Part;
use atcr_test_support::tools::Workspace;
use serde_json::Value;

use crate::browser::Browser;
use crate::docker::{context, repo_digest};
use crate::{World, succeed};

/// The helper with a home of its own.
pub(crate) struct Helper {
    binary: PathBuf,
    pub(crate) home: PathBuf,
    registry: String,
    /// Further variables.
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

/// A login that waits to be approved.
struct Waiting {
    child: Child,
    user_code: String,
    approve_at: String,
}

impl Helper {
    pub(crate) fn new(world: &World) -> Self {
        let workspace = Workspace::locate().expect("the workspace");
        Self {
            binary: workspace
                .binary("docker-credential-atcr")
                .expect("built by `cargo xtask test`"),
            home: world.folder("home"),
            registry: world.registry(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env("HOME", &self.home)
            .env_remove("DOCKER_CONFIG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn log_in(&self, arguments: &[&str]) -> Waiting {
        let mut child = self
            .command()
            .args(["login", &self.registry, "--no-browser", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the helper starts");
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().expect("its output"))
            .read_line(&mut first)
            .expect("a line");
        let event: Value = serde_json::from_str(&first).unwrap_or_else(|error| {
            let mut complaint = String::new();
            let _ = child
                .stderr
                .take()
                .map(|mut text| text.read_to_string(&mut complaint));
            panic!("{error}: {first}{complaint}")
        });
        let field = |name: &str| event[name].as_str().expect("a field").to_owned();
        Waiting {
            user_code: field("user_code"),
            approve_at: field("verification_uri_complete"),
            child,
        }
    }

    /// `PATH` with the helper first, for the programs that call it.
    pub(crate) fn path(&self) -> OsString {
        let folder = self.binary.parent().expect("a folder").to_owned();
        let others = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(folder).chain(std::env::split_paths(&others));
        std::env::join_paths(all).expect("a path")
    }
}

impl Waiting {
    fn finish(self) {
        let output = self.child.wait_with_output().expect("the helper ends");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Signs `handle` in with a browser of her own and approves the helper there.
pub(crate) async fn approve(world: &World, helper: &Helper, handle: &str, arguments: &[&str]) -> Browser {
    let browser = Browser::start(&world.folder(&format!("browser-{handle}")), &[]).await;
    let waiting = helper.log_in(arguments);
    browser.open(&waiting.approve_at).await;
    browser.fill("handle", handle).await;
    browser.press("Continue at your account server").await;
    browser.authorize_at_pds(world.account(handle)).await;
    confirm(&browser, waiting, handle).await;
    browser
}

/// Approves the helper once more in a browser where `handle` is signed in.
pub(crate) async fn approve_again(browser: &Browser, helper: &Helper, handle: &str, arguments: &[&str]) {
    let waiting = helper.log_in(arguments);
    browser.open(&waiting.approve_at).await;
    confirm(browser, waiting, handle).await;
}

async fn confirm(browser: &Browser, waiting: Waiting, handle: &str) {
    browser.wait_for_text(&waiting.user_code).await;
    let page = browser.text().await;
    assert!(page.contains(handle), "it says who approves:\n{page}");
    browser.press("Approve").await;
    browser.wait_for_text("Device approved").await;
    waiting.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_approve_the_helper_and_docker_pushes_as_each_until_one_is_revoked() {
    let mut world = World::start().await;
    let helper = Helper::new(&world);
    let alice = approve(&world, &helper, "alice.test", &[]).await;
    let _bob = approve(&world, &helper, "bob.test", &[]).await;

    // Sessions are on disk.
    world
        .network
        .stop(Part::AppView)
        .await
        .expect("the appview stops");
    world.network.start_appview().await.expect("the appview starts");

    let mut engine = Engine::find_or_start(&world.folder("docker"), &mut |_| {})
        .expect("a folder")
        .expect("a Docker engine: `cargo xtask test` installs one");
    engine.set_env("HOME", helper.home.as_os_str());
    engine.set_env("PATH", helper.path());
    let registry = world.registry();
    let configured = helper
        .command()
        .args(["configure-docker", &registry, "--file"])
        .arg(engine.config_file())
        .output()
        .expect("the helper runs");
    assert!(
        configured.status.success(),
        "{}",
        String::from_utf8_lossy(&configured.stderr)
    );

    let folder = world.folder("context");
    context(&folder, "signed in");
    let folder = folder.to_string_lossy().into_owned();
    let images = ["alice.test", "bob.test"].map(|handle| format!("{registry}/{handle}/app:1"));
    for image in &images {
        engine.run(&["build", "--tag", image, &folder]).expect("build");
        engine.run(&["push", image]).expect("a push without docker login");
        let pushed = repo_digest(&engine, image);
        engine.run(&["rmi", "--force", image]).expect("rmi");
        engine.run(&["pull", image]).expect("pull");
        assert_eq!(repo_digest(&engine, image), pushed);
    }

    // Other programs read the same file; of a copy, the destination says whose credentials are wanted.
    for image in &images {
        let copied = image.replace("app:1", "copy:1");
        succeed(
            Command::new("skopeo")
                .args([
                    "copy",
                    "--src-tls-verify=false",
                    "--dest-tls-verify=false",
                    "--authfile",
                ])
                .arg(engine.config_file())
                .args([format!("docker://{image}"), format!("docker://{copied}")])
                .env("HOME", &helper.home)
                .env("PATH", helper.path()),
        );
    }

    // The access tokens are not valid any more: they are refreshed, and no new sign-in is needed.
    world
        .network
        .forget_access_tokens()
        .await
        .expect("the PDS starts");
    for image in &images {
        let refreshed = image.replace("app:1", "app:refreshed");
        engine.run(&["tag", image, &refreshed]).expect("tag");
        engine
            .run(&["push", &refreshed])
            .expect("a push with refreshed tokens");
    }

    alice.open(&format!("{}/settings", world.appview())).await;
    alice.press("Sign this device out").await;
    alice.accept_dialog().await;
    alice.wait_for_text("No device is signed in").await;
    let refused = engine
        .run(&["push", &images[0]])
        .expect_err("a revoked device does not push")
        .to_string();
    assert!(
        refused.contains("docker-credential-atcr login"),
        "it says what to do: {refused}"
    );
    engine.run(&["push", &images[1]]).expect("bob's device is his");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_to_the_pages_and_out_again() {
    let world = World::start().await;
    let browser = Browser::start(&world.folder("browser"), &[]).await;
    browser.open(world.appview()).await;
    browser.press("Sign in").await;
    browser.fill("handle", "alice.test").await;
    browser.press("Continue at your account server").await;
    browser.authorize_at_pds(world.account("alice.test")).await;
    browser.wait_for("form[action='/auth/logout']").await;
    assert!(browser.url().await.starts_with(world.appview()));

    browser.open(&format!("{}/settings", world.appview())).await;
    let settings = browser.text().await;
    assert!(
        settings.contains(&world.account("alice.test").did),
        "it is her page:\n{settings}"
    );
    browser.press("Sign out everywhere").await;
    browser.open(&format!("{}/settings", world.appview())).await;
    browser.wait_for_text("Continue at your account server").await;
}
