//! Lives of one account. Each start of a hold that writes takes the next number; a process that finds a greater one than its
//! own stops writing, since another one has taken over.

use std::collections::BTreeSet;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BackupError, BackupStore, Listed, account, read_whole};

/// Bytes of a life's own note.
const MAX_NOTE_LEN: usize = 4096;
/// Other processes that may take a number at the same moment.
const TRIES: u32 = 16;
/// Lives before the newest one that are remembered.
const KEPT: u64 = 1000;
/// Names of lives that are listed.
const MAX_NAMES: usize = 50_000;
/// How long a process waits for others that take the same number, where the store lets all of them write it.
const SETTLES_AFTER: Duration = Duration::from_secs(2);

/// The number of a life, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The number.
    pub number: u64,
    /// Made for this process: what its note says.
    process: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    process: String,
}

fn name(did: &Did, life: u64) -> String {
    format!("{}/epoch/{life}", account(did))
}

/// The name of a life's pointer.
pub(super) fn head_name(did: &Did, life: u64) -> String {
    format!("{}/head/{life}", account(did))
}

fn encode(process: &str) -> Result<Bytes, BackupError> {
    let note = Note {
        process: process.to_owned(),
    };
    serde_json::to_vec(&note)
        .map(Bytes::from)
        .map_err(|error| BackupError::Damaged {
            what: error.to_string(),
        })
}

async fn exists(store: &dyn BackupStore, did: &Did, life: u64) -> Result<bool, BackupError> {
    Ok(store.get(&name(did, life)).await?.is_some())
}

/// What is left of the lives in the place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// Numbers that were taken.
    pub taken: BTreeSet<u64>,
    /// Lives that have a pointer.
    pub heads: BTreeSet<u64>,
}

impl Lives {
    /// The newest one that is known; 0 if there was none. Notes and pointers are one as good as the other: something may have removed
    /// some of them.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let newest = |lives: &BTreeSet<u64>| lives.last().copied().unwrap_or(0);
        newest(&self.taken).max(newest(&self.heads))
    }
}

/// Lists the lives.
///
/// # Errors
/// The store's.
pub async fn list(store: &dyn BackupStore, did: &Did) -> Result<Lives, BackupError> {
    let numbers = async |folder: &str| -> Result<BTreeSet<u64>, BackupError> {
        let listed = store
            .list(&format!("{}/{folder}", account(did)), MAX_NAMES)
            .await?;
        let number = |listed: &Listed| listed.name.rsplit('/').next()?.parse().ok();
        Ok(listed.iter().filter_map(number).collect())
    };
    Ok(Lives {
        taken: numbers("epoch").await?,
        heads: numbers("head").await?,
    })
}

/// The newest life; 0 if there was none.
///
/// # Errors
/// The store's.
pub async fn newest(store: &dyn BackupStore, did: &Did) -> Result<u64, BackupError> {
    let lives = list(store, did).await?;
    newest_after(store, did, &lives).await
}

/// The newest life, if `lives` were listed a moment ago.
pub(super) async fn newest_after(
    store: &dyn BackupStore,
    did: &Did,
    lives: &Lives,
) -> Result<u64, BackupError> {
    let mut newest = lives.newest();
    // Some stores list a new name after a while only.
    while let Some(next) = newest.checked_add(1)
        && exists(store, did, next).await?
    {
        newest = next;
    }
    Ok(newest)
}

/// What the note of a life says; `None` if there is none. One that does not parse says nothing of who has the number.
async fn note(store: &dyn BackupStore, did: &Did, life: u64) -> Result<Option<String>, BackupError> {
    let Some(content) = store.get(&name(did, life)).await? else {
        return Ok(None);
    };
    let found = read_whole(content, MAX_NOTE_LEN).await?;
    match serde_json::from_slice::<Note>(&found) {
        Ok(note) => Ok(Some(note.process)),
        Err(_) => Err(BackupError::Damaged {
            what: format!("the note of life {life} cannot be read"),
        }),
    }
}

/// Takes the number of life `ours` again, whose note something has removed.
///
/// # Errors
/// The store's.
pub(super) async fn take_again(store: &dyn BackupStore, did: &Did, ours: &Life) -> Result<(), BackupError> {
    // If it is there by now, that is what is wanted, or the next check sees that it is another's.
    store
        .create(&name(did, ours.number), encode(&ours.process)?)
        .await?;
    Ok(())
}

/// Removes what is left of lives long before `ours`, except the newest pointer: this life may have none yet.
///
/// # Errors
/// The store's.
pub(super) async fn forget_old(
    store: &dyn BackupStore,
    did: &Did,
    lives: &Lives,
    ours: u64,
) -> Result<(), BackupError> {
    let first_kept = ours.saturating_sub(KEPT);
    for life in lives.taken.range(..first_kept) {
        store.delete(&name(did, *life)).await?;
    }
    let newest = lives.heads.last();
    for life in lives
        .heads
        .range(..first_kept)
        .filter(|life| Some(*life) != newest)
    {
        store.delete(&head_name(did, *life)).await?;
    }
    Ok(())
}

/// Takes the next number.
///
/// # Errors
/// The store's; `Damaged` when others always take the number first.
pub async fn begin(store: &dyn BackupStore, did: &Did) -> Result<Life, BackupError> {
    let process = Uuid::new_v4().to_string();
    for _ in 0..TRIES {
        let Some(number) = newest(store, did).await?.checked_add(1) else {
            break;
        };
        let name = name(did, number);
        if !store.create(&name, encode(&process)?).await? {
            continue;
        }
        // A store that knows no conditions lets several processes write, and the last one stays.
        if store.create(&name, encode(&process)?).await? {
            tracing::warn!(
                place = store.place(),
                "the place of the backup writes over what is there although it is asked not to"
            );
            tokio::time::sleep(SETTLES_AFTER).await;
        }
        match note(store, did, number).await {
            Ok(Some(found)) if found == process => return Ok(Life { number, process }),
            Ok(_) | Err(BackupError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(BackupError::Damaged {
        what: "no number is free for this process".to_owned(),
    })
}

/// Whether another process has taken over from life `ours`: it has the next number, or, where a store lets two processes take the same
/// one, this number.
///
/// # Errors
/// [`BackupError::OtherLife`] if so; the store's; `Damaged` when a note cannot be read, which does not tell.
pub async fn check(store: &dyn BackupStore, did: &Did, ours: &Life) -> Result<(), BackupError> {
    let next = ours.number.saturating_add(1);
    let theirs = if exists(store, did, next).await? {
        next
    } else {
        match note(store, did, ours.number).await? {
            Some(process) if process != ours.process => ours.number,
            _ => return Ok(()),
        }
    };
    Err(BackupError::OtherLife {
        ours: ours.number,
        theirs,
    })
}
