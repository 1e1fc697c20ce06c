//! `atcr-hold repo backup` and `atcr-hold repo restore`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::syntax::Did;
use atcr_hold_pds::{HoldRepo, RepoError, RepoOptions, Seen, restore};
use atcr_server::disk_space::free_bytes;
use atcr_server::private_files::make_private_folder;
use serde_json::json;

use super::terminal::Terminal;
use super::{Common, existing_repo, explained, found_did};
use crate::adapters::relay_client::RelayClient;
use crate::backup::{Backup, BackupError, BackupStore, Head, check, download};
use crate::compose;
use crate::identity::IdentityError;
use crate::identity::establish::folder_of;
use crate::identity::plc::{Plc, named_key};
use crate::relays::seen::{Reason, seen_by_relays};
use crate::settings::{BackupSettings, HoldSettings, IdentitySettings};

/// Beside the repository: what was downloaded.
const DOWNLOAD_DIR: &str = "repo.downloaded";
/// A hold that runs removes parts that were joined: then the newest list is read again.
const TRIES: usize = 3;

fn store(settings: &HoldSettings) -> anyhow::Result<Arc<dyn BackupStore>> {
    compose::backup_store(settings).with_context(|| match settings.backup {
        BackupSettings::Off => "there is no backup: backup.enabled is false",
        _ => "there is no backup: name a folder in backup.path or a bucket in backup.bucket",
    })
}

/// Whose backup is meant: the account of the repository that is there, else that of the configuration.
fn account(settings: &HoldSettings) -> anyhow::Result<Did> {
    if let Some(did) = found_did(&compose::repo_dir(settings))? {
        return Ok(did);
    }
    let kept = folder_of(settings).did()?;
    kept.or_else(|| settings.identity.configured_did().cloned())
        .context("the DID is not known: set database.did, or bring did.txt here with `atcr-hold keys import`")
}

pub(super) async fn status(common: &Common) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let store = store(&settings)?;
    let terminal = Terminal::new(common.json, false);
    terminal.say("asking");
    let did = account(&settings)?;
    let mut tries = 0;
    let (head, incomplete) = loop {
        tries += 1;
        let head = download::newest_head(&*store, &did).await?;
        let incomplete = check::incomplete(&*store, &head).await?;
        if incomplete.is_empty() || tries == TRIES {
            break (head, incomplete);
        }
    };
    terminal.done(
        &format!(
            "{}: revision {} with events up to {}, written {}, {} bytes{}",
            store.place(),
            head.rev,
            head.seq,
            head.at,
            bytes_of(&head),
            match incomplete.len() {
                0 => String::new(),
                count => format!(
                    "; {count} of {} files are NOT WHOLE: run `repo backup`, or restart the hold",
                    head.files.len()
                ),
            }
        ),
        &json!({
            "place": store.place(), "did": head.did, "rev": head.rev, "seq": head.seq, "at": head.at,
            "bytes": bytes_of(&head), "files": head.files.len(), "incompleteFiles": incomplete,
        }),
    )?;
    Ok(())
}

fn bytes_of(head: &Head) -> u64 {
    head.files.iter().map(|file| file.bytes()).sum()
}

pub(super) async fn now(common: &Common) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let store = store(&settings)?;
    let options = existing_repo(&settings)?;
    let terminal = Terminal::new(common.json, false);
    terminal.say("copying to the backup");
    let clock = Arc::new(SystemClock);
    let repo = HoldRepo::open(options, clock.clone())
        .await
        .map_err(|error| match error {
            RepoError::Locked { .. } => anyhow::Error::new(error).context(
                "the hold is running, and backs itself up; `repo backup --status` says what is there",
            ),
            error => explained(error),
        })?;
    let backup = Backup::new(repo.clone(), store.clone(), clock);
    let outcome = backup.round().await;
    let (rev, seq) = (repo.latest_commit().rev, backup.status().seq);
    repo.close().await;
    outcome?;
    terminal.done(
        &format!("{}: everything up to revision {rev} is there", store.place()),
        &json!({ "place": store.place(), "rev": rev, "seq": seq }),
    )?;
    Ok(())
}

/// What a restore is told beside the configuration.
#[derive(Debug)]
pub(super) struct RestoreOptions {
    pub(super) signed_by: Vec<PublicKey>,
    pub(super) new_key: bool,
    pub(super) ignore_relays: bool,
}

