//! Lives of one account. Each start of a hold that writes takes the next number; a process that finds a greater one than its
//! own stops writing, since another one has taken over.

use atcr_atproto::syntax::Did;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BackupError, BackupStore, account, read_whole};

/// Bytes of a life's own note.
const MAX_NOTE_LEN: usize = 4096;
/// Other processes that may take a number at the same moment.
const TRIES: u32 = 16;

#[derive(Serialize, Deserialize)]
struct Note {
    process: String,
}

fn name(did: &Did, life: u64) -> String {
    format!("{}/epoch/{life}", account(did))
}

async fn exists(store: &dyn BackupStore, did: &Did, life: u64) -> Result<bool, BackupError> {
    Ok(store.get(&name(did, life)).await?.is_some())
}

/// The newest life; 0 if there was none. Numbers have no gaps, so this takes a few questions.
///
/// # Errors
/// The store's.
pub async fn newest(store: &dyn BackupStore, did: &Did) -> Result<u64, BackupError> {
    let (mut found, mut missing) = (0, 1);
    while exists(store, did, missing).await? {
        found = missing;
        missing = missing.saturating_mul(2);
    }
    while missing - found > 1 {
        let middle = found + (missing - found) / 2;
        if exists(store, did, middle).await? {
            found = middle;
        } else {
            missing = middle;
        }
    }
    Ok(found)
}

/// Takes the next number.
///
/// # Errors
/// The store's; `Damaged` when others always take the number first.
pub async fn begin(store: &dyn BackupStore, did: &Did) -> Result<u64, BackupError> {
    let process = Uuid::new_v4().to_string();
    let note = Note {
        process: process.clone(),
    };
    let note = serde_json::to_vec(&note).map_err(|error| BackupError::Damaged {
        what: error.to_string(),
    })?;
    for _ in 0..TRIES {
        let life = newest(store, did).await? + 1;
        if !store.create(&name(did, life), Bytes::from(note.clone())).await? {
            continue;
        }
        // A store that knows no conditions lets two processes write, and the last one stays.
        if let Some(content) = store.get(&name(did, life)).await? {
            let found = read_whole(content, MAX_NOTE_LEN).await?;
            if serde_json::from_slice::<Note>(&found).is_ok_and(|found| found.process == process) {
                return Ok(life);
            }
        }
    }
    Err(BackupError::Damaged {
        what: "no number is free for this process".to_owned(),
    })
}

/// Whether another process has taken over from life `ours`.
///
/// # Errors
/// [`BackupError::OtherLife`] if so; the store's.
pub async fn check(store: &dyn BackupStore, did: &Did, ours: u64) -> Result<(), BackupError> {
    let next = ours.saturating_add(1);
    if exists(store, did, next).await? {
        return Err(BackupError::OtherLife { ours, theirs: next });
    }
    Ok(())
}
