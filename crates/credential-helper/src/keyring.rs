//! The operating system's keyring, through the `docker-credential-…` program that already speaks to it.
//!
//! Docker's own helpers (`osxkeychain`, `wincred`, `secretservice`, `pass`) are where people who want their registry
//! secrets in a keyring have them. Speaking to those keeps this program one static file without a D-Bus client, and
//! the keyring prompts under a name the user knows. A secret is kept there under a name that is no registry's, so that
//! it never gets in the way of what Docker itself stores.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use thiserror::Error;

use crate::environment::Environment;
use crate::protocol;
use crate::registry_url::RegistryUrl;

/// What is tried when no keyring is named, the system's own first.
const PROGRAMS: &[&str] = if cfg!(target_os = "macos") {
    &["osxkeychain"]
} else if cfg!(windows) {
    &["wincred"]
} else {
    &["secretservice", "pass"]
};

/// A keyring that did not help.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// No program for one is installed.
    #[error("no keyring is available: none of {} is installed", PROGRAMS.iter().map(|name| format!("docker-credential-{name}")).collect::<Vec<_>>().join(", "))]
    Missing,
    /// Not the name of a program.
    #[error("`{0}` is not the name of a keyring")]
    Name(String),
    /// It could not be started.
    #[error("cannot run docker-credential-{program}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("docker-credential-{program} failed: {}", crate::printer::plain(message))]
    Refused {
        /// Which.
        program: String,
        /// Its words.
        message: String,
    },
    /// It lost the secret.
    #[error("docker-credential-{program} no longer has the secret")]
    Lost {
        /// Which.
        program: String,
    },
}

/// A keyring behind `docker-credential-<program>`.
#[derive(Clone, Debug)]
pub struct Keyring {
    program: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    secret: String,
}

impl Keyring {
    /// The keyring called `name`, or the first one that is installed.
    ///
    /// # Errors
    /// [`KeyringError::Missing`] or [`KeyringError::Name`].
    pub fn open(name: Option<&str>, environment: &Environment) -> Result<Self, KeyringError> {
        let program = match name {
            Some(name) => name.to_owned(),
            None => PROGRAMS
                .iter()
                .find(|name| is_installed(name, environment))
                .map(|name| (*name).to_owned())
                .ok_or(KeyringError::Missing)?,
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        // Ourselves would ask ourselves.
        if !is_name(&program) || program == "atcr" {
            return Err(KeyringError::Name(program));
        }
        Ok(Self { program })
    }

    /// The name to open it by.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Keeps the secret of `key` at `registry`.
    ///
    /// # Errors
    /// [`KeyringError`]
    pub fn put(&self, registry: &RegistryUrl, key: &str, secret: &SecretString) -> Result<(), KeyringError> {
        let request = serde_json::json!({
            "ServerURL": entry_name(registry, key),
            "Username": key,
            "Secret": secret.expose_secret(),
        });
        self.call("store", &request.to_string()).map(drop)
    }

    /// The secret of `key` at `registry`.
    ///
    /// # Errors
    /// [`KeyringError`]
    pub fn get(&self, registry: &RegistryUrl, key: &str) -> Result<SecretString, KeyringError> {
        let lost = || KeyringError::Lost {
            program: self.program.clone(),
        };
        match self.call("get", &entry_name(registry, key)) {
            Ok(answer) => serde_json::from_str::<Entry>(&answer)
                .map(|entry| SecretString::from(entry.secret))
                .map_err(|_| lost()),
            Err(KeyringError::Refused { message, .. }) if message == protocol::NOT_FOUND => Err(lost()),
            Err(error) => Err(error),
        }
    }

    /// Forgets the secret of `key` at `registry`.
    ///
    /// # Errors
    /// [`KeyringError`]
    pub fn remove(&self, registry: &RegistryUrl, key: &str) -> Result<(), KeyringError> {
        self.call("erase", &entry_name(registry, key)).map(drop)
    }

    fn call(&self, action: &str, input: &str) -> Result<String, KeyringError> {
        let start = |source| KeyringError::Start {
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(format!("docker-credential-{}", self.program))
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(start)?;
        // A program that refuses may end without reading: its answer then says more than the broken pipe.
        let written = child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().map_err(start)?;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            written.map_err(start)?;
            Ok(answer)
        } else {
            Err(KeyringError::Refused {
                program: self.program.clone(),
                message: answer,
            })
        }
    }
}

/// The name under which a keyring has a secret. The path keeps the accounts of one registry apart.
fn entry_name(registry: &RegistryUrl, key: &str) -> String {
    format!("{registry}/docker-credential-atcr/{key}")
}

fn is_installed(name: &str, environment: &Environment) -> bool {
    let file = format!("docker-credential-{name}{}", std::env::consts::EXE_SUFFIX);
    find_program(OsStr::new(&file), environment).is_some()
}

/// Where `PATH` finds a program.
#[must_use]
pub fn find_program(file: &OsStr, environment: &Environment) -> Option<PathBuf> {
    std::env::split_paths(environment.path.as_ref()?)
        .map(|folder| folder.join(file))
        .find(|candidate| candidate.is_file())
}
