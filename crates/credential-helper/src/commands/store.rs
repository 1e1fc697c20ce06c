//! `store`: credentials from `docker login`.

use std::process::ExitCode;

use secrecy::ExposeSecret as _;

use super::{Context, forget, protocol_input, reveal};
use crate::accounts::{Account, SecretKind, StoredSecret};
use crate::clock;
use crate::error::HelperError;
use crate::printer::plain;
use crate::protocol::{self, Credentials};

/// Keeps what `docker login` checked, and makes it the active account, so that the next push uses it.
///
/// With `--username` and an app password that is an account like any other, of the kind
/// [`SecretKind::AppPassword`]. Without arguments Docker tries the account it got from `get` and hands it back here:
/// a device secret that is known, whatever it looks like, keeps its DID and its place in a keyring. An account of the same name is replaced.
///
/// # Errors
/// [`HelperError`]
pub fn store(context: &Context) -> Result<ExitCode, HelperError> {
    let credentials = protocol::read_credentials(protocol_input("store")?)?;
    let kind = SecretKind::of(credentials.secret.expose_secret());
    let holder = keyring_with(context, &credentials)?;
    let (replaced, _) = context.store.update(|accounts| {
        let known = accounts.find(&credentials.server).map(|(url, _)| url.clone());
        let url = known.unwrap_or_else(|| credentials.server.url().clone());
        let registry = accounts.registry_mut(&url);
        let key = registry.find(&credentials.username).map(Account::key);
        let known = key.and_then(|key| registry.accounts.get_mut(&key));
        if let Some(known) = known
            && known.secret.kind() == SecretKind::Device
        {
            let is_same = match &known.secret {
                StoredSecret::Inline { secret, .. } => {
                    secret.expose_secret() == credentials.secret.expose_secret()
                }
                StoredSecret::Keyring { program, .. } => holder.as_ref() == Some(program),
            };
            if is_same {
                known.set_aside = false;
                let key = known.key();
                registry.active = Some(key);
                return Ok::<_, HelperError>(None);
            }
        }
        let mut account = Account::new(&credentials.username, None, credentials.secret.clone());
        account.added_at = Some(clock::timestamp());
        let previous = registry.find(&credentials.username).map(Account::key);
        let previous = previous.and_then(|key| registry.remove(&key));
        if let Some(previous) = &previous {
            account.did.clone_from(&previous.did);
        }
        registry.insert_active(account);
        Ok(previous.map(|previous| (url, previous)))
    })?;
    if let Some((url, previous)) = replaced {
        forget(&url, &previous, context);
        if previous.secret.kind() == SecretKind::Device && kind == SecretKind::AppPassword {
            context.printer.say(format_args!(
                "the app password of {} replaces its device on {}; revoke the device in the registry's settings",
                plain(&previous.handle),
                url.authority()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The program of the keyring that has these very credentials already. Asked before the accounts are locked: a keyring may ask
/// a person.
fn keyring_with(context: &Context, credentials: &Credentials) -> Result<Option<String>, HelperError> {
    let accounts = context.store.load()?;
    let Some((url, registry)) = accounts.find(&credentials.server) else {
        return Ok(None);
    };
    let Some(account) = registry.find(&credentials.username) else {
        return Ok(None);
    };
    let StoredSecret::Keyring { program, .. } = &account.secret else {
        return Ok(None);
    };
    let is_same = reveal(url, account, &context.environment)
        .is_ok_and(|secret| secret.expose_secret() == credentials.secret.expose_secret());
    Ok(is_same.then(|| program.clone()))
}
