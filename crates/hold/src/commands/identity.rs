//! `atcr-hold repo init`, `keys rotate`, `identity show`, `identity recover`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::egress::{DEFAULT_BODY_CAP, EgressClient, EgressPolicy};
use atcr_atproto::identity::DidDocument;
use atcr_atproto::plc::PlcData;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use serde::Serialize;
use url::Url;

use crate::compose::REPO_DIR;
use crate::identity::IdentityError;
use crate::identity::establish::{Established, establish, folder_of};
use crate::identity::folder::{FolderState, IdentityFolder};
use crate::identity::plc::{Plc, named_key};
use crate::settings::{HoldSettings, IdentitySettings};

/// How long a running hold may take to change its key, and how often it is looked at.
const ROTATION_PATIENCE: Duration = Duration::from_mins(3);
const ROTATION_PAUSE: Duration = Duration::from_millis(250);

/// Makes the hold of an empty folder, its DID, its keys and its empty repository, and does not serve it. `replaces` is the DID that was
/// served at the same host before.
///
/// # Errors
/// For the terminal: a folder that is not empty, and what keeps a hold from starting.
pub async fn init(settings: &HoldSettings, replaces: Option<Did>) -> anyhow::Result<()> {
    let folder = prepare(settings)?;
    if folder.state()? == FolderState::Whole {
        bail!("{} is the folder of a hold already", settings.data_dir.display());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut established = establish(settings, &*clock).await?;
    established.takes_over = replaces.is_some();
    established.replaces = replaces;
    open_once(settings, &established, clock).await?;
    say(&format!("{} is made", established.identity.did()))
}

/// Changes the signing key. A running hold does it itself; one that does not run is changed here.
///
/// # Errors
/// For the terminal: a folder that is no hold, no rotation key, a directory that refuses or does not answer.
pub async fn rotate(settings: &HoldSettings) -> anyhow::Result<()> {
    let folder = prepare(settings)?;
    require_hold(settings, &folder)?;
    if let IdentitySettings::Plc(plc_settings) = &settings.identity {
        let plc = Plc::open(plc_settings, settings.plc_directory.clone())?;
        let did = did_of(settings, &folder)?;
        let log = plc.log(&did).await?;
        plc.check_rotation_key(&did, &log)?;
    }
    let runs = !HoldRepo::is_closed_in(&settings.data_dir.join(REPO_DIR))?;
    let next = folder.make_next_key()?.public_key();
    if runs {
        say("the hold runs and changes its key itself; waiting for it")?;
        wait_for(&folder, &next).await?;
    } else {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut established = establish(settings, &*clock).await?;
        if let Some(delayed) = established.delayed.take() {
            return Err(anyhow::Error::new(delayed.error).context(
                "the directory did not take the new key; the hold goes on trying when it is started",
            ));
        }
        open_once(settings, &established, clock).await?;
    }
    say(&format!(
        "the signing key is {next}. Export the keys again with `atcr-hold keys export`: an export from before does not have it"
    ))
}

/// Makes this folder the hold of its DID again, although a part of it is lost: without a signing key it gets a new one, which the
/// document is made to name; without a repository it gets an empty one. For a did:plc the rotation key has to be here.
///
/// # Errors
/// For the terminal: a hold that runs, no DID, no rotation key, a directory that refuses or does not answer.
pub async fn recover(settings: &HoldSettings, did: Option<Did>) -> anyhow::Result<()> {
    let folder = prepare(settings)?;
    if !HoldRepo::is_closed_in(&settings.data_dir.join(REPO_DIR))? {
        bail!("the hold runs; stop it first");
    }
    if let IdentitySettings::Plc(plc_settings) = &settings.identity {
        let did = match did {
            Some(did) => did,
            None => did_of(settings, &folder)?,
        };
        if let Some(found) = folder
            .did()?
            .or(folder.repo_did()?.and_then(|found| found.parse().ok()))
            && found != did
        {
            bail!(
                "{} is the folder of {found}, not of {did}",
                settings.data_dir.display()
            );
        }
        let plc = Plc::open(plc_settings, settings.plc_directory.clone())?;
        let log = plc.log(&did).await?;
        plc.check_rotation_key(&did, &log)?;
        folder.begin()?;
        folder.write_did(&did)?;
    } else {
        folder.begin()?;
    }
    let has_key = folder.signing_key()?.is_some();
    if !has_key {
        folder.make_next_key()?;
    }
    let had_repo = folder.has_repo()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut established = establish(settings, &*clock).await?;
    established.accept_new_key = true;
    established.takes_over = true;
    open_once(settings, &established, clock).await?;
    say(&format!(
        "{} is recovered: {}, {}",
        established.identity.did(),
        if has_key {
            "the signing key of the folder signs"
        } else {
            "a new signing key was made"
        },
        if had_repo {
            "the repository of the folder goes on"
        } else {
            "its repository is new and empty"
        },
    ))
}

/// How the difference begins that the served document cannot be read.
pub(crate) const DOCUMENT_UNREAD: &str = "the document that is served cannot be read";

/// What the hold is to the network, and where files, served document and directory differ.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) did: String,
    handle: String,
    endpoint: String,
    /// Public halves, as did:key.
    signing_key: Option<String>,
    next_signing_key: Option<String>,
    rotation_key: Option<String>,
    /// What each source says; absent if it could not be read.
    served: Option<Said>,
    directory: Option<Said>,
    /// Keys that may change a did:plc.
    rotation_keys: Vec<String>,
    pub(crate) differences: Vec<String>,
}

