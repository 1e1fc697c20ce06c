//! Whole-system stories: both servers as processes, the reference PDS, the real clients.
//!
//! They need the optimised programs, the Node packages and the clients; `cargo xtask test` installs and builds them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect"
)]

mod accessibility;
mod admin_site;
mod browser;
mod buildkit;
mod clients;
mod confidential;
mod credential_helper;
mod docker;
mod followers;
mod hold_identity;
mod images;
mod kill_points;
mod oauth_helper;
mod operation;
mod provenance;
mod reference_tools;
mod s3;
mod scanning;
mod sessions;
mod sign_in;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use atcr_test_support::network::{Network, NetworkOptions, Ports};
use atcr_test_support::tools::{GoTool, Workspace};

/// A network of its own for one story, and the folder of its state.
struct World {
    network: Network,
    folder: tempfile::TempDir,
}

impl World {
    /// A network on the embedded defaults.
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A network whose options `change` has changed.
    async fn start_with(change: impl FnOnce(&mut NetworkOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = Workspace::locate().expect("the workspace");
        let mut options =
            NetworkOptions::new(folder.path().join("network"), Ports::free().expect("four ports"));
        change(&mut options);
        let network = Network::start(&workspace, options, &mut |_, _| {})
            .await
            .unwrap_or_else(|error| panic!("the network starts (run `cargo xtask test`): {error:#}"));
        Self { network, folder }
    }

    fn appview(&self) -> &str {
        &self.network.file().appview.url
    }

    /// Host and port, as image names have it.
    fn registry(&self) -> String {
        self.appview().trim_start_matches("http://").to_owned()
    }

    fn account(&self, handle: &str) -> &atcr_test_support::network::Account {
        self.network.file().account(handle).expect("the account")
    }

    /// `handle:app password`, as the clients' options take it.
    fn credentials(&self, handle: &str) -> String {
        let account = self.account(handle);
        format!("{}:{}", account.handle, account.app_password)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }
}

/// A story that failed shows what the servers had to say.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for name in ["appview", "hold", "scanner"] {
            let log = self.network.state().join("logs").join(format!("{name}.log"));
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!(
                "--- {name}\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}

/// A client that asks the parts themselves, whatever proxy the environment names.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// What a command printed, and whether it succeeded.
struct Ran {
    success: bool,
    text: String,
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Ran {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ran {
        success: output.status.success(),
        text,
    }
}

/// Runs a command that must succeed; returns what it printed.
fn succeed(command: &mut Command) -> String {
    let ran = run(command);
    assert!(ran.success, "{command:?} failed:\n{}", ran.text);
    ran.text
}

/// A client that is installed.
fn tool(tool: GoTool) -> Command {
    Command::new(tool.installed().expect("the client"))
}
