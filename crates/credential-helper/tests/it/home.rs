//! A home folder with nothing in it, and the helper run in it.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The binary under test.
pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_docker-credential-atcr");

/// A fresh home; the environment of the test run does not reach what runs in it.
pub(crate) struct Home {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "exit: {}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a temporary folder"),
            variables: Vec::new(),
        }
    }

    /// A home with these accounts, the text of `config.json`.
    pub(crate) fn with_config(text: &str) -> Self {
        let home = Self::new();
        home.write(".atcr/config.json", text);
        home
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn write_program(&self, relative: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;

        let path = self.write(relative, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).expect("a file")
    }

    pub(crate) fn exists(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    pub(crate) fn mode(&self, relative: &str) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;

        let metadata = fs::metadata(self.path(relative)).expect("a file");
        metadata.permissions().mode() & 0o777
    }

    /// A command in this home.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .current_dir(self.folder.path());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    /// Runs the helper with `input` on standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Run {
        let mut command = self.command(HELPER);
        command.args(arguments);
        self.finish(command, input)
    }

    /// Runs any command with `input` on standard input. Temporary paths and ports are given fixed names.
    pub(crate) fn finish(&self, mut command: Command, input: &str) -> Run {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut stdin = child.stdin.take().expect("standard input");
        // A command that reads nothing closes its end first.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output: Output = child.wait_with_output().expect("an output");
        let home = self.folder.path().display().to_string();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").replace(&home, "<home>");
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// A `config.json` with accounts of one registry; the first is active. Each is `(handle, did)`.
pub(crate) fn config(registry: &str, accounts: &[(&str, &str)]) -> String {
    let rows: serde_json::Map<String, serde_json::Value> = accounts
        .iter()
        .map(|(handle, did)| {
            let row = serde_json::json!({
                "handle": handle,
                "did": did,
                "device_secret": format!("atcr_device_of_{handle}"),
            });
            ((*handle).to_owned(), row)
        })
        .collect();
    let active = accounts.first().map(|(handle, _)| *handle);
    serde_json::json!({"version": 2, "registries": {registry: {"active": active, "accounts": rows}}})
        .to_string()
}

pub(crate) const ALICE: (&str, &str) = ("alice.test", "did:plc:alicealicealicealice234");
pub(crate) const BOB: (&str, &str) = ("bob.test", "did:plc:bobbobbobbobbobbobbob234");
pub(crate) const CAROL: (&str, &str) = ("carol.test", "did:web:carol.test");
