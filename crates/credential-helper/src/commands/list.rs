//! `list`: all registries and who is handed out there.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::Context;
use crate::error::HelperError;
use crate::selection::{Selection, select};

/// Answers with a JSON object from registry, as image names write it, to user name. Registries for which no account would be
/// handed out are left out.
///
/// # Errors
/// [`HelperError`]
pub fn list(context: &Context) -> Result<ExitCode, HelperError> {
    let accounts = context.store.load()?;
    let users: BTreeMap<String, &str> = accounts
        .iter()
        .filter_map(|(url, registry)| match select(registry, &[]) {
            Selection::Account(account) => Some((url.authority(), account.handle.as_str())),
            _ => None,
        })
        .collect();
    context.printer.json(&users);
    Ok(ExitCode::SUCCESS)
}
