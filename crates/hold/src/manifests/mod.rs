//! What the hold remembers of manifests: which layers they keep, and how often they are pushed and pulled.
//!
//! - [`Notice`]: what an AppView says of one manifest, checked
//! - [`ManifestNotices`]: takes notices; one task behind it writes them down, many in one commit when many come at once

mod notice;
mod recorder;

use atcr_hold_pds::access::{BlobRead, BlobWrite, Granted};
use atcr_hold_pds::{HoldRepo, RepoError};
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::blobs::BlobService;

pub use notice::{InvalidNotice, Notice};
pub use recorder::Recorded;
use recorder::{Entry, Event, Recorder};

/// Notices waiting to be written; beyond that, callers wait to hand theirs in.
const MAILBOX: usize = 256;

/// Why a notice was not written down.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// A push in the name of somebody else.
    #[error("the token is not that of the manifest's owner")]
    UserMismatch,
    /// The repository failed.
    #[error("the notice could not be recorded")]
    Repo(#[from] RepoError),
    /// The process is stopping.
    #[error("the hold is stopping")]
    Stopped,
}

/// Takes notices. Clones hand them to the same recorder, which ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct ManifestNotices {
    mailbox: mpsc::Sender<Entry>,
    blobs: BlobService,
}

impl ManifestNotices {
    /// Starts the recorder of `repo`, for layers in `blobs`; the handle ends once every clone is dropped and every notice taken is written.
    #[must_use]
    pub fn start(repo: HoldRepo, blobs: BlobService, clock: Arc<dyn Clock>) -> (Self, JoinHandle<()>) {
        let (mailbox, entries) = mpsc::channel(MAILBOX);
        let recorder = tokio::spawn(Recorder::new(repo, clock).run(entries));
        (Self { mailbox, blobs }, recorder)
    }

    /// Writes down a push: a record for each layer that the manifest does not have one for yet, and the count. Layers that are here
    /// count with their real size, whatever the notice says.
    ///
    /// # Errors
    /// [`NoticeError::UserMismatch`] when the manifest belongs to somebody else; [`NoticeError::Repo`]: try again, what was
    /// written already is not written twice.
    ///
    /// # Cancel safety
    /// A notice that was taken is written even if its caller leaves.
    pub async fn pushed(
        &self,
        grant: &Granted<BlobWrite>,
        mut notice: Notice,
    ) -> Result<Recorded, NoticeError> {
        if notice.owner != *grant.subject() {
            return Err(NoticeError::UserMismatch);
        }
        notice.weigh(&self.blobs).await;
        self.hand_in(Event::Push, notice).await
    }

    /// Counts a pull, if the manifest was ever pushed here.
    ///
    /// # Errors
    /// [`NoticeError::Repo`].
    ///
    /// # Security
    /// Whoever may read may count, so nothing is written about repositories that this hold does not know.
    pub async fn pulled(&self, _: &Granted<BlobRead>, notice: Notice) -> Result<Recorded, NoticeError> {
        self.hand_in(Event::Pull, notice).await
    }

    async fn hand_in(&self, event: Event, notice: Notice) -> Result<Recorded, NoticeError> {
        let (answer, answered) = oneshot::channel();
        let entry = Entry {
            event,
            notice,
            answer,
        };
        self.mailbox.send(entry).await.map_err(|_| NoticeError::Stopped)?;
        Ok(answered.await.map_err(|_| NoticeError::Stopped)??)
    }
}
