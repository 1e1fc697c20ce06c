//! The accounts of this user, by registry: the content of `~/.atcr/config.json`, version 2.
//!
//! ```json
//! {"version":2,"registries":{"https://atcr.io":{"active":"alice.example","accounts":{
//!   "alice.example":{"did":"did:plc:…","handle":"alice.example","device_secret":"atcr_device_…"}}}}}
//! ```
//! Fields this version does not know are kept as they are.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::registry_url::{RegistryUrl, ServerAddress};

/// The version that is written.
pub const FORMAT_VERSION: u64 = 2;
/// How the device secrets of this project's appview begin. Other appviews may give out others.
pub const DEVICE_SECRET_PREFIX: &str = "atcr_device_";

/// All accounts.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    registries: BTreeMap<RegistryUrl, RegistryAccounts>,
    unknown_fields: Map<String, Value>,
}

/// The accounts of one registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccounts {
    /// The key of the account that is handed out when the image does not say which.
    pub active: Option<String>,
    /// By handle in lower case, or by what Docker called the user.
    pub accounts: BTreeMap<String, Account>,
    unknown_fields: Map<String, Value>,
}

/// An account that is signed in.
#[derive(Clone, Debug)]
pub struct Account {
    /// What is handed out as user name: the handle, or what was given to `docker login`.
    pub handle: String,
    /// The account's DID, where the registry told it.
    pub did: Option<String>,
    /// The secret, or where it is.
    pub secret: StoredSecret,
    /// `docker logout` took the account out of use; nothing was deleted. See [`crate::commands::erase`].
    pub set_aside: bool,
    /// When it was stored, RFC 3339 in UTC.
    pub added_at: Option<String>,
    unknown_fields: Map<String, Value>,
}

/// What kind of secret an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// From `login`: the registry holds the session, and the user can revoke it there.
    Device,
    /// From `docker login`: a password the user made at the PDS.
    AppPassword,
}

impl SecretKind {
    /// The kind that `secret` is by its form.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        if secret.starts_with(DEVICE_SECRET_PREFIX) {
            Self::Device
        } else {
            Self::AppPassword
        }
    }
}

/// A secret, or where it is.
#[derive(Clone, Debug)]
pub enum StoredSecret {
    /// In the file itself.
    Inline {
        /// What it is.
        kind: SecretKind,
        /// The secret.
        secret: SecretString,
    },
    /// In the operating system's keyring, behind the program `docker-credential-<program>`.
    Keyring {
        /// What it is.
        kind: SecretKind,
        /// `osxkeychain`, `wincred`, `secretservice` or `pass`.
        program: String,
    },
}

impl StoredSecret {
    /// What kind of secret it is.
    #[must_use]
    pub const fn kind(&self) -> SecretKind {
        match self {
            Self::Inline { kind, .. } | Self::Keyring { kind, .. } => *kind,
        }
    }
}

/// A file of accounts that cannot be used.
#[derive(Debug, Error)]
pub enum InvalidAccounts {
    /// Not JSON, or not of the shape above.
    #[error("it is not valid: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A later version wrote it.
    #[error("it has version {0}, which a newer docker-credential-atcr wrote")]
    Newer(u64),
    /// A key that is no registry.
    #[error("`{0}` is not a registry")]
    Registry(String),
    /// An account without a secret, or with two.
    #[error("the account `{account}` of {registry} must have one of device_secret, app_password and keyring")]
    Secret {
        /// Which account.
        account: String,
        /// At which registry.
        registry: RegistryUrl,
    },
}

impl Account {
    /// An account with its secret in the file, of the kind that the secret has by its form.
    #[must_use]
    pub fn new(handle: &str, did: Option<String>, secret: SecretString) -> Self {
        Self {
            handle: handle.to_owned(),
            did,
            secret: StoredSecret::Inline {
                kind: SecretKind::of(secret.expose_secret()),
                secret,
            },
            set_aside: false,
            added_at: None,
            unknown_fields: Map::new(),
        }
    }

