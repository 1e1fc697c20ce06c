//! `switch`: another account becomes the active one.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Context, account_of, registry_with_accounts};
use crate::accounts::{Account, Accounts, RegistryAccounts};
use crate::error::HelperError;
use crate::registry_url::{RegistryUrl, ServerAddress};

/// Arguments of `switch`.
#[derive(Debug, Args)]
pub struct SwitchArguments {
    /// The registry; may be left out where there is one
    #[arg(value_name = "REGISTRY")]
    first: Option<String>,
    /// The account: handle or DID. With two accounts the other one, with more a menu
    #[arg(value_name = "ACCOUNT")]
    second: Option<String>,
    /// Write JSON; do not ask
    #[arg(long)]
    pub(crate) json: bool,
}

/// Makes another account the active one, and brings one back that `docker logout` set aside.
///
/// # Errors
/// [`HelperError`]
pub fn switch(context: &Context, arguments: &SwitchArguments) -> Result<ExitCode, HelperError> {
    let accounts = context.store.load()?;
    let (registry, account) = match (&arguments.first, &arguments.second) {
        (Some(only), None) if !is_registry(&accounts, only) && is_account(&accounts, only) => {
            (None, Some(only))
        }
        (registry, account) => (registry.as_deref(), account.as_ref()),
    };
    let url = registry_with_accounts(context, &accounts, registry)?;
    let known = accounts
        .get(&url)
        .ok_or_else(|| HelperError::NotSignedIn(url.clone()))?;
    let chosen = match account {
        Some(_) => account_of(context, &url, known, account.map(String::as_str), "")?,
        None => match other_of_two(known) {
            Some(other) => other,
            None => account_of(context, &url, known, None, "Which account?")?,
        },
    }
    .clone();
    activate(context, &url, &chosen)?;
    if arguments.json {
        context.printer.json(&json!({
            "registry": url.to_string(),
            "handle": chosen.handle,
            "did": chosen.did,
        }));
    }
    context.printer.done(format_args!(
        "{} is now the active account on {}",
        context.printer.bold(&chosen.handle),
        url.authority()
    ));
    Ok(ExitCode::SUCCESS)
}

fn activate(context: &Context, url: &RegistryUrl, chosen: &Account) -> Result<(), HelperError> {
    context.store.update(|accounts| {
        let registry = accounts.registry_mut(url);
        let account = registry
            .accounts
            .get_mut(&chosen.key())
            .ok_or_else(|| HelperError::NoSuchAccount {
                registry: url.clone(),
                account: chosen.handle.clone(),
            })?;
        account.set_aside = false;
        registry.active = Some(chosen.key());
        Ok::<_, HelperError>(())
    })?;
    Ok(())
}

/// Of exactly two accounts the one that is not active.
fn other_of_two(registry: &RegistryAccounts) -> Option<&Account> {
    let active = registry.active()?;
    let mut others = registry
        .accounts
        .values()
        .filter(|account| account.key() != active.key());
    match (others.next(), others.next()) {
        (Some(other), None) => Some(other),
        _ => None,
    }
}

fn is_registry(accounts: &Accounts, text: &str) -> bool {
    ServerAddress::parse(text).is_ok_and(|address| accounts.find(&address).is_some())
}

fn is_account(accounts: &Accounts, text: &str) -> bool {
    let name = text.strip_prefix('@').unwrap_or(text);
    accounts.iter().any(|(_, registry)| registry.find(name).is_some())
}
