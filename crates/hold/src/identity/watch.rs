//! While the hold runs: its document is read again every hour, and writes are refused while it names another key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::identity::IdentityResolver;
use atcr_hold_pds::identity::HoldIdentity;
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use tokio::sync::Mutex;

use super::IdentityError;
use super::establish::{DelayedKey, warn_of};
use super::folder::IdentityFolder;
use super::key_change::KeyChange;
use super::plc::{Plc, Wanted, named_key, names};

const READ_DOCUMENT: Task = Task::new("read_own_document");
/// How often the document is read.
const DOCUMENT_INTERVAL: Duration = Duration::from_hours(1);
/// The parts of a running hold that an identity concerns.
#[derive(Clone, Debug)]
pub(crate) struct IdentityWatch {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) identity: Arc<HoldIdentity>,
    pub(super) folder: IdentityFolder,
    pub(super) plc: Option<Plc>,
    pub(super) repo: HoldRepo,
    pub(super) resolver: Arc<dyn IdentityResolver>,
    pub(super) clock: Arc<dyn Clock>,
    /// Writes are refused because the document names another key.
    pub(super) is_foreign: AtomicBool,
    /// One thing at a time.
    pub(super) turn: Mutex<KeyChange>,
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
    /// `delayed`: a change of the key that the start could not finish.
    pub(crate) fn new(
        identity: Arc<HoldIdentity>,
        folder: IdentityFolder,
        plc: Option<Plc>,
        repo: HoldRepo,
        resolver: Arc<dyn IdentityResolver>,
        clock: Arc<dyn Clock>,
        delayed: Option<&DelayedKey>,
    ) -> Self {
        let change = delayed.map(|delayed| KeyChange::delayed(delayed.is_perhaps_taken));
        Self {
            inner: Arc::new(Inner {
                identity,
                folder,
                plc,
                repo,
                resolver,
                clock,
                is_foreign: AtomicBool::new(false),
                turn: Mutex::new(change.unwrap_or_default()),
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
        self.start_key_changes(shutdown);
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
}

impl Inner {
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

    /// What the directory's entry should say while `key` signs.
    pub(super) fn wanted(&self, key: &PublicKey) -> Wanted {
        Wanted {
            handle: self.identity.handle().to_owned(),
            endpoint: self.identity.endpoint().to_owned(),
            key: key.clone(),
        }
    }
}
