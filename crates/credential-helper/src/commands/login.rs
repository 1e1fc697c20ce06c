//! `login`: the device flow, from the code to the account.

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{Context, configure_docker, forget, get, parse_registry, reveal};
use crate::DEFAULT_REGISTRY;
use crate::accounts::{Account, RegistryAccounts, SecretKind, StoredSecret};
use crate::appview::{AppView, DeviceCode, DeviceLogin, page_origin};
use crate::clock::{self, SystemClock};
use crate::device_flow;
use crate::docker_config::DockerConfig;
use crate::error::HelperError;
use crate::keyring::{Keyring, KeyringError};
use crate::printer::plain;
use crate::prompt;
use crate::registry_url::{RegistryUrl, ServerAddress};

/// Longest device name, in characters.
const MAX_DEVICE_NAME: usize = 100;

/// Arguments of `login`.
#[derive(Debug, Args)]
pub struct LoginArguments {
    /// The registry, as in image names [default: `ATCR_REGISTRY`, else atcr.io]
    registry: Option<String>,
    /// Do not open a browser here; any machine's browser will do
    #[arg(long)]
    no_browser: bool,
    /// The device's name in the registry's settings [default: the host name]
    #[arg(long, value_name = "NAME")]
    device_name: Option<String>,
    /// Keep the secret in the operating system's keyring, or in the one named
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    keyring: Option<String>,
    /// Make Docker use this program for the registry, without asking
    #[arg(long, conflicts_with = "no_configure_docker")]
    configure_docker: bool,
    /// Leave Docker's configuration alone, without asking
    #[arg(long)]
    no_configure_docker: bool,
    /// Write JSON: one line with address and code, one with the account
    #[arg(long)]
    pub(crate) json: bool,
}

