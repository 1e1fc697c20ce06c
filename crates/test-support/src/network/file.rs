//! `network.json`: the running network as scripts and later commands see it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Part;
use super::process::is_running;

const NAME: &str = "network.json";

/// One demo account of the local PDS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The handle, for example `alice.test`.
    pub handle: String,
    /// The DID in the local directory.
    pub did: String,
    /// The account's own password.
    pub password: String,
    /// A password for `docker login`.
    pub app_password: String,
}

/// Where a part answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Endpoint {
    /// The base URL, without a slash at its end.
    pub url: String,
}

/// Where the hold answers, and its DID.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HoldEndpoint {
    /// The base URL, without a slash at its end.
    pub url: String,
    /// The DID of the hold; of one that has not started yet, what it is if it is a did:web.
    pub did: String,
}

/// Where those that follow the network's hosts answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FollowerEndpoints {
    /// The relay.
    pub relay: Endpoint,
    /// The collection directory.
    pub collections: Endpoint,
    /// tap.
    pub tap: Endpoint,
}

/// The network whose state is in one folder: `.atcr/network.json`. It is written when the first process starts, and
/// removed when all are stopped; what a killed command left behind names processes that [`NetworkFile::running`]
/// tells from those of others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetworkFile {
    /// The appview.
    pub appview: Endpoint,
    /// The hold.
    pub hold: HoldEndpoint,
    /// The PDS.
    pub pds: Endpoint,
    /// The PLC directory.
    pub plc: Endpoint,
    /// Relay, collection directory and tap, if the network has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followers: Option<FollowerEndpoints>,
    /// Health and metrics of the scanner, if the network has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner: Option<Endpoint>,
    /// The demo accounts; none before the PDS is ready.
    pub accounts: Vec<Account>,
    /// The processes, by part: `network`, `hold`, `appview`, `relay`, `collections`, `tap`, `scanner`; each is there as soon as it was started.
    pub pids: BTreeMap<String, u32>,
}

impl NetworkFile {
    /// Reads the file of the network whose state is in `state`; `None` if none was written.
    ///
    /// # Errors
    /// If the file is there and cannot be read or understood.
    pub fn read(state: &Path) -> Result<Option<Self>> {
        let path = state.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => {
                Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is damaged; delete it", path.display())
                })?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Removes the file from `state`; that none is there is fine.
    ///
    /// # Errors
    /// The operating system's.
    pub fn remove(state: &Path) -> Result<()> {
        let path = state.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write(&self, state: &Path) -> Result<()> {
        let fresh = state.join("network.json.new");
        write_private(&fresh, &serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&fresh, state.join(NAME))?;
        Ok(())
    }

    /// The account with `handle`.
    ///
    /// # Errors
    /// If the network has no such account.
    pub fn account(&self, handle: &str) -> Result<&Account> {
        self.accounts
            .iter()
            .find(|a| a.handle == handle)
            .with_context(|| format!("no account {handle}"))
    }

    /// The process of `part`, if it runs: one that was given the same id since does not count, nor does the part of a
    /// network whose state is elsewhere.
    #[must_use]
    pub fn running(&self, part: Part, state: &Path) -> Option<u32> {
        let pid = *self.pids.get(part.key())?;
        is_running(pid, part.argument(state).as_os_str()).then_some(pid)
    }
}

/// Writes `bytes` to `path` for the owner's eyes only.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
        .with_context(|| format!("cannot write {}", path.display()))
}
