//! `get`: the credentials for a registry, on standard output, at once. No network, no prompt, no browser; only a keyring's own
//! program may ask its owner.

use std::process::ExitCode;

use secrecy::SecretString;

use super::{Context, protocol_input, requested_identities, reveal};
use crate::error::HelperError;
use crate::file::FileError;
use crate::printer::plain;
use crate::protocol::{self, ServerRequest};
use crate::registry_url::{RegistryUrl, ServerAddress};
use crate::selection::{Selection, select};

/// Answers with the credentials of the environment, else of the account that [`select`] chooses. Otherwise says
/// [`protocol::NOT_FOUND`], and one line on standard error that says what to do.
///
/// # Errors
/// [`HelperError`] for a request that is not valid and for accounts that cannot be read.
pub fn get(context: &Context) -> Result<ExitCode, HelperError> {
    let request = protocol::read_server(protocol_input("get")?)?;
    if let Some((username, secret)) = environment_credentials(context, &request.address)? {
        return answer(context, &request, &username, &secret);
    }
    let accounts = context.store.load()?;
    let host = request.address.url().authority();
    let Some((url, registry)) = accounts.find(&request.address) else {
        return Ok(not_found(context, &login_hint(&host)));
    };
    match select(registry, &requested_identities(&request.address)) {
        Selection::Account(account) => {
            let secret = reveal(url, account, &context.environment)?;
            answer(context, &request, &account.handle, &secret)
        }
        Selection::NoAccount => Ok(not_found(context, &login_hint(&host))),
        Selection::SetAside(account) => Ok(not_found(
            context,
            &format!(
                "docker logout set {0} aside on {host}; to use it again: docker-credential-atcr switch {host} {0}",
                plain(&account.handle)
            ),
        )),
        Selection::Ambiguous => Ok(not_found(
            context,
            &format!(
                "several accounts on {host}, none active; choose one: docker-credential-atcr switch {host}"
            ),
        )),
    }
}

fn login_hint(host: &str) -> String {
    format!("not signed in to {host}; sign in: docker-credential-atcr login {host}")
}

fn not_found(context: &Context, what_to_do: &str) -> ExitCode {
    context.printer.product(protocol::NOT_FOUND);
    context.printer.say(what_to_do);
    ExitCode::FAILURE
}

fn answer(
    context: &Context,
    request: &ServerRequest,
    username: &str,
    secret: &SecretString,
) -> Result<ExitCode, HelperError> {
    let answer = protocol::answer(&request.text, username, secret)?;
    context.printer.product_bytes(answer.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// What the environment holds for exactly this registry; see [`crate::environment::VARIABLES`].
///
/// # Errors
/// [`HelperError::EnvironmentToken`] for half a credential: falling back to a stored account would surprise.
pub(super) fn environment_credentials(
    context: &Context,
    address: &ServerAddress,
) -> Result<Option<(String, SecretString)>, HelperError> {
    let environment = &context.environment;
    let Some(registry) = &environment.registry else {
        return Ok(None);
    };
    if environment.token.is_none() && environment.token_file.is_none() {
        return Ok(None);
    }
    let Ok(wanted) = registry.parse::<RegistryUrl>() else {
        return Ok(None);
    };
    if !address.candidates().contains(&wanted) {
        return Ok(None);
    }
    let incomplete = |what: &str| HelperError::EnvironmentToken {
        registry: wanted.clone(),
        what: what.to_owned(),
    };
    let username = environment
        .username
        .clone()
        .ok_or_else(|| incomplete("ATCR_USERNAME is not"))?;
    if !protocol::is_username(&username) {
        return Err(incomplete("ATCR_USERNAME is not a valid user name"));
    }
    let secret = match &environment.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(FileError::new("read", path))
                .map_err(crate::file_store::StoreError::from)?;
            SecretString::from(text.trim_end_matches(['\r', '\n']))
        }
        None => environment.token.clone().unwrap_or_default(),
    };
    if !protocol::is_secret(secrecy::ExposeSecret::expose_secret(&secret)) {
        return Err(incomplete("it is empty or has a line break in it"));
    }
    Ok(Some((username, secret)))
}
