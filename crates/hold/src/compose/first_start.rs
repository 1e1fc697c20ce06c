//! What keeps an empty folder from becoming a new hold: no owner, or a backup of the account.

use std::time::Duration;

use atcr_hold_pds::records::captain::CaptainError;

use super::{StartError, repo_dir};
use crate::backup::{Backup, BackupError, BackupStore, download};
use crate::identity::establish::folder_of;
use crate::identity::folder::FolderState;
use crate::settings::HoldSettings;

/// How long a new hold waits for the answer whether there is a backup.
const BACKUP_ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// An empty folder of an account that has a backup, or may have one, is a lost one, not a new one.
pub(super) async fn check_no_backup(
    store: &dyn BackupStore,
    settings: &HoldSettings,
) -> Result<(), StartError> {
    let Some(did) = settings.identity.configured_did() else {
        return Ok(());
    };
    if folder_of(settings).state()? != FolderState::New {
        return Ok(());
    }
    let asked = tokio::time::timeout(BACKUP_ANSWERS_WITHIN, download::newest_head(store, did)).await;
    match asked {
        Ok(Ok(head)) => Err(StartError::NotRestored {
            path: repo_dir(settings),
            place: store.place(),
            seq: head.seq,
        }),
        Ok(Err(BackupError::None { .. })) => Ok(()),
        Ok(Err(error)) => Err(StartError::BackupUnknown {
            path: repo_dir(settings),
            place: store.place(),
            reason: error.to_string(),
        }),
        Err(_) => Err(StartError::BackupUnknown {
            path: repo_dir(settings),
            place: store.place(),
            reason: "no answer".to_owned(),
        }),
    }
}

/// Looks whether the folder is older than its backup before anything is written to it. A place that does not answer stops no start: the
/// first round asks again.
pub(super) async fn check_copy(backup: &Backup) {
    match tokio::time::timeout(BACKUP_ANSWERS_WITHIN, backup.check_copy()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, "the repository is not compared with its backup, or is older");
        }
        Err(_) => tracing::error!(
            "the place of the backup does not answer; the repository is compared with it later"
        ),
    }
}

/// Without an owner nothing is made: a DID of a directory would be made for good.
pub(super) fn require_owner(settings: &HoldSettings) -> Result<(), StartError> {
    let is_new = folder_of(settings).state()? == FolderState::New;
    if is_new && settings.owner.is_none() {
        return Err(CaptainError::OwnerNeeded.into());
    }
    Ok(())
}
