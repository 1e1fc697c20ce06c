//! The index follows the log while the next batch is on its way to the disk. Queries wait until it has what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::blocks::View;
use crate::error::RepoError;
use crate::index::{Index, RecordChange, state_of};

/// Brings the index up to one batch at a time.
#[derive(Debug)]
pub(super) struct Indexer {
    index: Index,
    /// The last batch is not in the index.
    is_behind: bool,
    /// Batches that the index lacks.
    lag: Arc<AtomicU64>,
    /// The newest event up to which the index is, or could not be brought.
    reached: watch::Sender<u64>,
    /// The batch under way; whether it is in the index then.
    work: Option<JoinHandle<bool>>,
}

/// Tells queries that they need not wait any longer, however the work ends.
struct Reaching {
    reached: watch::Sender<u64>,
    seq: u64,
}

impl Drop for Reaching {
    fn drop(&mut self) {
        self.reached.send_replace(self.seq);
    }
}

impl Indexer {
    pub(super) fn new(index: Index, lag: Arc<AtomicU64>, reached: watch::Sender<u64>) -> Self {
        Self {
            index,
            is_behind: false,
            lag,
            reached,
            work: None,
        }
    }

    /// Begins to bring the index up to `view`, to which the newest batch led by `changes`, once the batch before is in it. A write that is
    /// in the log is never refused for the index's sake; the next batch tries again.
    pub(super) async fn take(&mut self, view: &View, changes: Vec<RecordChange>) {
        self.finish().await;
        let reaching = Reaching {
            reached: self.reached.clone(),
            seq: view.last.0,
        };
        if changes.is_empty() && !self.is_behind {
            return;
        }
        let (index, view, is_behind) = (self.index.clone(), view.clone(), self.is_behind);
        let lag = Arc::clone(&self.lag);
        self.work = Some(tokio::spawn(async move {
            let _reaching = reaching;
            let result = bring_up(&index, &view, &changes, is_behind).await;
            match &result {
                Ok(()) => lag.store(0, Ordering::Relaxed),
                Err(error) => {
                    lag.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "the index lacks commits; the next write adds them");
                }
            }
            result.is_ok()
        }));
    }

    /// Waits for the batch under way.
    pub(super) async fn finish(&mut self) {
        if let Some(work) = self.work.take() {
            self.is_behind = !work.await.unwrap_or_else(|error| {
                tracing::error!(%error, "the index lacks commits; the next write adds them");
                self.lag.fetch_add(1, Ordering::Relaxed);
                false
            });
        }
    }
}

async fn bring_up(
    index: &Index,
    view: &View,
    changes: &[RecordChange],
    is_behind: bool,
) -> Result<(), RepoError> {
    if is_behind {
        index.follow(view).await
    } else {
        index.apply(changes, state_of(view)).await
    }
}