    /// An account whose secret is that of a device, whatever it looks like: registries differ in that.
    #[must_use]
    pub fn with_device(handle: &str, did: Option<String>, secret: SecretString) -> Self {
        let mut account = Self::new(handle, did, SecretString::default());
        account.secret = StoredSecret::Inline {
            kind: SecretKind::Device,
            secret,
        };
        account
    }

    /// The key under which it is kept.
    #[must_use]
    pub fn key(&self) -> String {
        self.handle.to_ascii_lowercase()
    }

    /// Whether `identity`, as it occurs in an image name, means this account: its handle, its DID, or its DID with
    /// hyphens for colons, which is how an image name can carry a DID.
    #[must_use]
    pub fn is_called(&self, identity: &str) -> bool {
        let handle = self.handle.strip_prefix('@').unwrap_or(&self.handle);
        if handle.eq_ignore_ascii_case(identity) || self.handle.eq_ignore_ascii_case(identity) {
            return true;
        }
        let is_did = |did: &str| {
            did.eq_ignore_ascii_case(identity) || did.replace(':', "-").eq_ignore_ascii_case(identity)
        };
        self.did.as_deref().is_some_and(is_did) || (handle.starts_with("did:") && is_did(handle))
    }
}

impl RegistryAccounts {
    /// The account that is active, if it exists.
    #[must_use]
    pub fn active(&self) -> Option<&Account> {
        self.accounts.get(self.active.as_deref()?)
    }

    /// The account called `identity`.
    #[must_use]
    pub fn find(&self, identity: &str) -> Option<&Account> {
        self.accounts
            .get(&identity.to_ascii_lowercase())
            .or_else(|| self.accounts.values().find(|account| account.is_called(identity)))
    }

    /// Whether `account` is the active one.
    #[must_use]
    pub fn is_active(&self, account: &Account) -> bool {
        self.active.as_deref() == Some(account.key().as_str())
    }

    /// Makes `account` the active one; what was kept under its name is returned.
    pub fn insert_active(&mut self, account: Account) -> Option<Account> {
        let key = account.key();
        self.active = Some(key.clone());
        self.accounts.insert(key, account)
    }

    /// Takes an account out. When it was active, another becomes active only if it is the last one left.
    pub fn remove(&mut self, key: &str) -> Option<Account> {
        let removed = self.accounts.remove(key)?;
        if self.active.as_deref() == Some(key) {
            self.active = match self.accounts.len() {
                1 => self.accounts.keys().next().cloned(),
                _ => None,
            };
        }
        Some(removed)
    }
}

impl Accounts {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`InvalidAccounts`]; the secret of a broken file is not repeated.
    pub fn parse(text: &str) -> Result<Self, InvalidAccounts> {
        #[derive(Deserialize)]
        struct VersionOnly {
            version: u64,
        }
        let VersionOnly { version } = serde_json::from_str(text)?;
        if version > FORMAT_VERSION {
            return Err(InvalidAccounts::Newer(version));
        }
        let row: AccountsRow = serde_json::from_str(text)?;
        let mut registries = BTreeMap::new();
        for (key, registry) in row.registries {
            let url: RegistryUrl = key.parse().map_err(|_| InvalidAccounts::Registry(key))?;
            let registry = registry.into_domain(&url)?;
            registries.insert(url, registry);
        }
        Ok(Self {
            registries,
            unknown_fields: row.unknown_fields,
        })
    }

    /// The file's text, with a line break at its end.
    ///
    /// # Errors
    /// None that occurs: every value is text.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let registries = self
            .registries
            .iter()
            .map(|(url, registry)| (url.to_string(), RegistryRow::from_domain(registry)))
            .collect();
        let row = AccountsRow {
            version: FORMAT_VERSION,
            registries,
            unknown_fields: self.unknown_fields.clone(),
        };
        serde_json::to_string_pretty(&row).map(|text| text + "\n")
    }

    /// Every registry in the order of its URL.
    pub fn iter(&self) -> impl Iterator<Item = (&RegistryUrl, &RegistryAccounts)> {
        self.registries.iter()
    }

    /// The accounts of exactly `url`.
    #[must_use]
    pub fn get(&self, url: &RegistryUrl) -> Option<&RegistryAccounts> {
        self.registries.get(url)
    }

    /// The registry that `address` means, among those that have accounts.
    #[must_use]
    pub fn find(&self, address: &ServerAddress) -> Option<(&RegistryUrl, &RegistryAccounts)> {
        address
            .candidates()
            .iter()
            .find_map(|url| self.registries.get_key_value(url))
    }

    /// The accounts of `url`, to be changed; made when there are none.
    pub fn registry_mut(&mut self, url: &RegistryUrl) -> &mut RegistryAccounts {
        self.registries.entry(url.clone()).or_default()
    }

    /// Forgets registries without accounts.
    pub fn prune(&mut self) {
        self.registries
            .retain(|_, registry| !registry.accounts.is_empty());
    }
}

