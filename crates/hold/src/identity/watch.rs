//! While the hold runs: the document is read again every hour, and a key is changed when the folder says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::plc::DirectoryError;
use atcr_hold_pds::identity::HoldIdentity;
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::IdentityError;
use super::establish::warn_of;
use super::folder::IdentityFolder;
use super::plc::{Plc, Wanted, named_key, names};

const READ_DOCUMENT: Task = Task::new("read_own_document");
const CHANGE_KEY: Task = Task::new("change_signing_key");
/// How often the document is read.
const DOCUMENT_INTERVAL: Duration = Duration::from_hours(1);
/// How often the folder is asked for a new key.
const FOLDER_INTERVAL: Duration = Duration::from_secs(2);
/// When a change is tried again that the directory did not take yet: at first, and at most.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(10), Duration::from_mins(10)];
/// After a lost answer the directory may have the operation although a copy of its log does not show it yet, and refuses to take it
/// twice. So many refusals are believed.
const BELIEVED_REFUSALS: u32 = 5;

/// The parts of a running hold that an identity concerns.
#[derive(Clone, Debug)]
pub(crate) struct IdentityWatch {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Arc<HoldIdentity>,
    folder: IdentityFolder,
    plc: Option<Plc>,
    repo: HoldRepo,
    resolver: Arc<dyn IdentityResolver>,
    clock: Arc<dyn Clock>,
    /// Writes are refused because the document names another key.
    is_foreign: AtomicBool,
    /// One thing at a time.
    turn: Mutex<KeyChange>,
}

/// How far a change of the key is that the directory has not confirmed.
#[derive(Debug, Default)]
struct KeyChange {
    /// The operation may have been taken: its answer was lost.
    is_perhaps_taken: bool,
    /// Refusals since then.
    refusals: u32,
    /// Tries that failed, and when the next one is due.
    failures: u32,
    not_before: Option<Instant>,
}

impl KeyChange {
    /// A try failed.
    fn failed(&mut self) {
        let wait = RETRY_AFTER[0].saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + wait.min(RETRY_AFTER[1]));
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityWatch")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Why a key was not changed, or the document not compared.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Files or directory.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

impl IdentityWatch {
    pub(crate) fn new(
        identity: Arc<HoldIdentity>,
        folder: IdentityFolder,
        plc: Option<Plc>,
        repo: HoldRepo,
        resolver: Arc<dyn IdentityResolver>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                identity,
                folder,
                plc,
                repo,
                resolver,
                clock,
                is_foreign: AtomicBool::new(false),
                turn: Mutex::default(),
            }),
        }
    }

    /// Watches until the soft shutdown.
    pub(crate) fn start(&self, shutdown: &Shutdown) {
        let watch = self.clone();
        READ_DOCUMENT.every_from(DOCUMENT_INTERVAL, DOCUMENT_INTERVAL, shutdown, move || {
            let watch = watch.clone();
            async move { watch.read_document().await }
        });
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

    /// Compares the document with the key that signs. While it names another one, writes are refused: this hold is not the one that the
    /// DID means. A document that cannot be read changes nothing.
    pub(crate) async fn read_document(&self) -> Result<(), WatchError> {
        let inner = &*self.inner;
        let _turn = inner.turn.lock().await;
        let did = inner.identity.did();
        let ours = inner.identity.public_key();
        let named = match &inner.plc {
            Some(plc) => {
                let log = plc.log(did).await?;
                if names(&log.data(), &ours) {
                    let update = plc
                        .keep_up(did, &log, &inner.wanted(&ours), &*inner.clock)
                        .await?;
                    warn_of(update, did);
                }
                named_key(&log.data())
            }
            None => match inner.resolver.refresh_document(did).await {
                Ok(document) => document
                    .signing_key()
                    .map_or_else(|| "none".to_owned(), |key| key.to_did_key()),
                Err(error) => {
                    tracing::warn!(%error, "the hold's own document cannot be read at its URL");
                    return Ok(());
                }
            },
        };
        inner.judge(&named, &ours).await
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
        const REASON: &str = "the signing key is being changed";
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

    async fn judge(&self, named: &str, ours: &PublicKey) -> Result<(), WatchError> {
        if named == ours.to_did_key() {
            if self.is_foreign.swap(false, Ordering::Relaxed) {
                tracing::info!("the hold's document names its key again: writes are taken again");
                self.repo.resume_writes().await?;
            }
            return Ok(());
        }
        let error = IdentityError::NamesAnotherKey {
            did: self.identity.did().clone(),
            named: named.to_owned(),
            ours: ours.to_did_key(),
        };
        tracing::error!(%error, "nothing is written until the document names this hold's key");
        self.is_foreign.store(true, Ordering::Relaxed);
        self.repo.pause_writes(&error.to_string()).await?;
        Ok(())
    }

    fn wanted(&self, key: &PublicKey) -> Wanted {
        Wanted {
            handle: self.identity.handle().to_owned(),
            endpoint: self.identity.endpoint().to_owned(),
            key: key.clone(),
        }
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
