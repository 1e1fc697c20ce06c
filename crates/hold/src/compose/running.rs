//! What a hold that is open does until it is closed.

use std::time::Duration;

use atcr_hold_pds::HoldRepo;
use atcr_server::Shutdown;
use atcr_server::health;
use axum::Router;

use super::{BACKUP_AT_END, FOLLOWERS_END_WITHIN, Hold, SWEEP_INTERVAL, StartError};
use crate::backup::{Backup, BackupError};
use crate::blobs::{BlobService, SWEEP};
use crate::edge::relays;
use crate::gc::Gc;
use crate::manifests::Counts;
use crate::relays::Announcements;
use crate::repo_blobs::{RepoBlobs, SWEEP as SWEEP_REPO_BLOBS};
use crate::scanning::Scanning;
use crate::settings::HoldSettings;

/// How long a run of the garbage collection may take to its next step when the process ends.
const END_OF_RUN: Duration = Duration::from_secs(10);

impl Hold {
    /// The routes of the metrics listener: which parts do not work, and how far each relay is.
    pub fn operator_routes(&self) -> Router {
        health::operator_routes(self.readiness.clone())
            .merge(relays::operator_routes(self.announcements.clone()))
    }

    /// The relays, and how far each is.
    #[must_use]
    pub fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    /// The routes, to be served.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> &HoldRepo {
        &self.repo
    }

    /// The blob service, without its guard.
    #[must_use]
    pub fn blobs(&self) -> &BlobService {
        &self.blobs
    }

    /// The garbage collection.
    #[must_use]
    pub fn gc(&self) -> &Gc {
        &self.gc
    }

    /// Images to be scanned.
    #[must_use]
    pub fn scanning(&self) -> &Scanning {
        &self.scanning
    }

    /// Blobs that the hold's records refer to.
    #[must_use]
    pub fn repo_blobs(&self) -> &RepoBlobs {
        &self.repo_blobs
    }

    /// Removes expired uploads, and blobs that no record refers to, from now on until the soft shutdown.
    pub fn start_sweeper(&self, shutdown: &Shutdown) {
        let repo_blobs = self.repo_blobs.clone();
        SWEEP_REPO_BLOBS.every(SWEEP_INTERVAL, shutdown, move || {
            let repo_blobs = repo_blobs.clone();
            async move { repo_blobs.sweep().await.map(drop) }
        });
        let blobs = self.blobs.clone();
        SWEEP.every(SWEEP_INTERVAL, shutdown, move || {
            let blobs = blobs.clone();
            async move { blobs.sweep_expired().await.map(drop) }
        });
    }

    /// Saves the uptime, and runs the garbage collection at night if the settings say so, until the soft shutdown.
    pub fn start_collection(&self, shutdown: &Shutdown) {
        self.gc.start(shutdown);
    }

    /// Reads the hold's document from now on, and changes its key when the folder has a new one, until the soft shutdown.
    pub fn start_identity_watch(&self, shutdown: &Shutdown) {
        self.identity.start(shutdown);
    }

    /// Reads the hold's document now. Writes are refused while it names another key.
    ///
    /// # Errors
    /// A directory that cannot be asked, or that no longer has the DID.
    pub async fn read_own_document(&self) -> Result<(), StartError> {
        Ok(self.identity.read_document().await?)
    }

    /// Changes the signing key if the folder has a new one.
    ///
    /// # Errors
    /// A directory or a disk that does not take it; the old key signs on, or nothing is written until the change works.
    pub async fn change_key_if_asked(&self) -> Result<(), StartError> {
        Ok(self.identity.change_key_if_asked().await?)
    }

    /// Publishes counts of pushes and pulls from now on, until the soft shutdown. The end of the process publishes the rest.
    pub fn start_publishing(&self, shutdown: &Shutdown) {
        self.counts.start_publishing(shutdown);
    }

    /// The counts of pushes and pulls.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Copies what is new in the repository to the backup from now on, until the soft shutdown.
    pub fn start_backup(&self, settings: &HoldSettings, shutdown: &Shutdown) {
        match &self.backup {
            Some(backup) => backup.start(settings.backup_interval.get(), shutdown),
            None => tracing::warn!(
                "THE REPOSITORY IS NOT BACKED UP: if this disk is lost, the hold's identity and records are lost. Name a folder on \
                 another disk in backup.path, or a bucket in backup.bucket"
            ),
        }
    }

    /// Copies what is new in the repository to the backup now, if there is one.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn back_up(&self) -> Result<(), BackupError> {
        match &self.backup {
            Some(backup) => backup.round().await,
            None => Ok(()),
        }
    }

    /// How long ago everything was in the backup; `None` without one.
    #[must_use]
    pub fn backup_behind(&self) -> Option<Duration> {
        self.backup.as_ref().map(Backup::behind)
    }

    /// Finishes the accepted work, sends subscribers the last events, and closes everything. The routes must no longer be served. Waits at
    /// most `patience` for blobs that are being completed: a client that asks for the completion again gets the rest done. Subscribers
    /// and the backup get a few seconds even without patience.
    pub async fn close(self, patience: Duration) {
        let Self {
            router,
            gc,
            scanning,
            repo,
            blobs,
            repo_blobs,
            database,
            completions,
            recorder,
            readiness,
            announcements: _,
            identity,
            backup,
            counts,
            followers,
        } = self;
        completions.close();
        if tokio::time::timeout(patience, completions.wait()).await.is_err() {
            tracing::warn!(
                unfinished = completions.len(),
                "some uploads were not completed in time"
            );
        }
        // The recorder ends when the last handler that could hand it a notice is gone.
        drop((router, scanning, readiness, identity));
        if let Err(error) = recorder.await {
            tracing::error!(%error, "the recorder of manifests failed");
        }
        drop((blobs, repo_blobs));
        if let Err(error) = counts.publish_now().await {
            tracing::warn!(%error, "the latest counts are published at the next start");
        }
        gc.stop();
        let longest = END_OF_RUN.min(patience.max(Duration::from_secs(1)));
        if tokio::time::timeout(longest, gc.until_idle()).await.is_err() {
            tracing::warn!("the garbage collection is cut off; the next run goes on with it");
        }
        if let Err(error) = gc.save().await {
            tracing::warn!(%error, "ages of condemned blobs start anew at the next start");
        }
        drop(gc);
        // The last event has been written. Subscribers get everything before the goodbye: the next start may have another signing key,
        // and does not serve what this one signed.
        followers.begin();
        let last_copy = async {
            let Some(backup) = backup else { return };
            let last = BACKUP_AT_END.min(patience.max(Duration::from_secs(1)));
            match tokio::time::timeout(last, backup.round()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the last events are not in the backup"),
                Err(_) => tracing::warn!("the last events are not in the backup: it took too long"),
            }
        };
        tokio::join!(followers.drain(FOLLOWERS_END_WITHIN), last_copy);
        repo.close().await;
        database.close().await;
    }
}
