//! Uploads what the repository has and the backup does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::{Clock, moved};
use atcr_hold_pds::{BackupFile, HoldRepo};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::life::{self, Life};
use super::{BackupError, BackupStore, Head, Stored, StoredFile, account, check, download, one_piece};
use crate::blobs::{ObjectBytes, StoreError};

/// The task, in logs and metrics.
pub const STANDING: Task = Task::new("back_up_repository");

/// Parts of one file; then they are uploaded anew as one.
const MAX_PARTS: usize = 64;
/// Bytes read at once.
const PIECE: usize = 1024 * 1024;
/// How often what should be there is looked for; the first time at the first round.
const CHECK_EVERY: TimeDelta = TimeDelta::days(1);
/// When that is tried again after it failed.
const CHECK_AGAIN_AFTER: TimeDelta = TimeDelta::hours(1);
/// How long an upload may take that is not given up.
const UNFINISHED_FOR: TimeDelta = TimeDelta::days(1);
/// Counts files of the backup that were found incomplete, and uploaded again.
const LOST: &str = "atcr_hold_backup_lost_files_total";
/// Seconds since everything was in the backup.
const BEHIND: &str = "atcr_hold_backup_behind_seconds";

/// How far the backup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupStatus {
    /// The newest event in it; 0 before the first round.
    pub seq: u64,
    /// When everything was in it for the last time.
    complete_at: Option<Instant>,
    started_at: Instant,
}

impl BackupStatus {
    /// How long ago everything was in the backup, given the repository's newest event.
    #[must_use]
    pub fn behind(&self, newest_seq: u64) -> Duration {
        if self.seq == newest_seq {
            return Duration::ZERO;
        }
        self.complete_at.unwrap_or(self.started_at).elapsed()
    }
}

/// The backup of one repository. Clones share everything.
#[derive(Clone, Debug)]
pub struct Backup {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn BackupStore>,
    repo: HoldRepo,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    status: watch::Sender<BackupStatus>,
}

#[derive(Debug, Default)]
struct State {
    life: Option<Life>,
    /// What is there, as far as this process knows.
    head: Option<Head>,
    /// When that is compared with what is there.
    check_at: Option<DateTime<Utc>>,
    /// Files of `head` that are not whole any more.
    lost: BTreeSet<String>,
    /// This life's pointer is gone.
    is_head_lost: bool,
}