/// Signs in to a registry and makes that the active account there.
///
/// # Errors
/// [`HelperError`]; nothing is kept of a sign-in that failed.
///
/// # Security
/// The text says what is approved and that a code from elsewhere is to be denied: a device flow is phished by making
/// people approve the code of another machine. The browser is opened only at the registry's own site.
pub fn login(context: &Context, arguments: &LoginArguments) -> Result<ExitCode, HelperError> {
    let printer = &context.printer;
    let registry = choose_registry(context, arguments)?;
    let keyring = arguments
        .keyring
        .as_deref()
        .map(|name| Keyring::open(Some(name).filter(|name| !name.is_empty()), &context.environment))
        .transpose()?;
    // A file that cannot be used is better known before the browser than after.
    context.store.load()?;
    let device_name = device_name(arguments.device_name.as_deref());
    let appview = AppView::new(&registry);
    let code = appview.request_device_code(&device_name)?;
    announce(context, arguments, &registry, &device_name, &code)?;
    let waiting = waiting(context, &code);
    let outcome = device_flow::await_approval(&appview, &code, &SystemClock);
    waiting.finish_and_clear();
    let signed_in = outcome?;
    let kept = keep(context, &registry, keyring.as_ref(), &signed_in);
    let account = match kept {
        Ok(account) => account,
        Err(error) => {
            // Best effort: what counts is why it could not be kept.
            let _ = appview.revoke_device(&signed_in.secret);
            return Err(error);
        }
    };
    let docker = DockerConfig::locate(&context.environment, context.store.folder())?;
    if arguments.json {
        printer.json(&json!({
            "event": "signed_in",
            "registry": registry.to_string(),
            "handle": account.handle,
            "did": account.did,
            "config": context.store.path(),
        }));
    }
    printer.done(format_args!(
        "Signed in to {} as {}",
        registry.authority(),
        printer.bold(&account.handle)
    ));
    let host = registry.authority();
    let address = ServerAddress::from(&registry);
    if get::environment_credentials(context, &address).is_ok_and(|found| found.is_some()) {
        printer.warning(format_args!(
            "ATCR_TOKEN or ATCR_TOKEN_FILE is set for {host} and takes precedence over this sign-in"
        ));
    }
    if docker.is_configured(&host) || arguments.no_configure_docker {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.configure_docker {
        configure_docker::configure(context, &docker, &[host])?;
    } else if printer.is_interactive() {
        configure_docker::offer(context, &docker, &host)?;
    } else {
        printer.hint(format_args!(
            "to make Docker use this sign-in: docker-credential-atcr configure-docker {host}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn choose_registry(context: &Context, arguments: &LoginArguments) -> Result<RegistryUrl, HelperError> {
    let named = arguments
        .registry
        .as_ref()
        .or(context.environment.registry.as_ref());
    match named {
        Some(named) => parse_registry(named),
        None if context.printer.is_interactive() => {
            parse_registry(prompt::input(&context.printer, "Registry", DEFAULT_REGISTRY)?.trim())
        }
        None => parse_registry(DEFAULT_REGISTRY),
    }
}

/// The name this machine goes by, so that its owner knows it again in a list.
fn device_name(given: Option<&str>) -> String {
    let name = given.map_or_else(host_name, str::to_owned);
    let name: String = plain(&name).trim().chars().take(MAX_DEVICE_NAME).collect();
    if name.is_empty() {
        "unnamed device".to_owned()
    } else {
        name
    }
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Shows code and address, says what approving means, and opens the browser where that is wanted.
fn announce(
    context: &Context,
    arguments: &LoginArguments,
    registry: &RegistryUrl,
    device_name: &str,
    code: &DeviceCode,
) -> Result<(), HelperError> {
    let printer = &context.printer;
    let host = registry.authority();
    if arguments.json {
        printer.json(&json!({
            "event": "code",
            "registry": registry.to_string(),
            "user_code": code.user_code,
            "verification_uri": code.verification_uri,
            "verification_uri_complete": code.verification_uri_complete,
            "expires_in": code.expires_in.as_secs(),
            "device_name": device_name,
        }));
    }
    printer.say(format_args!(
        "Signing in to {} on this device, \"{}\"",
        printer.bold(&host),
        device_name
    ));
    printer.say("");
    printer.say(format_args!("  Open   {}", code.verification_uri));
    printer.say(format_args!("  Enter  {}", printer.bold(&code.user_code)));
    printer.say("");
    printer.say(format_args!(
        "Approving lets this device push, pull and delete on {host} as you, until you revoke it in the settings there."
    ));
    printer.say("Approve only if the page shows this code. Deny a code that someone else sent you.");
    printer.say(super::WHAT_IS_PUBLIC);
    printer.say("");
    let own_site = [
        Some(&code.verification_uri),
        code.verification_uri_complete.as_ref(),
    ]
    .into_iter()
    .flatten()
    .all(|uri| page_origin(uri).is_some_and(|origin| origin.is_same_site(registry)));
    if !own_site {
        printer.warning(format_args!(
            "{host} sends you to another site to sign in; continue only if you trust that site"
        ));
    }
    let wants_browser = !arguments.no_browser && printer.is_interactive();
    if wants_browser && own_site {
        let page = code
            .verification_uri_complete
            .as_deref()
            .unwrap_or(&code.verification_uri);
        if prompt::confirm(printer, "Open the browser here?", true)? && !open_browser(context, page) {
            printer.warning("no browser could be started; open the address yourself");
        }
    }
    Ok(())
}

/// Starts the browser and does not wait for it. `page` has no character that any shell would take for its own.
fn open_browser(context: &Context, page: &str) -> bool {
    let (program, before): (&str, &[&str]) = if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else if cfg!(target_os = "macos") {
        ("/usr/bin/open", &[])
    } else {
        (context.environment.browser.as_deref().unwrap_or("xdg-open"), &[])
    };
    Command::new(program)
        .args(before)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}

/// A spinner on a terminal, a line elsewhere.
fn waiting(context: &Context, code: &DeviceCode) -> ProgressBar {
    let message = format!("Waiting for approval (code {})", code.user_code);
    if !context.printer.is_interactive() {
        context.printer.say(message);
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// Keeps the account, and ends the device that it had here before.
fn keep(
    context: &Context,
    registry: &RegistryUrl,
    keyring: Option<&Keyring>,
    login: &DeviceLogin,
) -> Result<Account, HelperError> {
    let name = login.handle.clone().unwrap_or_else(|| login.did.clone());
    let mut account = Account::with_device(&name, Some(login.did.clone()), login.secret.clone());
    account.added_at = Some(clock::timestamp());
    // Read before anything is written: the new secret may take the place of the only copy in the keyring.
    let ending = device_to_end(context, registry, login, &name)?;
    if let Some(keyring) = keyring {
        keyring.put(registry, &account.key(), &login.secret)?;
        account.secret = StoredSecret::Keyring {
            kind: SecretKind::Device,
            program: keyring.program().to_owned(),
        };
    }
    let (previous, _) = context.store.update(|accounts| {
        let accounts = accounts.registry_mut(registry);
        let previous = known(accounts, login, &name).map(Account::key);
        let previous = previous.and_then(|key| accounts.remove(&key));
        accounts.insert_active(account.clone());
        Ok::<_, HelperError>(previous)
    })?;
    if let Some(previous) = previous
        && !is_same_entry(&previous, &account)
    {
        forget(registry, &previous, context);
    }
    if let Some(secret) = ending {
        end_device(context, registry, login, secret);
    }
    Ok(account)
}

/// The account here that a sign-in is about. By DID first: the handle may be a new one of the same person.
fn known<'a>(accounts: &'a RegistryAccounts, login: &DeviceLogin, name: &str) -> Option<&'a Account> {
    accounts.find(&login.did).or_else(|| accounts.find(name))
}

/// The secret of the device that a sign-in replaces, or why it cannot be had; `None` where there is none.
fn device_to_end(
    context: &Context,
    registry: &RegistryUrl,
    login: &DeviceLogin,
    name: &str,
) -> Result<Option<Result<SecretString, KeyringError>>, HelperError> {
    let accounts = context.store.load()?;
    Ok(accounts
        .get(registry)
        .and_then(|accounts| known(accounts, login, name))
        .filter(|account| account.secret.kind() == SecretKind::Device)
        .map(|account| reveal(registry, account, &context.environment)))
}

/// Whether both accounts have their secret in the same place of the same keyring.
fn is_same_entry(one: &Account, other: &Account) -> bool {
    matches!(
        (&one.secret, &other.secret),
        (StoredSecret::Keyring { program: one_program, .. }, StoredSecret::Keyring { program: other_program, .. })
            if one_program == other_program && one.key() == other.key()
    )
}

/// Revokes the device that was replaced. Best effort: the new sign-in stands either way.
fn end_device(
    context: &Context,
    registry: &RegistryUrl,
    login: &DeviceLogin,
    secret: Result<SecretString, KeyringError>,
) {
    let revoked = match secret {
        Ok(secret) if secret.expose_secret() == login.secret.expose_secret() => return,
        Ok(secret) => AppView::new(registry)
            .revoke_device(&secret)
            .map_err(HelperError::from),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = revoked {
        context.printer.warning(format_args!(
            "the device that this sign-in replaces could not be revoked ({error}); revoke it in the registry's settings"
        ));
    }
}
