//! States that did not come of the log's commits: a snapshot is made of them, and a `#sync` tells subscribers.

use std::sync::Arc;

use atcr_atproto::syntax::Cid;
use atcr_repo::{Block, commit};

use super::{Engine, no_blocks};
use crate::error::RepoError;
use crate::head::Head;
use crate::import::staging::Staging;
use crate::snapshot::{self, SnapshotJob};

impl Engine {
    /// Makes the tree `data`, whose new blocks are in `staging`, the repository's state. After an error the state is the old
    /// one, or the new one; the next opening tells subscribers of the new one if this call did not.
    pub(crate) fn adopt(&mut self, mut staging: Staging, data: Cid) -> Result<(), RepoError> {
        self.check_clock()?;
        let rev = self.builder.tids.next_tid();
        if self.view.head.rev >= rev {
            return Err(RepoError::corrupt(
                "no revision is left that is greater than the newest one",
            ));
        }
        let block = commit::sign(&self.builder.did, &rev, data, &self.builder.signing_key)?;
        staging.put(&block)?;
        let head = Head {
            seq: self.view.last.0,
            commit: block.cid,
            rev,
            data,
        };
        let job = SnapshotJob {
            disk: Arc::clone(self.log.disk()),
            view: staging.view(head.clone())?,
            stop: Arc::default(),
            is_perhaps_named: false,
        };
        let snapshot = job.run()?.ok_or(RepoError::Closed)?;
        let info = snapshot.info.clone();
        let old = self.view.blocks.snapshot.clone();
        self.log.update_manifest(|manifest| {
            manifest.snapshot = Some(info);
            manifest.owes_sync = true;
        })?;
        self.view.blocks = Arc::new(no_blocks(Some(Arc::new(snapshot))));
        self.view.head = head;
        self.refresh();
        if let Some(old) = old {
            snapshot::remove(&**self.log.disk(), &old.info.rev);
        }
        self.announce_state()
    }

    /// The commit object of the head.
    pub(super) fn newest_commit(&self) -> Result<Block, RepoError> {
        let cid = self.view.head.commit;
        Ok(Block {
            cid,
            bytes: self.view.block(&cid)?,
        })
    }

    /// The `#sync` of the newest commit, which the manifest says is owed.
    pub(super) fn announce_state(&mut self) -> Result<(), RepoError> {
        let head = self.view.head.clone();
        let commit = self.newest_commit()?;
        let mut last = self.view.last.0;
        let entry = self.builder.sync(&head, &commit, &mut last)?;
        self.store(&[entry], head)?;
        // A crash before this repeats the event, which does no harm.
        self.log.update_manifest(|manifest| manifest.owes_sync = false)
    }
}