impl Backup {
    /// The backup of `repo` in `store`. Nothing is asked of the store yet.
    #[must_use]
    pub fn new(repo: HoldRepo, store: Arc<dyn BackupStore>, clock: Arc<dyn Clock>) -> Self {
        let (status, _) = watch::channel(BackupStatus {
            seq: 0,
            complete_at: None,
            started_at: Instant::now(),
        });
        Self {
            shared: Arc::new(Shared {
                store,
                repo,
                clock,
                state: Mutex::default(),
                status,
            }),
        }
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> BackupStatus {
        self.shared.status.borrow().clone()
    }

    /// How long ago everything was in the backup.
    #[must_use]
    pub fn behind(&self) -> Duration {
        self.status().behind(*self.shared.repo.watch_seq().borrow())
    }

    /// Uploads every `interval` from now on, until the soft shutdown.
    pub fn start(&self, interval: Duration, shutdown: &Shutdown) {
        let backup = self.clone();
        STANDING.every(interval, shutdown, move || {
            let backup = backup.clone();
            async move {
                let outcome = backup.round().await;
                metrics::gauge!(BEHIND).set(backup.behind().as_secs_f64());
                outcome
            }
        });
    }

    /// Uploads what is missing. A process that has been taken over stops writing to the repository here.
    ///
    /// # Errors
    /// [`BackupError`]; the next round goes on from where this one ended.
    pub async fn round(&self) -> Result<(), BackupError> {
        // One round at a time: the lock is this task's own, and no request waits for it.
        let mut state = self.shared.state.lock().await;
        let outcome = self.shared.round(&mut state).await;
        self.stop_if_other(&outcome);
        outcome
    }

    fn stop_if_other(&self, outcome: &Result<(), BackupError>) {
        if let Err(error @ (BackupError::OtherLife { .. } | BackupError::OlderCopy { .. })) = outcome {
            self.shared.repo.stop_writing(error.to_string());
        }
    }
}

impl Shared {
    async fn round(&self, state: &mut State) -> Result<(), BackupError> {
        let did = self.repo.did();
        let life = match state.life.clone() {
            Some(life) => {
                life::check(&*self.store, did, &life).await?;
                life
            }
            None => {
                // Before a life is taken: a copy that may not go on must not stop the hold that may.
                state.head = self.found_head().await?;
                let life = life::begin(&*self.store, did).await?;
                tracing::info!(
                    life = life.number,
                    place = self.store.place(),
                    "the repository is backed up"
                );
                state.life = Some(life.clone());
                life
            }
        };
        self.check_if_due(state, &life).await?;
        let view = self.repo.backup_view();
        let log_id = view.log_id();
        let known = state.head.as_ref().filter(|head| head.log_id == log_id);
        let must_upload =
            state.is_head_lost || !state.lost.is_empty() || self.status.borrow().complete_at.is_none();
        if !must_upload && known.is_some_and(|known| known.seq == view.seq()) {
            return Ok(());
        }
        let folder = format!("{}/{log_id}", account(did));
        let known: BTreeMap<&str, &StoredFile> = known
            .iter()
            .flat_map(|head| &head.files)
            .filter(|file| !state.lost.contains(&file.name))
            .map(|file| (&*file.name, file))
            .collect();
        let mut files = Vec::new();
        for file in view.files() {
            let stored = self
                .upload(&folder, &file, known.get(&*file.name).copied())
                .await?;
            files.push(stored);
        }
        let manifest = String::from_utf8(view.manifest()?).map_err(|_| BackupError::Damaged {
            what: "the list of files is no text".to_owned(),
        })?;
        let head = Head::new(
            did.clone(),
            log_id,
            (view.seq(), view.rev().clone()),
            Some(self.repo.public_key().to_did_key()),
            self.clock.now_datetime(),
            manifest,
            files,
        );
        // Another process may have taken over while this one uploaded.
        life::check(&*self.store, did, &life).await?;
        let bytes = head.encode()?;
        let size = bytes.len() as u64;
        let name = life::head_name(did, life.number);
        self.store.put(&name, one_piece(bytes), size).await?;
        state.lost.clear();
        state.is_head_lost = false;
        let old = state.head.replace(head.clone());
        self.status.send_modify(|status| {
            status.seq = head.seq;
            status.complete_at = Some(Instant::now());
        });
        self.remove_unused(&folder, old.as_ref(), &head).await;
        Ok(())
    }

