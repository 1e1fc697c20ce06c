//! `atcr-hold repo backup` and `atcr-hold repo restore`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use atcr_atproto::clock::SystemClock;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::{HoldRepo, RepoError, RepoOptions, restore};
use atcr_server::private_files::make_private_folder;
use serde_json::json;

use super::terminal::Terminal;
use super::{Common, existing_repo, explained, found_did};
use crate::backup::{Backup, BackupError, BackupStore, Head, download};
use crate::compose;
use crate::identity::establish::folder_of;
use crate::settings::{BackupSettings, HoldSettings};

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
    let head = download::newest_head(&*store, &account(&settings)?).await?;
    terminal.done(
        &format!(
            "{}: revision {} with events up to {}, written {}, {} bytes",
            store.place(),
            head.rev,
            head.seq,
            head.at,
            bytes_of(&head)
        ),
        &json!({
            "place": store.place(), "did": head.did, "rev": head.rev, "seq": head.seq, "at": head.at,
            "bytes": bytes_of(&head), "files": head.files.len(),
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

pub(super) async fn restore_newest(common: &Common) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let store = store(&settings)?;
    let did = account(&settings)?;
    let key = folder_of(&settings).signing_key()?.with_context(|| {
        format!(
            "the signing key {} is missing; bring it here with `atcr-hold keys import`",
            settings.key_path.display()
        )
    })?;
    let terminal = Terminal::new(common.json, false);
    make_private_folder(&settings.data_dir)
        .with_context(|| format!("cannot make {}", settings.data_dir.display()))?;
    let folder = settings.data_dir.join(DOWNLOAD_DIR);
    let head = fetch(&*store, &did, &folder, &terminal).await?;
    let options = RepoOptions::new(compose::repo_dir(&settings), did.clone(), key);
    let restored = restore(&folder, options, Arc::new(SystemClock), terminal.progress()).await;
    // Also after a failure: the next try downloads anew.
    let removed = remove_folder(&folder);
    let restored = restored.map_err(explained)?;
    removed?;
    terminal.done(
        &format!(
            "restored {did} at revision {} (written {}); the repository goes on with revision {}",
            restored.from_rev, head.at, restored.rev
        ),
        &json!({
            "did": did, "at": head.at, "fromRev": restored.from_rev, "fromSeq": restored.from_seq,
            "rev": restored.rev, "seq": restored.seq,
        }),
    )?;
    Ok(())
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
        make_private_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let say = |bytes| terminal.say(format!("downloading: {} of {} MiB", bytes >> 20, total >> 20));
        match download::download(store, &head, folder, say).await {
            Ok(()) => return Ok(head),
            Err(BackupError::Damaged { .. }) if tries < TRIES => {}
            Err(error) => return Err(error.into()),
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
