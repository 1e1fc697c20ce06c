//! The files of a backup.

use std::path::Path;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_hold_pds::MANIFEST;
use futures_util::TryStreamExt as _;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::head::MAX_LEN;
use super::{BackupError, BackupStore, Head, StoredFile, account, life, read_whole};

/// How long a start waits for the place of the backup.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// The newest backup of the account.
///
/// # Errors
/// [`BackupError::None`] if there is none; the store's; `Damaged`.
pub async fn newest_head(store: &dyn BackupStore, did: &Did) -> Result<Head, BackupError> {
    let lives = life::list(store, did).await?;
    // Some stores list a new name after a while only. A life that ended before its first upload has no pointer.
    let newest = life::newest_after(store, did, &lives).await?;
    let mut heads = lives.heads;
    heads.insert(newest);
    for life in heads.into_iter().rev() {
        let name = life::head_name(did, life);
        if let Some(content) = store.get(&name).await? {
            let named = |error| match error {
                BackupError::Damaged { what } => BackupError::Damaged {
                    what: format!("{name}: {what}"),
                },
                error => error,
            };
            let head = Head::decode(&read_whole(content, MAX_LEN).await?).map_err(named)?;
            if head.did != *did {
                return Err(BackupError::Damaged {
                    what: format!("{name} is that of {}", head.did),
                });
            }
            return Ok(head);
        }
    }
    Err(BackupError::None {
        did: did.clone(),
        place: store.place(),
    })
}

/// As [`newest_head`], for a start that waits for it.
///
/// # Errors
/// As there; [`BackupError::NoAnswer`] if it takes too long.
pub async fn newest_head_soon(store: &dyn BackupStore, did: &Did) -> Result<Head, BackupError> {
    let asked = tokio::time::timeout(ANSWERS_WITHIN, newest_head(store, did)).await;
    asked.unwrap_or_else(|_| Err(BackupError::NoAnswer { place: store.place() }))
}

/// Writes the files of `head` into `folder`, which must be empty, and tells `progress` how many bytes are there.
///
/// # Errors
/// The store's and the disk's; `Damaged` for an object that is missing or not as long as it should be.
pub async fn download(
    store: &dyn BackupStore,
    head: &Head,
    folder: &Path,
    progress: impl Fn(u64),
) -> Result<(), BackupError> {
    let mut bytes = 0;
    for file in &head.files {
        bytes += download_file(store, head, file, folder).await?;
        progress(bytes);
    }
    let path = folder.join(MANIFEST);
    tokio::fs::write(&path, &head.manifest)
        .await
        .map_err(|source| BackupError::File { path, source })
}

async fn download_file(
    store: &dyn BackupStore,
    head: &Head,
    file: &StoredFile,
    folder: &Path,
) -> Result<u64, BackupError> {
    let path = folder.join(&file.name);
    let failed = |source| BackupError::File {
        path: path.clone(),
        source,
    };
    let mut out = File::create_new(&path).await.map_err(failed)?;
    for part in &file.objects {
        let name = format!("{}/{}/{}", account(&head.did), head.log_id, part.object);
        let damaged = |what: &str| BackupError::Damaged {
            what: format!("{name} {what}"),
        };
        let mut content = store.get(&name).await?.ok_or_else(|| damaged("is missing"))?;
        let mut left = part.to - part.from;
        while let Some(piece) = content.try_next().await? {
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| damaged("is longer than it should be"))?;
            out.write_all(&piece).await.map_err(failed)?;
        }
        if left > 0 {
            return Err(damaged("is shorter than it should be"));
        }
    }
    out.flush().await.map_err(failed)?;
    Ok(file.bytes())
}