    /// Looks once a day for everything that should be there, so that it is uploaded again if it is not.
    async fn check_if_due(&self, state: &mut State, life: &Life) -> Result<(), BackupError> {
        let now = self.clock.now();
        if state.check_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let checked = self.check(state, life).await;
        let pause = match &checked {
            Ok(()) => CHECK_EVERY,
            Err(_) => CHECK_AGAIN_AFTER,
        };
        state.check_at = now.checked_add_signed(pause);
        match checked {
            Err(error @ BackupError::OtherLife { .. }) => Err(error),
            Err(error) => {
                // What is new is uploaded all the same.
                tracing::error!(%error, "whether the backup is still whole cannot be looked up");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn check(&self, state: &mut State, life: &Life) -> Result<(), BackupError> {
        let (store, did) = (&*self.store, self.repo.did());
        let lives = life::list(store, did).await?;
        if lives.newest() > life.number {
            return Err(BackupError::OtherLife {
                ours: life.number,
                theirs: lives.newest(),
            });
        }
        if !lives.taken.contains(&life.number) {
            tracing::error!(
                life = life.number,
                place = store.place(),
                "THE NOTE OF THIS LIFE IS GONE FROM THE BACKUP; it is written again"
            );
            life::take_again(store, did, life).await?;
        }
        let is_written = self.status.borrow().complete_at.is_some();
        state.is_head_lost = is_written && !lives.heads.contains(&life.number);
        let mut unnamed = BTreeSet::new();
        if let Some(head) = &state.head {
            let found = check::compare(store, head).await?;
            (state.lost, unnamed) = (found.incomplete, found.unnamed);
        }
        if state.is_head_lost || !state.lost.is_empty() {
            metrics::counter!(LOST).increment(state.lost.len() as u64);
            tracing::error!(
                files = ?state.lost, list = state.is_head_lost, place = store.place(),
                "PARTS OF THE BACKUP ARE GONE, and are uploaded again: look for what removes them, such as a rule of the bucket"
            );
        }
        match self.sweep(state.head.as_ref(), &unnamed, life).await {
            Err(error @ BackupError::OtherLife { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "objects that the backup does not need stay; it is tried again tomorrow");
            }
            Ok(()) => {}
        }
        if let Err(error) = life::forget_old(store, did, &lives, life.number).await {
            tracing::warn!(%error, "what is left of long ended lives stays in the backup; it is tried again tomorrow");
        }
        Ok(())
    }

    /// Removes what processes have left that ended in the middle of an upload. `unnamed` are objects that `head` does not name.
    async fn sweep(
        &self,
        head: Option<&Head>,
        unnamed: &BTreeSet<String>,
        life: &Life,
    ) -> Result<(), BackupError> {
        let (store, did) = (&*self.store, self.repo.did());
        // What was listed may be that of another life, which began before it uploaded anything and writes its pointer last.
        life::check(store, did, life).await?;
        // A pointer whose upload seemed to fail may be there all the same, and names what was uploaded for it.
        if !unnamed.is_empty() && download::newest_head(store, did).await.ok().as_ref() == head {
            for name in unnamed {
                store.delete(name).await?;
            }
            tracing::info!(
                objects = unnamed.len(),
                "objects that no list of the backup names were removed"
            );
        }
        let before = moved(self.clock.now(), -UNFINISHED_FOR);
        let removed = store.remove_unfinished(&account(did), before).await?;
        if removed > 0 {
            tracing::info!(
                uploads = removed,
                "uploads to the backup that never ended were removed"
            );
        }
        Ok(())
    }

    /// What the newest of the lives before this one has uploaded, unless this folder is an older copy. What the copy has written since
    /// it was opened makes it no newer.
    async fn found_head(&self) -> Result<Option<Head>, BackupError> {
        let head = match download::newest_head(&*self.store, self.repo.did()).await {
            Ok(head) => head,
            Err(BackupError::None { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.repo.lacks(&head.newest_event()).await? {
            return Err(BackupError::OlderCopy {
                backup: head.seq,
                found: self.repo.found_seq(),
            });
        }
        Ok(Some(head))
    }

    /// Uploads what is missing of a file.
    async fn upload(
        &self,
        folder: &str,
        file: &BackupFile,
        known: Option<&StoredFile>,
    ) -> Result<StoredFile, BackupError> {
        let mut objects = known.map(|known| known.objects.clone()).unwrap_or_default();
        let there = known.map_or(0, StoredFile::bytes);
        if there > file.bytes {
            return Err(BackupError::Damaged {
                what: format!("{} is longer there than here", file.name),
            });
        }
        let is_joined = objects.len() <= 1;
        if there < file.bytes || (file.is_final && !is_joined) {
            let from = if file.is_final || objects.len() >= MAX_PARTS {
                objects.clear();
                0
            } else {
                there
            };
            let object = object_name(file, from);
            let size = file.bytes - from;
            let name = format!("{folder}/{object}");
            self.store.put(&name, pieces(file.clone(), from), size).await?;
            objects.push(Stored {
                object,
                from,
                to: file.bytes,
            });
        }
        Ok(StoredFile {
            name: file.name.clone(),
            objects,
        })
    }

    /// What stays behind costs room and nothing else.
    async fn remove_unused(&self, folder: &str, old: Option<&Head>, new: &Head) {
        let objects = |head: &Head| -> BTreeSet<String> {
            let objects = head.files.iter().flat_map(|file| &file.objects);
            objects.map(|part| part.object.clone()).collect()
        };
        let Some(old) = old.filter(|old| old.log_id == new.log_id) else {
            return;
        };
        for object in objects(old).difference(&objects(new)) {
            if let Err(error) = self.store.delete(&format!("{folder}/{object}")).await {
                tracing::warn!(%error, object, "an object that the backup does not need stays");
            }
        }
    }
}

/// Segments that are written are uploaded in parts, which are named by their bytes.
fn object_name(file: &BackupFile, from: u64) -> String {
    let folder = if file.name.ends_with(".car") {
        "snap"
    } else {
        "log"
    };
    if file.is_final {
        return format!("{folder}/{}", file.name);
    }
    let stem = file.name.trim_end_matches(".seg");
    format!("{folder}/{stem}.{from}-{}", file.bytes)
}

fn pieces(file: BackupFile, from: u64) -> ObjectBytes {
    stream::try_unfold((file, from), |(file, from)| async move {
        let left = file.bytes - from;
        if left == 0 {
            return Ok(None);
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
        let piece = file
            .read(from, length)
            .await
            .map_err(|error| StoreError::unavailable("read the repository", error))?;
        let next = from + length as u64;
        Ok(Some((piece, (file, next))))
    })
    .boxed()
}
