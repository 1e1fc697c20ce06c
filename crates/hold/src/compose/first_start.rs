//! What keeps an empty folder from becoming a new hold: no owner, or a backup of the account.

use atcr_atproto::syntax::Did;
use atcr_hold_pds::KnownEvent;
use atcr_hold_pds::records::captain::CaptainError;

use super::{StartError, repo_dir};
use crate::backup::{BackupError, BackupStore, download};
use crate::identity::establish::folder_of;
use crate::identity::folder::FolderState;
use crate::settings::HoldSettings;

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
    match download::newest_head_soon(store, did).await {
        Ok(head) => Err(StartError::NotRestored {
            path: repo_dir(settings),
            place: store.place(),
            seq: head.seq,
        }),
        Err(BackupError::None { .. }) => Ok(()),
        Err(error) => Err(StartError::BackupUnknown {
            path: repo_dir(settings),
            place: store.place(),
            reason: error.to_string(),
        }),
    }
}

/// The newest event in the backup, so that nothing is written to a folder which is older. A place that does not answer stops no start: the
/// first round of the backup asks again.
pub(super) async fn newest_in_backup(store: &dyn BackupStore, did: &Did) -> Option<KnownEvent> {
    match download::newest_head_soon(store, did).await {
        Ok(head) => Some(head.newest_event()),
        Err(BackupError::None { .. }) => None,
        Err(error) => {
            tracing::error!(%error, "the repository is not compared with its backup at this start, but later");
            None
        }
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
