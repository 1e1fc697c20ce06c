//! `verify`: whether an image is what its author's account signed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{AtIdentifier, Datetime, Tid};
use atcr_oci::Manifest;
use atcr_repo::provenance::{Evidence, Expected, Verdict, verify as judge};
use clap::Args;

use super::{Context, parse_registry, reveal};
use crate::DEFAULT_REGISTRY;
use crate::error::HelperError;
use crate::printer::plain;
use crate::registry_url::RegistryUrl;
use crate::selection::{Selection, select};
use crate::verification::blobs::{Credentials, Hashed, RegistryBlobs};
use crate::verification::coverage::Coverage;
use crate::verification::image_name::ImageName;
use crate::verification::network::{Network, NetworkArguments};
use crate::verification::policy::Policy;
use crate::verification::proof_file::{Anchor, ProofFile};
use crate::verification::report::{Circumstances, Failure, Report};
use crate::verification::{Refused, Unchecked, Unproven, read_at_most};

/// How `verify` ends when the image is not proven. 0 is proven, 1 could not be checked, 2 a command line that is not valid.
const REFUSED: u8 = 3;

/// Longest policy that is read, in bytes.
const MAX_POLICY_BYTES: u64 = 1024 * 1024;

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
The account's own server is asked, not the registry: the program checks that the account's key signed a repository which has
the image's record, and that the manifest's bytes are the record's.

A tag can be moved at any time: pull what was proven by its digest, as the last line says.

Ends with 0: proven; 1: could not be checked; 2: wrong usage; 3: refused.")]
pub struct VerifyArguments {
    /// The image, by tag or digest: atcr.io/alice.example/app:1. The registry may be left out
    #[arg(required_unless_present = "proof")]
    image: Option<String>,
    /// Also read every blob from the registry, and hash it
    #[arg(long)]
    layers: bool,
    /// Refuse a state of the account that is older than this revision
    #[arg(long, value_name = "REVISION")]
    not_before: Option<Tid>,
    /// Only these accounts may have signed: a YAML file, see the documentation
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Keep what proves it in a file, for --proof
    #[arg(long, value_name = "FILE")]
    save_proof: Option<PathBuf>,
    /// Check the proof in a file, without network. Name the account by its DID, or give --policy: a file proves no handle
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save_proof", "layers"])]
    proof: Option<PathBuf>,
    /// With --proof: the account's key, a did:key, instead of what the file proves it by
    #[arg(long, value_name = "DID_KEY", requires = "proof", value_parser = public_key)]
    key: Option<PublicKey>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    network: NetworkArguments,
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_did_key(text).map_err(|error| error.to_string())
}

/// What was found out.
struct Proven {
    verdict: Verdict,
    circumstances: Circumstances,
}

/// Verifies an image. Exits with 3 when it is refused.
///
/// # Errors
/// [`HelperError::Unchecked`], which says nothing about the image.
pub fn verify(context: &Context, arguments: &VerifyArguments) -> Result<ExitCode, HelperError> {
    let outcome = outcome(context, arguments);
    let failure = |verdict, code, reason: String| Failure {
        verdict,
        image: arguments.image.clone(),
        code,
        reason,
    };
    match outcome {
        Ok(proven) => {
            let report = Report::new(&proven.verdict, proven.circumstances);
            if arguments.json {
                context.printer.json(&report);
            } else {
                report.write(&context.printer, &proven.verdict);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Attempt::Unproven(Unproven::Refused(refused))) => {
            if arguments.json {
                let reason = refused.to_string();
                context
                    .printer
                    .json(&failure("refused", Some(refused.code()), reason));
            }
            context
                .printer
                .error(format_args!("not proven: {}", plain(&refused.to_string())));
            Ok(ExitCode::from(REFUSED))
        }
        Err(Attempt::Unproven(Unproven::Unchecked(unchecked))) => {
            let error = HelperError::Unchecked(Box::new(unchecked));
            if arguments.json {
                context
                    .printer
                    .json(&failure("unchecked", None, crate::error::chain(&error)));
            }
            Err(error)
        }
        Err(Attempt::Helper(error)) => {
            if arguments.json {
                context
                    .printer
                    .json(&failure("unchecked", None, crate::error::chain(&error)));
            }
            Err(error)
        }
    }
}

/// What keeps from a verdict: the evidence, or the helper's own files.
enum Attempt {
    Unproven(Unproven),
    Helper(HelperError),
}

impl<E: Into<Unproven>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Unproven(error.into())
    }
}

fn outcome(context: &Context, arguments: &VerifyArguments) -> Result<Proven, Attempt> {
    let policy = arguments.policy.as_deref().map(read_policy).transpose()?;
    let file = arguments.proof.as_deref().map(ProofFile::read).transpose()?;
    let accounts = context
        .store
        .load()
        .map_err(|error| Attempt::Helper(error.into()))?;
    let known: Vec<RegistryUrl> = accounts.iter().map(|(url, _)| url.clone()).collect();
    let default = default_registry(context, &known).map_err(Attempt::Helper)?;
    let image = match (&arguments.image, &file) {
        (Some(text), _) => {
            ImageName::parse(text, &known, &default).map_err(|source| Unchecked::ImageName {
                given: text.clone(),
                source,
            })?
        }
        (None, Some(file)) => file.image(&default),
        (None, None) => return Err(Unchecked::NoImage.into()),
    };
    let expected = Expected {
        repository: image.repository.clone(),
        reference: image.reference.clone(),
        not_before: arguments.not_before.clone(),
        now: SystemClock.now(),
    };
    match file {
        Some(file) => Ok(from_file(&file, arguments, image, &expected, policy.as_ref())?),
        None => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Unchecked::Runtime)?
            .block_on(from_network(
                context,
                arguments,
                &image,
                &expected,
                policy.as_ref(),
            )),
    }
}

