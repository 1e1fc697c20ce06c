//! `atcr-scanner scan`: one image by hand.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::EgressClient;
use atcr_oci::Digest;
use atcr_scan_protocol::DocumentKind;
use atcr_server::Shutdown;
use clap::Args;
use serde_json::json;

use crate::adapters::by_name::{self, ImageName};
use crate::adapters::hold_blobs::HoldBlobs;
use crate::adapters::network::Accounts;
use crate::adapters::oci_folder::OciFolder;
use crate::compose;
use crate::config::ScannerConfig;
use crate::image::source::ImageSource;
use crate::report::table;
use crate::scan::{Outcome, Request, Scanned, Stage};
use crate::settings::{HoldSettings, ScannerSettings};
use crate::work::WorkFolder;

/// What is scanned, and what is made of the result.
#[derive(Clone, Debug, Args)]
pub struct ScanArguments {
    /// OWNER/NAME[:TAG] or OWNER/NAME@DIGEST, the owner a handle or a DID; a registry's host before it is passed over
    #[arg(required_unless_present = "oci_layout")]
    image: Option<ImageName>,
    /// An OCI image layout on this machine
    #[arg(long, value_name = "FOLDER", conflicts_with = "image")]
    oci_layout: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Write the list of packages here, SPDX 2.3 JSON
    #[arg(long, value_name = "FILE")]
    spdx: Option<PathBuf>,
    /// Write the list of packages here, CycloneDX JSON
    #[arg(long, value_name = "FILE")]
    cyclonedx: Option<PathBuf>,
    /// Write the findings here, Grype JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Scans one image and prints what was found.
///
/// # Errors
/// What failed, for people; the text begins with the class of failure.
pub async fn run(
    arguments: ScanArguments,
    config: ScannerConfig,
    settings: ScannerSettings,
) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot watch for signals")?;
    let parent = settings.work_folder.parent().context("SCANNER_TMP_DIR")?;
    let own = tempfile::Builder::new().prefix("atcr-scan-").tempdir_in(parent);
    let own =
        own.with_context(|| format!("SCANNER_TMP_DIR: cannot make a folder in {}", parent.display()))?;
    let scanner = compose::scanner_in(&settings, WorkFolder::open(own.path())?, 0, shutdown.soft()).await?;
    let (name, digest, source) = find(&arguments, &config, &settings).await?;
    let stage = |stage: Stage| tracing::info!(stage = stage.as_str(), "scanning");
    let request = Request {
        name: &name,
        digest: &digest,
        source: source.as_ref(),
        cyclonedx: arguments.cyclonedx.is_some(),
        stage: &stage,
    };
    let outcome = scanner.scan(request, shutdown.soft()).await?;
    let text = match &outcome {
        Outcome::NotApplicable(why) if arguments.json => {
            let document =
                json!({"image": name, "digest": digest.as_str(), "state": "not-applicable", "reason": why});
            serde_json::to_string_pretty(&document)? + "\n"
        }
        Outcome::NotApplicable(why) => format!("{name}\nnot an image: {why}\n"),
        Outcome::Scanned(scanned) => {
            write_documents(&arguments, scanned)?;
            if arguments.json {
                as_json(&name, &digest, scanned, &scanner.tools.scanner_version())?
            } else {
                table::render(&name, scanned)
            }
        }
    };
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot print the result"),
    }
}

/// What is scanned: its name, digest, and where it comes from.
async fn find(
    arguments: &ScanArguments,
    config: &ScannerConfig,
    settings: &ScannerSettings,
) -> anyhow::Result<(String, Digest, Box<dyn ImageSource>)> {
    if let Some(folder) = &arguments.oci_layout {
        let layout = OciFolder::new(folder.clone());
        let digest = layout.image()?;
        return Ok((folder.display().to_string(), digest, Box::new(layout)));
    }
    let name = arguments.image.as_ref().context("no image")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let egress = compose::egress(settings)?;
    let resolver = compose::resolver(settings, egress.clone(), &clock)?;
    let accounts = Accounts::new(resolver, egress.clone());
    // A private hold lets its own scanner in.
    let hold = HoldSettings::parse(config).ok();
    let hold = match &hold {
        Some(hold) => Some((
            &hold.url,
            HoldBlobs::configured(
                hold.url.clone(),
                hold.secret.expose().into(),
                EgressClient::for_configured_hosts()?,
                egress,
            )?,
        )),
        None => None,
    };
    let found = by_name::find(name, &accounts, hold.as_ref().map(|(url, blobs)| (*url, blobs))).await?;
    Ok((name.to_string(), found.digest, Box::new(found.source)))
}

fn write_documents(arguments: &ScanArguments, scanned: &Scanned) -> anyhow::Result<()> {
    let document = |kind| {
        let mut documents = scanned.documents.iter();
        documents.find(|(found, _)| *found == kind).map(|(_, path)| path)
    };
    let wanted = [
        (&arguments.spdx, document(DocumentKind::Sbom)),
        (&arguments.report, document(DocumentKind::VulnReport)),
        (&arguments.cyclonedx, document(DocumentKind::SbomCyclonedx)),
    ];
    for (target, document) in wanted {
        let Some(target) = target else { continue };
        let document =
            document.with_context(|| format!("{}: there is no such document", target.display()))?;
        std::fs::copy(document, target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

fn as_json(name: &str, digest: &Digest, scanned: &Scanned, version: &str) -> anyhow::Result<String> {
    let document = json!({
        "image": name,
        "digest": digest.as_str(),
        "state": scanned.state.as_str(),
        "packages": scanned.packages,
        // Without a database there are no counts, and none is not zero.
        "summary": scanned.state.has_counts().then_some(&scanned.counts),
        "databaseBuilt": scanned.database_built,
        "scannerVersion": version,
        "findings": scanned.findings,
    });
    Ok(escaped(&serde_json::to_string_pretty(&document)?) + "\n")
}

/// The same JSON without characters that a terminal obeys or that turn text around: an image's names may have any.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        let is_harmful = matches!(character,
            '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if is_harmful {
            // All of them are within 16 bits, and JSON has them in strings only.
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn names_that_a_terminal_would_obey_are_escaped_and_mean_the_same() {
        let name = "a\u{9b}31m\u{202e}b\u{7f}\u{1b}é\n";
        let document = serde_json::json!({"package": name});
        let text = escaped(&serde_json::to_string_pretty(&document).unwrap());
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            document
        );
    }
}
