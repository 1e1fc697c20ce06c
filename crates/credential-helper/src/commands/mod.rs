//! One command each, and what several of them need.

pub mod configure_docker;
pub mod erase;
pub mod get;
pub mod list;
pub mod login;
pub mod logout;
pub mod scan;
pub mod status;
pub mod store;
pub mod switch;
pub mod update;
pub mod verify;
pub mod version;

use std::io::IsTerminal as _;

use secrecy::SecretString;

use crate::accounts::{Account, Accounts, RegistryAccounts, StoredSecret};
use crate::ancestors;
use crate::environment::Environment;
use crate::error::HelperError;
use crate::file_store::FileStore;
use crate::image_identity::identities;
use crate::keyring::{Keyring, KeyringError};
use crate::printer::Printer;
use crate::prompt;
use crate::registry_url::{RegistryUrl, ServerAddress};

/// What a push makes public; it is said before the first one.
pub(crate) const WHAT_IS_PUBLIC: &str =
    "Manifests, tags and the hold's records are public: anyone can read them, even if the hold is private.";

/// What a command works with.
#[derive(Debug)]
pub struct Context {
    /// The environment's variables.
    pub environment: Environment,
    /// All output.
    pub printer: Printer,
    /// The accounts.
    pub store: FileStore,
}

impl Context {
    /// A context on this machine.
    ///
    /// # Errors
    /// [`HelperError::Store`] without a home folder.
    pub fn new(environment: Environment, printer: Printer) -> Result<Self, HelperError> {
        let store = FileStore::locate(&environment)?;
        Ok(Self {
            environment,
            printer,
            store,
        })
    }
}

/// Reads the name of a registry as people write it.
fn parse_registry(text: &str) -> Result<RegistryUrl, HelperError> {
    text.parse().map_err(|source| HelperError::Registry {
        given: text.to_owned(),
        source,
    })
}

/// Standard input for a command of Docker's protocol. A terminal is refused: no request will come from it.
fn protocol_input(command: &'static str) -> Result<std::io::StdinLock<'static>, HelperError> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(HelperError::NotForPeople(command));
    }
    Ok(input.lock())
}

/// Whose images the calling program is about, the most important first. A namespace in the server URL says it outright.
fn requested_identities(address: &ServerAddress) -> Vec<String> {
    let mut found: Vec<String> = address
        .namespace()
        .map(str::to_ascii_lowercase)
        .into_iter()
        .collect();
    let registries = address.candidates();
    let named = ancestors::parent().and_then(|parent| {
        ancestors::search(ancestors::look_up, parent, |arguments| {
            let named = identities(arguments, &registries);
            (!named.is_empty()).then_some(named)
        })
    });
    found.extend(named.unwrap_or_default());
    found
}

/// The secret of `account`, from wherever it is.
fn reveal(
    registry: &RegistryUrl,
    account: &Account,
    environment: &Environment,
) -> Result<SecretString, KeyringError> {
    match &account.secret {
        StoredSecret::Inline { secret, .. } => Ok(secret.clone()),
        StoredSecret::Keyring { program, .. } => {
            Keyring::open(Some(program), environment)?.get(registry, &account.key())
        }
    }
}

/// Forgets a secret that lies outside the file. A failure is reported and stops nothing.
fn forget(registry: &RegistryUrl, account: &Account, context: &Context) {
    if let StoredSecret::Keyring { program, .. } = &account.secret {
        let removed = Keyring::open(Some(program), &context.environment)
            .and_then(|keyring| keyring.remove(registry, &account.key()));
        if let Err(error) = removed {
            context.printer.warning(error);
        }
    }
}

/// The registry that `given` names, else the one of `ATCR_REGISTRY`, else the only one with accounts, else the one chosen.
fn registry_with_accounts(
    context: &Context,
    accounts: &Accounts,
    given: Option<&str>,
) -> Result<RegistryUrl, HelperError> {
    let from_environment = context
        .environment
        .registry
        .as_deref()
        .filter(|_| accounts.iter().count() > 1);
    if let Some(given) = given.or(from_environment) {
        let address = ServerAddress::parse(given).map_err(|source| HelperError::Registry {
            given: given.to_owned(),
            source,
        })?;
        return match accounts.find(&address) {
            Some((url, _)) => Ok(url.clone()),
            None => Err(HelperError::NotSignedIn(address.url().clone())),
        };
    }
    let mut known: Vec<RegistryUrl> = accounts.iter().map(|(url, _)| url.clone()).collect();
    let names: Vec<String> = known.iter().map(RegistryUrl::authority).collect();
    match known.len() {
        0 => Err(HelperError::NobodySignedIn),
        1 => Ok(known.remove(0)),
        _ if context.printer.is_interactive() => {
            let chosen = prompt::select(&context.printer, "Which registry?", &names, 0)?;
            Ok(known.swap_remove(chosen))
        }
        _ => Err(HelperError::WhichRegistry(names.join(", "))),
    }
}

/// The account that `given` names, else the only one, else the one chosen.
fn account_of<'a>(
    context: &Context,
    url: &RegistryUrl,
    registry: &'a RegistryAccounts,
    given: Option<&str>,
    question: &str,
) -> Result<&'a Account, HelperError> {
    if let Some(given) = given {
        let name = given.strip_prefix('@').unwrap_or(given);
        return registry.find(name).ok_or_else(|| HelperError::NoSuchAccount {
            registry: url.clone(),
            account: given.to_owned(),
        });
    }
    let known: Vec<&Account> = registry.accounts.values().collect();
    let names: Vec<String> = known.iter().map(|account| account.handle.clone()).collect();
    match known.as_slice() {
        [] => Err(HelperError::NotSignedIn(url.clone())),
        [only] => Ok(only),
        _ if context.printer.is_interactive() => {
            let active = known.iter().position(|account| registry.is_active(account));
            let chosen = prompt::select(&context.printer, question, &names, active.unwrap_or(0))?;
            known
                .get(chosen)
                .copied()
                .ok_or_else(|| HelperError::NotSignedIn(url.clone()))
        }
        _ => Err(HelperError::WhichAccount {
            registry: url.clone(),
            accounts: names.join(", "),
        }),
    }
}