/// What one source says of the hold.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    signing_key: String,
    names: Vec<String>,
    pds: Option<String>,
    hold: Option<String>,
}

/// Prints who the hold is, as a text or as JSON.
///
/// # Errors
/// For the terminal: a folder without an identity. Differences are no error; a source that does not answer is one of them.
pub async fn show(settings: &HoldSettings, as_json: bool) -> anyhow::Result<()> {
    let folder = folder_of(settings);
    let shown = look(settings, &folder).await?;
    if as_json {
        return say(&serde_json::to_string_pretty(&shown)?);
    }
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let mut lines = vec![
        format!("DID           {}", shown.did),
        format!("handle        {}", shown.handle),
        format!("URL           {}", shown.endpoint),
        format!("signing key   {}", or_none(&shown.signing_key)),
    ];
    if let Some(next) = &shown.next_signing_key {
        lines.push(format!("  to become   {next}"));
    }
    if !shown.rotation_keys.is_empty() {
        lines.push(format!("rotation key  {}", or_none(&shown.rotation_key)));
        lines.push(format!("  taken       {}", shown.rotation_keys.join(", ")));
    }
    for difference in &shown.differences {
        lines.push(format!("DIFFERENT     {difference}"));
    }
    if shown.differences.is_empty() {
        lines.push("folder, document and directory agree".to_owned());
    }
    say(&lines.join("\n"))
}

/// Compares folder, served document and directory.
///
/// # Errors
/// For the terminal: a folder without an identity.
pub(crate) async fn look(settings: &HoldSettings, folder: &IdentityFolder) -> anyhow::Result<Shown> {
    let did = did_of(settings, folder)?;
    let mut differences = Vec::new();
    let signing_key = folder.signing_key()?;
    let own = signing_key
        .clone()
        .map(|key| HoldIdentity::of_did(did.clone(), &settings.public_url, key))
        .transpose()?;
    let (handle, endpoint) = match &own {
        Some(identity) => (identity.handle().to_owned(), identity.endpoint().to_owned()),
        None => (String::new(), settings.public_url.to_string()),
    };
    if own.is_none() {
        differences.push(format!("{} is missing", folder.key_path().display()));
    }
    match folder.repo_did()? {
        None => differences.push("the repository is missing".to_owned()),
        Some(found) if found != did.as_str() => {
            differences.push(format!("the repository is that of {found}"));
        }
        Some(_) => {}
    }
    let expected = own.as_ref().map(expected_of);
    let served = match served_document(settings, &did).await {
        Ok(document) => Some(said_by(&document)),
        Err(error) => {
            differences.push(format!("{DOCUMENT_UNREAD}: {error:#}"));
            None
        }
    };
    let mut rotation_key = None;
    let mut rotation_keys = Vec::new();
    let mut directory = None;
    if let IdentitySettings::Plc(plc_settings) = &settings.identity {
        let plc = Plc::open(plc_settings, settings.plc_directory.clone())?;
        rotation_key = plc.rotation_key();
        match plc.log(&did).await {
            Ok(log) => {
                if let Err(error) = plc.check_rotation_key(&did, &log) {
                    differences.push(error.to_string());
                }
                directory = Some(said_in(&log.data()));
                rotation_keys = log.data().rotation_keys;
            }
            Err(error) => differences.push(error.to_string()),
        }
    }
    for (source, said) in [
        ("the document that is served", &served),
        ("the directory", &directory),
    ] {
        if let (Some(said), Some(expected)) = (said, &expected) {
            differences.extend(differences_of(source, said, expected));
        }
    }
    Ok(Shown {
        did: did.to_string(),
        handle,
        endpoint,
        signing_key: signing_key.map(|key| key.public_key().to_did_key()),
        next_signing_key: folder.next_key()?.map(|key| key.public_key().to_did_key()),
        rotation_key: rotation_key.as_ref().map(PublicKey::to_did_key),
        served,
        directory,
        rotation_keys,
        differences,
    })
}

