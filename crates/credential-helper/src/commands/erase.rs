//! `erase`: `docker logout`, or a client that got a 401.

use std::process::ExitCode;

use super::{Context, forget, protocol_input, requested_identities};
use crate::accounts::{Account, SecretKind};
use crate::error::HelperError;
use crate::printer::plain;
use crate::protocol;

/// What became of the account.
enum Erased {
    Deleted(Account),
    SetAside(Account),
}

/// Takes one account out of use: the one that [`super::get`] hands to the same calling program. Never all of a
/// registry's accounts, and no second one when called twice, as `docker logout` does under several spellings.
///
/// - An app password came from `docker login` and goes with `docker logout`: it is deleted.
/// - A sign-in by device is only *set aside*: `get` says not-found until `switch` or `login` brings it back. Docker's
///   protocol cannot tell "forget me" from "this was refused", and a refusal passes (the session at the PDS ended, the
///   registry was down), while a device that is thrown away costs its owner another trip through the browser. The same
///   reason lets `gh auth git-credential erase` do nothing at all; but a user who runs `docker logout` wants the next push
///   to fail, so doing nothing would be wrong here.
///
/// Signing out at the registry too is [`super::logout`]'s. An account that is not active and that no image on the command
/// line names is left alone, also when it is the only one: it cannot be what the caller meant. An unknown registry is
/// no error, as with docker-credential-helpers.
///
/// # Errors
/// [`HelperError`]
pub fn erase(context: &Context) -> Result<ExitCode, HelperError> {
    let request = protocol::read_server(protocol_input("erase")?)?;
    let identities = requested_identities(&request.address);
    let (erased, accounts) = context.store.update(|accounts| {
        let Some(url) = accounts.find(&request.address).map(|(url, _)| url.clone()) else {
            return Ok::<_, HelperError>(None);
        };
        let registry = accounts.registry_mut(&url);
        let meant = identities
            .iter()
            .find_map(|identity| registry.find(identity))
            .or_else(|| registry.active())
            .map(|account| (account.key(), account.secret.kind()));
        Ok(match meant {
            // Not `remove`: that would make the last one left active, and the second call would take that too.
            Some((key, SecretKind::AppPassword)) => {
                if registry.active.as_deref() == Some(key.as_str()) {
                    registry.active = None;
                }
                registry.accounts.remove(&key).map(Erased::Deleted)
            }
            Some((key, SecretKind::Device)) => registry
                .accounts
                .get_mut(&key)
                .filter(|account| !account.set_aside)
                .map(|account| {
                    account.set_aside = true;
                    Erased::SetAside(account.clone())
                }),
            None => None,
        }
        .map(|erased| (url, erased)))
    })?;
    let Some((url, erased)) = erased else {
        return Ok(ExitCode::SUCCESS);
    };
    let host = url.authority();
    let others = accounts.get(&url).map_or(0, |registry| {
        registry
            .accounts
            .values()
            .filter(|account| !account.set_aside)
            .count()
    });
    let others = if others == 0 {
        String::new()
    } else {
        format!("; accounts still signed in there: {others}")
    };
    match erased {
        Erased::Deleted(account) => {
            forget(&url, &account, context);
            context.printer.say(format_args!(
                "deleted the app password of {} on {host}{others}",
                plain(&account.handle)
            ));
        }
        Erased::SetAside(account) => context.printer.say(format_args!(
            "{0} on {host} is set aside{others}; to use it again: docker-credential-atcr switch {host} {0}; to sign out: docker-credential-atcr logout {host} {0}",
            plain(&account.handle)
        )),
    }
    Ok(ExitCode::SUCCESS)
}
