//! `status`: who is signed in where, and whether it still works.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, get, reveal};
use crate::accounts::{Account, SecretKind, StoredSecret};
use crate::appview::{AppView, SignInState};
use crate::docker_config::DockerConfig;
use crate::error::HelperError;
use crate::printer::{Printer, plain};
use crate::registry_url::{RegistryUrl, ServerAddress};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Only this registry
    registry: Option<String>,
    /// Do not ask the registries
    #[arg(long)]
    offline: bool,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct StatusView {
    config: String,
    registries: Vec<RegistryView>,
}

#[derive(Serialize)]
struct RegistryView {
    registry: String,
    #[serde(skip)]
    host: String,
    docker_configured: bool,
    accounts: Vec<AccountView>,
}

#[derive(Serialize)]
struct AccountView {
    handle: String,
    did: Option<String>,
    active: bool,
    set_aside: bool,
    kind: SecretKind,
    /// `file`, `environment`, or the name of a keyring.
    kept_in: String,
    added_at: Option<String>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Valid,
    Ended,
    Unreachable,
    Unchecked,
}

/// Shows every account. Exits with 1 when no account is signed in or a sign-in no longer works, so that scripts can ask.
///
/// # Errors
/// [`HelperError`]
pub fn status(context: &Context, arguments: &StatusArguments) -> Result<ExitCode, HelperError> {
    let wanted = arguments
        .registry
        .as_deref()
        .map(|text| {
            ServerAddress::parse(text).map_err(|source| HelperError::Registry {
                given: text.to_owned(),
                source,
            })
        })
        .transpose()?;
    let is_wanted = |url: &RegistryUrl| {
        wanted
            .as_ref()
            .is_none_or(|address| address.candidates().contains(url))
    };
    let docker = DockerConfig::locate(&context.environment, context.store.folder())?;
    let accounts = context.store.load()?;
    let mut registries: Vec<RegistryView> = accounts
        .iter()
        .filter(|(url, _)| is_wanted(url))
        .map(|(url, registry)| RegistryView {
            registry: url.to_string(),
            host: url.authority(),
            docker_configured: docker.is_configured(&url.authority()),
            accounts: registry
                .accounts
                .values()
                .map(|account| {
                    account_view(
                        context,
                        url,
                        account,
                        registry.is_active(account),
                        arguments.offline,
                    )
                })
                .collect(),
        })
        .collect();
    add_environment(context, &docker, arguments.offline, is_wanted, &mut registries)?;
    let works = |view: &AccountView| view.set_aside || view.state != State::Ended;
    let is_fine = !registries.is_empty() && registries.iter().all(|view| view.accounts.iter().all(works));
    let view = StatusView {
        config: context.store.path().display().to_string(),
        registries,
    };
    if arguments.json {
        context.printer.json(&view);
    } else if view.registries.is_empty() {
        return Err(match wanted {
            Some(address) => HelperError::NotSignedIn(address.url().clone()),
            None => HelperError::NobodySignedIn,
        });
    } else {
        show(&context.printer, &view);
    }
    Ok(if is_fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn account_view(
    context: &Context,
    url: &RegistryUrl,
    account: &Account,
    active: bool,
    offline: bool,
) -> AccountView {
    let (state, message) = if offline || account.set_aside {
        (State::Unchecked, None)
    } else {
        match reveal(url, account, &context.environment) {
            Ok(secret) => check(url, &account.handle, &secret),
            Err(error) => (State::Ended, Some(error.to_string())),
        }
    };
    AccountView {
        handle: account.handle.clone(),
        did: account.did.clone(),
        active,
        set_aside: account.set_aside,
        kind: account.secret.kind(),
        kept_in: match &account.secret {
            StoredSecret::Inline { .. } => "file".to_owned(),
            StoredSecret::Keyring { program, .. } => program.clone(),
        },
        added_at: account.added_at.clone(),
        state,
        message,
    }
}

fn check(url: &RegistryUrl, username: &str, secret: &secrecy::SecretString) -> (State, Option<String>) {
    match AppView::new(url).check_sign_in(username, secret) {
        Ok(SignInState::Valid) => (State::Valid, None),
        Ok(SignInState::Ended(message)) => (State::Ended, Some(message)),
        Err(error) => (State::Unreachable, Some(error.to_string())),
    }
}

/// The account that the environment holds wins over stored ones, so it has to be seen.
fn add_environment(
    context: &Context,
    docker: &DockerConfig,
    offline: bool,
    is_wanted: impl Fn(&RegistryUrl) -> bool,
    registries: &mut Vec<RegistryView>,
) -> Result<(), HelperError> {
    let named = context.environment.registry.as_deref();
    let Some(address) = named.and_then(|text| ServerAddress::parse(text).ok()) else {
        return Ok(());
    };
    let Some((username, secret)) = get::environment_credentials(context, &address)? else {
        return Ok(());
    };
    let url = address.url();
    if !is_wanted(url) {
        return Ok(());
    }
    let (state, message) = if offline {
        (State::Unchecked, None)
    } else {
        check(url, &username, &secret)
    };
    let view = AccountView {
        handle: username,
        did: None,
        active: true,
        set_aside: false,
        kind: SecretKind::of(secrecy::ExposeSecret::expose_secret(&secret)),
        kept_in: "environment".to_owned(),
        added_at: None,
        state,
        message,
    };
    let registry = url.to_string();
    match registries.iter_mut().find(|view| view.registry == registry) {
        Some(known) => {
            for account in &mut known.accounts {
                account.active = false;
            }
            known.accounts.insert(0, view);
        }
        None => registries.push(RegistryView {
            registry,
            host: url.authority(),
            docker_configured: docker.is_configured(&url.authority()),
            accounts: vec![view],
        }),
    }
    Ok(())
}

fn show(printer: &Printer, view: &StatusView) {
    for registry in &view.registries {
        printer.product(printer.bold_product(&registry.host));
        for account in &registry.accounts {
            let mark = if account.active { "*" } else { " " };
            let did = account
                .did
                .as_deref()
                .map_or_else(String::new, |did| format!(" ({did})"));
            printer.product(format_args!(
                "  {mark} {}{}",
                plain(&account.handle),
                printer.dim_product(&plain(&did))
            ));
            let kind = match account.kind {
                SecretKind::Device => "signed in by device",
                SecretKind::AppPassword => "app password",
            };
            printer.product(format_args!("      {kind}, kept in: {}", account.kept_in));
            printer.product(format_args!("      {}", describe(registry, account)));
        }
        printer.product(format_args!(
            "    Docker {}",
            if registry.docker_configured {
                "asks this program for it".to_owned()
            } else {
                format!(
                    "is not set up: docker-credential-atcr configure-docker {}",
                    registry.host
                )
            }
        ));
    }
}

fn describe(registry: &RegistryView, account: &AccountView) -> String {
    let message = account.message.as_deref().unwrap_or_default();
    match account.state {
        State::Unchecked if account.set_aside => format!(
            "set aside by docker logout; to use it again: docker-credential-atcr switch {} {}",
            registry.host,
            plain(&account.handle)
        ),
        State::Unchecked => "not checked".to_owned(),
        State::Valid => "works".to_owned(),
        State::Ended => format!("no longer works: {message}"),
        State::Unreachable => format!("could not be checked: {message}"),
    }
}
