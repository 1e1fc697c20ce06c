//! Changing the signing key of a hold that runs: the folder has a new key, the directory is told, then it signs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::plc::DirectoryError;
use atcr_hold_pds::RepoError;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use tokio::time::Instant;

use super::IdentityError;
use super::plc::{named_key, names};
use super::watch::{IdentityWatch, Inner, WatchError};

const CHANGE_KEY: Task = Task::new("change_signing_key");
/// How often the folder is asked for a new key.
const FOLDER_INTERVAL: Duration = Duration::from_secs(2);
/// When a change is tried again that the directory did not take yet: at first, and at most.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(10), Duration::from_mins(10)];
/// After a lost answer the directory may have the operation although a copy of its log does not show it yet, and refuses to take it
/// twice. So many refusals are believed.
const BELIEVED_REFUSALS: u32 = 5;

/// Why writes are refused meanwhile.
pub(crate) const REASON: &str = "the signing key is being changed";

/// How far a change of the key is that the directory has not confirmed.
#[derive(Debug, Default)]
pub(super) struct KeyChange {
    /// The operation may have been taken: its answer was lost.
    is_perhaps_taken: bool,
    /// Refusals since then.
    refusals: u32,
    /// Tries that failed, and when the next one is due.
    failures: u32,
    not_before: Option<Instant>,
}

impl KeyChange {
    /// After a start at which the directory did not take the key.
    pub(super) fn delayed(is_perhaps_taken: bool) -> Self {
        let mut change = Self {
            is_perhaps_taken,
            ..Self::default()
        };
        change.failed();
        change
    }

    /// A try failed.
    fn failed(&mut self) {
        let wait = RETRY_AFTER[0].saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + wait.min(RETRY_AFTER[1]));
    }
}

impl IdentityWatch {
    /// Looks for a new key until the soft shutdown.
    pub(super) fn start_key_changes(&self, shutdown: &Shutdown) {
        let watch = self.clone();
        CHANGE_KEY.every(FOLDER_INTERVAL, shutdown, move || {
            let watch = watch.clone();
            async move { watch.change_key_if_due().await }
        });
    }

    /// As [`change_key_if_asked`](Self::change_key_if_asked), but not soon after the directory did not take it.
    async fn change_key_if_due(&self) -> Result<(), WatchError> {
        let not_before = self.inner.turn.lock().await.not_before;
        if not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        self.change_key_if_asked().await
    }

    /// Changes the signing key if the folder has a new one.
    pub(crate) async fn change_key_if_asked(&self) -> Result<(), WatchError> {
        let inner = &*self.inner;
        let mut change = inner.turn.lock().await;
        let Some(next) = inner.folder.next_key()? else {
            *change = KeyChange::default();
            return Ok(());
        };
        // A hold that was taken over must not take the identity from the one that goes on.
        if let Some(reason) = inner.repo.why_halted() {
            return Err(RepoError::Halted {
                reason: reason.to_owned(),
            }
            .into());
        }
        let old = inner.identity.public_key();
        let published = inner.publish(&next, &old, &mut change).await;
        if published.is_err() {
            change.failed();
        }
        published?;
        inner.identity.change_signing_key(next.clone());
        inner.repo.change_key(next.clone()).await?;
        inner.folder.promote_next_key()?;
        inner.is_foreign.store(false, Ordering::Relaxed);
        inner.repo.resume_writes().await?;
        *change = KeyChange::default();
        tracing::info!(
            %old, new = %next.public_key(),
            "the signing key was changed; an export of the keys from before does not have the new one"
        );
        Ok(())
    }
}

impl Inner {
    /// Nothing is signed by the old key once the document may name the new one.
    async fn publish(
        &self,
        next: &SigningKey,
        old: &PublicKey,
        change: &mut KeyChange,
    ) -> Result<(), WatchError> {
        let Some(plc) = &self.plc else {
            self.repo.pause_writes(REASON).await?;
            return Ok(());
        };
        let did = self.identity.did();
        let log = plc.log(did).await?;
        let next = next.public_key();
        if !names(&log.data(), &next) && !names(&log.data(), old) {
            return Err(IdentityError::NamesAnotherKey {
                did: did.clone(),
                named: named_key(&log.data()),
                ours: old.to_did_key(),
            }
            .into());
        }
        self.repo.pause_writes(REASON).await?;
        let published = plc.publish(did, &log, &self.wanted(&next)).await;
        match &published {
            Ok(()) => {}
            Err(error) if is_final(error) => {
                change.refusals = change.refusals.saturating_add(1);
                if !change.is_perhaps_taken || change.refusals >= BELIEVED_REFUSALS {
                    *change = KeyChange::default();
                    self.folder.give_up_next_key()?;
                    self.repo.resume_writes().await?;
                }
            }
            // It was not taken, and may not be for an hour: the old key signs meanwhile.
            Err(IdentityError::Directory(DirectoryError::Busy { .. })) if !change.is_perhaps_taken => {
                self.repo.resume_writes().await?;
            }
            Err(_) => {
                change.is_perhaps_taken = true;
                change.refusals = 0;
            }
        }
        Ok(published?)
    }
}

/// Whether the directory will not have the change, now or later.
fn is_final(error: &IdentityError) -> bool {
    match error {
        IdentityError::NoRotationKey { .. } => true,
        IdentityError::Directory(error) => !error.is_transient(),
        _ => false,
    }
}