/// The registry of an image that names none.
pub(super) fn default_registry(context: &Context, known: &[RegistryUrl]) -> Result<RegistryUrl, HelperError> {
    match (context.environment.registry.as_deref(), known) {
        (Some(named), _) => parse_registry(named),
        (None, [only]) => Ok(only.clone()),
        (None, _) => parse_registry(DEFAULT_REGISTRY),
    }
}

fn read_policy(path: &Path) -> Result<Policy, Unchecked> {
    let text = read_at_most(path, MAX_POLICY_BYTES)?;
    let no_policy = |reason: &dyn std::fmt::Display| Unchecked::File {
        path: path.to_owned(),
        reason: format!("no policy: {reason}"),
    };
    // A name that was read with other characters in place of bad bytes would be another pattern than the one that was meant.
    let text = std::str::from_utf8(&text).map_err(|_| no_policy(&"it is not UTF-8"))?;
    Policy::parse(text).map_err(|reason| no_policy(&reason))
}

/// No handle is believed here. The user says by DID or by policy whose the image has to be, and a file that is named by neither is
/// refused: whoever made it chose the account.
fn from_file(
    file: &ProofFile,
    arguments: &VerifyArguments,
    image: ImageName,
    expected: &Expected,
    policy: Option<&Policy>,
) -> Result<Proven, Unproven> {
    let (document, anchor) = file.document(&image, arguments.key.as_ref())?;
    let evidence = file.evidence();
    let verdict = judge(&document, expected, &evidence)?;
    let found = verdict.did.clone();
    match policy {
        Some(policy) => policy.check(&image.path(), &found)?,
        None if arguments.image.is_some() && matches!(image.identity, AtIdentifier::Did(_)) => {}
        None => return Err(Refused::HandleNotProven { found }.into()),
    }
    Ok(Proven {
        circumstances: Circumstances {
            image: ImageName {
                identity: AtIdentifier::Did(found),
                ..image
            },
            confirmed_handle: None,
            anchor,
            covers: Coverage::of(&evidence.bytes, &verdict.media_type),
            hashed: None,
            saved_at: Some(file.saved_at().clone()),
        },
        verdict,
    })
}

async fn from_network(
    context: &Context,
    arguments: &VerifyArguments,
    image: &ImageName,
    expected: &Expected,
    policy: Option<&Policy>,
) -> Result<Proven, Attempt> {
    let network = Network::new(&arguments.network)?;
    let account = network.account(&image.identity).await?;
    let evidence = network.evidence(&account, expected).await?;
    let verdict = judge(&account.document, expected, &evidence).map_err(Refused::from)?;
    if let Some(policy) = policy {
        policy.check(&image.path(), &verdict.did)?;
    }
    let hashed = if arguments.layers {
        Some(hash_layers(context, &network, image, &evidence, &verdict).await?)
    } else {
        None
    };
    if let Some(path) = &arguments.save_proof {
        let operations = network.operations(&account.did).await;
        let now = Datetime::new(expected.now);
        let file = ProofFile::new(image, &account.did, &evidence, operations.as_ref(), now);
        file.write(path).map_err(|error| Unchecked::File {
            path: path.clone(),
            reason: error.source.to_string(),
        })?;
        if !file.proves_key() {
            let did = &account.did;
            let key = verdict.key.to_did_key();
            context.printer.warning(format_args!(
                "the file does not prove the key of {did} by itself; check it with --key {key}"
            ));
        }
    }
    Ok(Proven {
        circumstances: Circumstances {
            image: image.clone(),
            confirmed_handle: account.handle.as_ref().map(ToString::to_string),
            anchor: Anchor::Document,
            covers: Coverage::of(&evidence.bytes, &verdict.media_type),
            hashed,
            saved_at: None,
        },
        verdict,
    })
}

/// Hashes every blob of the image, as the account that is signed in for it, else as anybody.
async fn hash_layers(
    context: &Context,
    network: &Network,
    image: &ImageName,
    evidence: &Evidence,
    verdict: &Verdict,
) -> Result<Hashed, Attempt> {
    let unreadable = |reason: String| Unchecked::Registry {
        what: image.to_string(),
        reason,
    };
    let manifest = Manifest::parse(evidence.bytes.clone(), Some(&verdict.media_type))
        .map_err(|error| unreadable(error.to_string()))?;
    let accounts = context
        .store
        .load()
        .map_err(|error| Attempt::Helper(error.into()))?;
    let identity = image.identity.to_string();
    let selected = accounts
        .get(&image.registry)
        .map(|registry| select(registry, std::slice::from_ref(&identity)));
    let credentials = match selected {
        Some(Selection::Account(account)) => Some(Credentials {
            username: account.did.clone().unwrap_or_else(|| account.handle.clone()),
            secret: reveal(&image.registry, account, &context.environment)
                .map_err(|error| Attempt::Helper(error.into()))?,
        }),
        _ => None,
    };
    let registry = image
        .registry
        .to_string()
        .parse()
        .map_err(|_| unreadable("the registry's address is none".to_owned()))?;
    let name = image
        .registry_name()
        .map_err(|error| unreadable(error.to_string()))?;
    let mut blobs = RegistryBlobs::new(&network.egress, registry, name, credentials);
    Ok(blobs.hash_all(&manifest).await?)
}
