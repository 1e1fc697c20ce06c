//! What is said at the end: what was written, what to mind, and the steps to the first push.

use std::fmt::Write as _;
use std::path::Path;

use super::answers::Answers;
use crate::settings::{BackupSettings, HoldSettings, IdentitySettings};

/// The text for standard output.
///
/// # Errors
/// None that happens: a string takes every text.
pub(super) fn steps(file: &Path, answers: &Answers) -> Result<String, std::fmt::Error> {
    let settings = &answers.settings;
    let host = settings.public_url.host_str().unwrap_or_default();
    let file = file.display();
    let mut said = String::new();
    writeln!(said, "wrote {file}, for you alone to read")?;
    for warning in &answers.warnings {
        writeln!(said, "warning: {warning}")?;
    }
    let mut number = 0;
    let mut step = |said: &mut String, text: &str| {
        number += 1;
        writeln!(said, "\n{number}. {text}")
    };
    step(
        &mut said,
        &format!("DNS: let {host} lead to this machine (an A record, an AAAA record for IPv6)."),
    )?;
    if let Some((place, stanza)) = answers.proxy.stanza(host, settings.listen) {
        step(&mut said, &format!("The proxy, in {place}:"))?;
        for line in stanza.lines() {
            match line {
                "" => writeln!(said)?,
                line => writeln!(said, "    {line}")?,
            }
        }
    } else {
        step(
            &mut said,
            &format!(
                "The proxy: pass https://{host} on to {}, with WebSockets, bodies of any size, and X-Forwarded-For.",
                settings.listen
            ),
        )?;
    }
    step(&mut said, "Start the hold, as the user that shall own its files:")?;
    writeln!(said, "    atcr-hold serve --config {file}")?;
    step(&mut said, "See that all is well, from inside and outside:")?;
    let url = settings.public_url.as_str().trim_end_matches('/');
    writeln!(said, "    atcr-hold doctor --config {file} --url {url}")?;
    step(
        &mut said,
        "Keep the keys elsewhere; without them a lost machine is a lost hold:",
    )?;
    writeln!(
        said,
        "    atcr-hold keys export --config {file} --out hold-keys.json"
    )?;
    step(
        &mut said,
        &format!("Sign in at {}admin{}", settings.public_url, captains(answers)),
    )?;
    step(
        &mut said,
        &format!(
            "Push: choose {} as the hold in the registry's settings, then docker push <registry>/<handle>/<image>",
            did(settings)
        ),
    )?;
    if !matches!(settings.backup, BackupSettings::Off | BackupSettings::NoPlace) {
        step(&mut said, "After the first push, see that the backup is there:")?;
        writeln!(said, "    atcr-hold repo backup --status --config {file}")?;
    }
    Ok(said)
}

fn captains(answers: &Answers) -> String {
    let captain = answers.captain.as_ref().map(|captain| format!(" as {captain}."));
    captain.unwrap_or_else(|| ".".to_owned())
}

fn did(settings: &HoldSettings) -> String {
    match &settings.identity {
        IdentitySettings::Web(did) => did.to_string(),
        IdentitySettings::Plc(_) => {
            "the hold's DID (the first start makes it, `identity show` tells it)".to_owned()
        }
    }
}