fn expected_of(identity: &HoldIdentity) -> Said {
    Said {
        signing_key: identity.public_key().to_did_key(),
        names: vec![format!("at://{}", identity.handle())],
        pds: Some(identity.endpoint().to_owned()),
        hold: Some(identity.endpoint().to_owned()),
    }
}

fn said_by(document: &DidDocument) -> Said {
    let url = |service| {
        let url: Option<Url> = document.service(service);
        url.map(|url| url.as_str().trim_end_matches('/').to_owned())
    };
    Said {
        signing_key: document
            .signing_key()
            .map_or_else(|| "none".to_owned(), |key| key.to_did_key()),
        names: document.also_known_as().to_vec(),
        pds: url("atproto_pds"),
        hold: url("atcr_hold"),
    }
}

fn said_in(data: &PlcData) -> Said {
    let url = |service| {
        let service = data.services.get(service);
        service.map(|service| service.endpoint.trim_end_matches('/').to_owned())
    };
    Said {
        signing_key: named_key(data),
        names: data.also_known_as.clone(),
        pds: url("atproto_pds"),
        hold: url("atcr_hold"),
    }
}

fn differences_of(source: &str, said: &Said, expected: &Said) -> Vec<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let mut found = Vec::new();
    let mut compare = |what: &str, said: String, expected: String| {
        if said != expected {
            found.push(format!("{source} has {what} {said}, not {expected}"));
        }
    };
    compare(
        "the signing key",
        said.signing_key.clone(),
        expected.signing_key.clone(),
    );
    compare("the PDS", or_none(&said.pds), or_none(&expected.pds));
    compare("the hold", or_none(&said.hold), or_none(&expected.hold));
    if let Some(name) = expected.names.first()
        && !said.names.contains(name)
    {
        found.push(format!("{source} does not have the name {name}"));
    }
    found
}

async fn served_document(settings: &HoldSettings, did: &Did) -> anyhow::Result<DidDocument> {
    let client = EgressClient::new(EgressPolicy::of_server(settings.test_mode))?;
    let url = settings.public_url.join("/.well-known/did.json")?;
    let answer = client
        .get_capped(&url, DEFAULT_BODY_CAP, "application/json")
        .await
        .map_err(|error| anyhow::anyhow!(error.detail()))?;
    if !answer.status.is_success() {
        bail!("status {}", answer.status);
    }
    Ok(DidDocument::parse(did, &answer.bytes)?)
}

/// Opens the repository, which tells followers what is new, and closes it.
async fn open_once(
    settings: &HoldSettings,
    established: &Established,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<()> {
    let options = established.repo_options(settings, &*clock).await?;
    let repo = HoldRepo::open(options, clock)
        .await
        .context("cannot open the repository")?;
    let finished = established.finish();
    repo.close().await;
    Ok(finished?)
}

fn prepare(settings: &HoldSettings) -> anyhow::Result<IdentityFolder> {
    atcr_server::private_files::make_private_folder(&settings.data_dir)
        .with_context(|| format!("cannot make the data folder {}", settings.data_dir.display()))?;
    Ok(folder_of(settings))
}

fn require_hold(settings: &HoldSettings, folder: &IdentityFolder) -> anyhow::Result<()> {
    match folder.state()? {
        FolderState::Whole => Ok(()),
        FolderState::New | FolderState::Begun => {
            bail!("{} is not the folder of a hold yet", settings.data_dir.display())
        }
    }
}

/// The hold's DID, as far as settings and folder tell.
pub(crate) fn did_of(settings: &HoldSettings, folder: &IdentityFolder) -> anyhow::Result<Did> {
    let plc = match &settings.identity {
        IdentitySettings::Web(did) => return Ok(did.clone()),
        IdentitySettings::Plc(plc) => plc,
    };
    if let Some(did) = plc.did.clone().or(folder.did()?) {
        return Ok(did);
    }
    let in_repo = folder.repo_did()?.and_then(|did| did.parse().ok());
    in_repo.with_context(|| {
        format!(
            "no DID: {} is missing; set database.did",
            folder.did_path().display()
        )
    })
}

async fn wait_for(folder: &IdentityFolder, next: &PublicKey) -> anyhow::Result<()> {
    let changed = async {
        while folder.next_key()?.is_some() {
            tokio::time::sleep(ROTATION_PAUSE).await;
        }
        Ok::<_, IdentityError>(folder.signing_key()?.is_some_and(|key| key.public_key() == *next))
    };
    match tokio::time::timeout(ROTATION_PATIENCE, changed).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => bail!("the hold could not change its key; its log says why"),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => bail!(
            "the hold has not changed its key yet; it goes on trying, and its log says why. `atcr-hold identity show` tells how it \
             stands"
        ),
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}