pub(super) async fn restore_newest(common: &Common, how: RestoreOptions) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let store = store(&settings)?;
    let did = account(&settings)?;
    let identity = folder_of(&settings);
    let key_path = settings.key_path.display();
    ensure!(
        how.new_key || identity.signing_key()?.is_some(),
        "the signing key {key_path} is missing; bring it here with `atcr-hold keys import`, or, if it is lost, make a new one with \
         --new-key"
    );
    let terminal = Terminal::new(common.json, false);
    make_private_folder(&settings.data_dir)
        .with_context(|| format!("cannot make {}", settings.data_dir.display()))?;
    let signers = Signers::find(&settings, &did, how.signed_by).await?;
    terminal.say("asking the relays");
    let seen = seen_before(&settings, &did, how.ignore_relays).await?;
    let folder = settings.data_dir.join(DOWNLOAD_DIR);
    let head = fetch(&*store, &did, &folder, &terminal).await?;
    let key = identity.make_signing_key()?;
    let own = key.public_key();
    let mut options = RepoOptions::new(compose::repo_dir(&settings), did.clone(), key);
    options.seen = seen;
    let clock = Arc::new(SystemClock);
    let restored = restore(&folder, options, signers.accepted, clock, terminal.progress()).await;
    // Also after a failure: the next try downloads anew.
    let removed = remove_folder(&folder);
    let restored = restored.map_err(|error| match error {
        RepoError::OtherKey => anyhow!(
            "the backup was signed by another key than {key_path}{}; if that key was the hold's, name it with --signed-by",
            head.signed_by.as_ref().map_or_else(String::new, |key| format!(": it says by {key}"))
        ),
        error => explained(error),
    })?;
    removed?;
    let must_publish = signers.named.is_some_and(|named| named != own.to_did_key());
    let then = if must_publish {
        ". The document of the DID names another key: run `atcr-hold identity recover` before the hold is started"
    } else {
        ""
    };
    terminal.done(
        &format!(
            "restored {did} at revision {} (written {}); the repository goes on with revision {}{then}",
            restored.from_rev, head.at, restored.rev
        ),
        &json!({
            "did": did, "at": head.at, "fromRev": restored.from_rev, "fromSeq": restored.from_seq,
            "rev": restored.rev, "seq": restored.seq, "mustRecover": must_publish,
        }),
    )?;
    Ok(())
}

/// Keys other than the hold's own.
struct Signers {
    /// Those that may have signed the backup.
    accepted: Vec<PublicKey>,
    /// The one that the document of a did:plc names.
    named: Option<String>,
}

impl Signers {
    /// The keys that the operator names, the next one of the folder, and the one that the directory names now. A key that signed before is
    /// taken only from the operator: it may have been replaced because someone else has it.
    async fn find(settings: &HoldSettings, did: &Did, told: Vec<PublicKey>) -> anyhow::Result<Self> {
        let folder = folder_of(settings);
        let mut accepted = told;
        // A change that was cut off may have signed with it already.
        accepted.extend(folder.next_key()?.as_ref().map(SigningKey::public_key));
        let IdentitySettings::Plc(plc) = &settings.identity else {
            return Ok(Self {
                accepted,
                named: None,
            });
        };
        let plc = Plc::open(plc, settings.plc_directory.clone())?;
        let has_key = folder.signing_key()?.is_some();
        let log = match plc.log(did).await {
            Ok(log) => log,
            Err(IdentityError::Directory(error)) if error.is_transient() && has_key => {
                tracing::warn!(%error, "which key the DID names is not known; the backup has to be signed by a key that is here");
                return Ok(Self {
                    accepted,
                    named: None,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let named = named_key(&log.data());
        let own = folder.signing_key()?.map(|key| key.public_key().to_did_key());
        if own.as_ref() != Some(&named) {
            // The document has to be changed before the hold starts.
            plc.check_rotation_key(did, &log)?;
            accepted.extend(PublicKey::from_did_key(&named).ok());
        }
        Ok(Self {
            accepted,
            named: Some(named),
        })
    }
}

/// What the relays have of the account.
async fn seen_before(settings: &HoldSettings, did: &Did, ignore_ahead: bool) -> anyhow::Result<Seen> {
    let api = RelayClient::new()?;
    let hostname = settings.hostname();
    let asked = seen_by_relays(&api, &settings.relays, &hostname, did, &SystemClock).await;
    for unknown in &asked.unknown {
        if let Reason::RevisionAhead { wait: Some(wait), .. } = &unknown.reason {
            ensure!(
                ignore_ahead,
                "{unknown}. Set the clock if it is wrong; if it is right, repeat in {} seconds",
                wait.as_secs() + 1
            );
        }
        ensure!(
            ignore_ahead || matches!(unknown.reason, Reason::NoAnswer(_)),
            "{unknown}. Set the clock if it is wrong; if the relay is, repeat with --ignore-relays"
        );
        tracing::warn!(
            "{unknown}. THE REPOSITORY GOES ON AN HOUR AHEAD: a relay that has later events than that drops what the hold writes until then"
        );
    }
    Ok(asked.seen)
}

async fn fetch(
    store: &dyn BackupStore,
    did: &Did,
    folder: &Path,
    terminal: &Terminal,
) -> anyhow::Result<Head> {
    let mut tries = 0;
    loop {
        tries += 1;
        let head = download::newest_head(store, did).await?;
        let total = bytes_of(&head);
        remove_folder(folder)?;
        let (needed, free) = (RepoOptions::restore_room(total), free_bytes(folder)?);
        ensure!(
            free >= needed,
            "{}: the restore needs {} MiB, and its disk has {} MiB left",
            folder.display(),
            needed.div_ceil(1 << 20),
            free >> 20
        );
        make_private_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let say = |bytes| terminal.say(format!("downloading: {} of {} MiB", bytes >> 20, total >> 20));
        match download::download(store, &head, folder, say).await {
            Ok(()) => return Ok(head),
            Err(BackupError::Damaged { .. }) if tries < TRIES => {}
            Err(error) => {
                // The failure that is reported is the first one.
                let _ = remove_folder(folder);
                return Err(error.into());
            }
        }
    }
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