#[derive(Serialize, Deserialize)]
struct AccountsRow {
    version: u64,
    #[serde(default)]
    registries: BTreeMap<String, RegistryRow>,
    #[serde(flatten)]
    unknown_fields: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct RegistryRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active: Option<String>,
    #[serde(default)]
    accounts: BTreeMap<String, AccountRow>,
    #[serde(flatten)]
    unknown_fields: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct AccountRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    did: Option<String>,
    handle: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyring: Option<KeyringRow>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    set_aside: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    added_at: Option<String>,
    #[serde(flatten)]
    unknown_fields: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct KeyringRow {
    program: String,
    kind: SecretKind,
}

impl RegistryRow {
    fn into_domain(self, url: &RegistryUrl) -> Result<RegistryAccounts, InvalidAccounts> {
        let mut accounts = BTreeMap::new();
        for (name, row) in self.accounts {
            let account = row.into_domain().ok_or_else(|| InvalidAccounts::Secret {
                account: name,
                registry: url.clone(),
            })?;
            accounts.insert(account.key(), account);
        }
        Ok(RegistryAccounts {
            active: self.active.map(|active| active.to_ascii_lowercase()),
            accounts,
            unknown_fields: self.unknown_fields,
        })
    }

    fn from_domain(registry: &RegistryAccounts) -> Self {
        Self {
            active: registry.active.clone(),
            accounts: registry
                .accounts
                .iter()
                .map(|(key, account)| (key.clone(), AccountRow::from_domain(account)))
                .collect(),
            unknown_fields: registry.unknown_fields.clone(),
        }
    }
}

impl AccountRow {
    fn into_domain(self) -> Option<Account> {
        let inline = |kind, secret: String| StoredSecret::Inline {
            kind,
            secret: SecretString::from(secret),
        };
        let secret = match (self.device_secret, self.app_password, self.keyring) {
            (Some(secret), None, None) => inline(SecretKind::Device, secret),
            (None, Some(secret), None) => inline(SecretKind::AppPassword, secret),
            (None, None, Some(KeyringRow { program, kind })) => StoredSecret::Keyring { kind, program },
            _ => return None,
        };
        Some(Account {
            handle: self.handle,
            did: self.did,
            secret,
            set_aside: self.set_aside,
            added_at: self.added_at,
            unknown_fields: self.unknown_fields,
        })
    }

    fn from_domain(account: &Account) -> Self {
        let mut row = Self {
            did: account.did.clone(),
            handle: account.handle.clone(),
            device_secret: None,
            app_password: None,
            keyring: None,
            set_aside: account.set_aside,
            added_at: account.added_at.clone(),
            unknown_fields: account.unknown_fields.clone(),
        };
        match &account.secret {
            StoredSecret::Inline { kind, secret } => {
                let secret = Some(secret.expose_secret().to_owned());
                match kind {
                    SecretKind::Device => row.device_secret = secret,
                    SecretKind::AppPassword => row.app_password = secret,
                }
            }
            StoredSecret::Keyring { kind, program } => {
                row.keyring = Some(KeyringRow {
                    program: program.clone(),
                    kind: *kind,
                });
            }
        }
        row
    }
}
