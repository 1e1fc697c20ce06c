//! `device.json`, the file of version 1: one device for each address of an appview. Only ever read.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Deserialize;
use thiserror::Error;

use crate::accounts::{Account, Accounts};
use crate::registry_url::RegistryUrl;

/// A `device.json` that cannot be imported.
#[derive(Debug, Error)]
pub enum InvalidDeviceFile {
    /// Not JSON, or none of the known shapes.
    #[error("it is not valid: {0}")]
    Syntax(#[from] serde_json::Error),
    /// An address that is no registry.
    #[error("`{0}` is not a registry")]
    Registry(String),
}

/// Both shapes that were written: several devices by address, before that a single one.
#[derive(Deserialize)]
#[serde(untagged)]
enum DeviceFile {
    Several { credentials: BTreeMap<String, Device> },
    Single(Device),
    Bare(BTreeMap<String, Device>),
}

#[derive(Deserialize)]
struct Device {
    handle: String,
    #[serde(default)]
    did: Option<String>,
    #[serde(alias = "secret")]
    device_secret: String,
    #[serde(default)]
    appview_url: Option<String>,
}

/// The accounts of a `device.json`; each is the active one of its registry.
///
/// # Errors
/// [`InvalidDeviceFile`].
pub fn import(text: &str) -> Result<Accounts, InvalidDeviceFile> {
    let devices: Vec<(Option<String>, Device)> = match serde_json::from_str(text)? {
        DeviceFile::Several { credentials } | DeviceFile::Bare(credentials) => credentials
            .into_iter()
            .map(|(url, device)| (Some(url), device))
            .collect(),
        DeviceFile::Single(device) => vec![(None, device)],
    };
    let mut accounts = Accounts::default();
    for (key, device) in devices {
        let url = key
            .or(device.appview_url)
            .unwrap_or_else(|| crate::DEFAULT_REGISTRY.to_owned());
        let url: RegistryUrl = url.parse().map_err(|_| InvalidDeviceFile::Registry(url))?;
        let account = Account::with_device(
            &device.handle,
            device.did,
            SecretString::from(device.device_secret),
        );
        accounts.registry_mut(&url).insert_active(account);
    }
    Ok(accounts)
}
