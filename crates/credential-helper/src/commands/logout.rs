//! `logout`: signing out at the registry and forgetting the account here.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Context, account_of, forget, registry_with_accounts, reveal};
use crate::accounts::{Account, SecretKind};
use crate::appview::AppView;
use crate::error::HelperError;
use crate::prompt;

/// Arguments of `logout`.
#[derive(Debug, Args)]
pub struct LogoutArguments {
    /// The registry
    registry: Option<String>,
    /// The account: handle or DID
    account: Option<String>,
    /// Every account of the registry
    #[arg(long, conflicts_with = "account")]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Write JSON, one line for each account; do not ask
    #[arg(long)]
    pub(crate) json: bool,
}

/// Revokes the device at the registry and forgets the account. When the registry cannot be reached the account is
/// forgotten all the same, and that is said.
///
/// # Errors
/// [`HelperError`]
pub fn logout(context: &Context, arguments: &LogoutArguments) -> Result<ExitCode, HelperError> {
    let printer = &context.printer;
    let accounts = context.store.load()?;
    let url = registry_with_accounts(context, &accounts, arguments.registry.as_deref())?;
    let host = url.authority();
    let registry = accounts
        .get(&url)
        .ok_or_else(|| HelperError::NotSignedIn(url.clone()))?;
    let leaving: Vec<Account> = if arguments.all {
        registry.accounts.values().cloned().collect()
    } else {
        let account = account_of(
            context,
            &url,
            registry,
            arguments.account.as_deref(),
            "Sign out which account?",
        )?;
        vec![account.clone()]
    };
    let names: Vec<&str> = leaving.iter().map(|account| account.handle.as_str()).collect();
    let question = format!("Sign out {} of {host}?", names.join(", "));
    if !arguments.yes && printer.is_interactive() && !prompt::confirm(printer, &question, true)? {
        return Err(HelperError::Declined);
    }
    for account in leaving {
        let secret = reveal(&url, &account, &context.environment);
        context.store.update(|accounts| {
            accounts.registry_mut(&url).remove(&account.key());
            Ok::<_, HelperError>(())
        })?;
        forget(&url, &account, context);
        printer.done(format_args!("Signed out {} of {host}", account.handle));
        let kind = account.secret.kind();
        let revoked = match kind {
            SecretKind::AppPassword => None,
            SecretKind::Device => Some(secret.map_err(HelperError::from).and_then(|secret| {
                AppView::new(&url)
                    .revoke_device(&secret)
                    .map_err(HelperError::from)
            })),
        };
        if arguments.json {
            printer.json(&json!({
                "registry": url.to_string(),
                "handle": account.handle,
                "did": account.did,
                "kind": kind,
                "revoked": matches!(revoked, Some(Ok(()))),
            }));
        }
        match revoked {
            None => printer
                .hint("the app password itself still works; delete it at your PDS if nothing else uses it"),
            Some(Ok(())) => {}
            Some(Err(error)) => {
                printer.warning(format_args!("the device was not revoked: {error}"));
                printer.hint(format_args!("revoke this device in the settings of {host}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
