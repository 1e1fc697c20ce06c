//! `update`: the newest release takes this program's place.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::parse_registry;
use crate::DEFAULT_REGISTRY;
use crate::appview::{AppView, Archive};
use crate::error::HelperError;
use crate::printer::Printer;
use crate::release::archive::MAX_ARCHIVE;
use crate::release::{self, PINNED_KEY, ReleaseError, Version, required_key, signature};

/// Largest signature file, in bytes.
const MAX_SIGNATURE: u64 = 4096;

/// Arguments of `update`.
#[derive(Debug, Args)]
pub struct UpdateArguments {
    /// The registry to update from
    #[arg(long, value_name = "REGISTRY", default_value = DEFAULT_REGISTRY)]
    registry: String,
    /// The P-256 did:key that signs the releases, for a build that has no key of its own
    #[arg(long, value_name = "KEY")]
    signing_key: Option<String>,
    /// Only check for a newer release; exits with 10 if there is one
    #[arg(long)]
    check: bool,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `--check` leaves with when there is a newer release.
const NEWER_EXISTS: u8 = 10;

/// Downloads the newest release, verifies it, sees that it runs, and swaps it in.
///
/// # Errors
/// [`HelperError`]; the installed program is then as it was.
///
/// # Security
/// Programs are taken from the default registry, or from the one that is named here and now; not from whichever registry
/// the user is signed in to, which would make every registry a supplier of programs. The SHA-256 comes from the registry and
/// guards only against the place that stores archives. A signature is always required, by the key that was built in
/// ([`PINNED_KEY`]) or that the user gives; a key that the registry names guards against no one at the registry.
pub fn update(printer: &Printer, arguments: &UpdateArguments) -> Result<ExitCode, HelperError> {
    let registry = parse_registry(&arguments.registry)?;
    let appview = AppView::new(&registry);
    let newest = appview
        .newest_release()?
        .ok_or_else(|| HelperError::NoRelease(registry.clone()))?;
    let version: Version = newest.version.parse()?;
    let current: Version = Version::current().parse()?;
    let is_newer = version > current;
    let report = |installed: bool| {
        if arguments.json {
            printer.json(&json!({
                "registry": registry.to_string(),
                "current": current.to_string(),
                "newest": version.to_string(),
                "newer": is_newer,
                "installed": installed,
            }));
        }
    };
    if !is_newer {
        report(false);
        printer.done(format_args!(
            "{current} is the newest release on {}",
            registry.authority()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check {
        report(false);
        printer.say(format_args!("{version} is available; this is {current}"));
        printer.hint("docker-credential-atcr update");
        return Ok(ExitCode::from(NEWER_EXISTS));
    }
    let target = std::env::current_exe().map_err(HelperError::OwnFile)?;
    let archive = release::choose(&newest)?;
    let key = required_key(PINNED_KEY, arguments.signing_key.as_deref())?;
    let key = key.ok_or_else(|| HelperError::NoReleaseKey {
        registry: registry.clone(),
        named: newest.signing_key.clone(),
    })?;
    printer.say(format_args!("Downloading {version}"));
    let bytes = download(&appview, archive, key)?;
    let program = release::unpack(&bytes)?;
    release::install(&program, &version.to_string(), &target)?;
    report(true);
    printer.done(format_args!(
        "{} is now {version}; it was {current}",
        target.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The archive, with the SHA-256 that was announced and the signature of `key`.
fn download(appview: &AppView, archive: &Archive, key: &str) -> Result<Vec<u8>, HelperError> {
    let missing = || ReleaseError::Archive("there is no such file".to_owned());
    let bytes = appview.download(&archive.url, MAX_ARCHIVE)?.ok_or_else(missing)?;
    release::verify_checksum(&bytes, &archive.sha256)?;
    let signature = appview
        .download(&format!("{}.sig", archive.url), MAX_SIGNATURE)?
        .ok_or(ReleaseError::Unsigned)?;
    signature::verify(&bytes, &signature, key)?;
    Ok(bytes)
}
