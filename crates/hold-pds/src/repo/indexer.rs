//! The index follows the log while the next batch is on its way to the disk. Queries wait until it has what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::blocks::View;
use crate::error::RepoError;
use crate::index::{Index, RecordChange, state_of};

/// How long after a failure the index is tried again: at first, and at most.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

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
    retries: Backoff,
    retry_at: Instant,
}

/// Tells queries that they need not wait any longer, however the work ends; before that, how many batches the index lacks.
struct Reaching {
    reached: watch::Sender<u64>,
    seq: u64,
    lag: Arc<AtomicU64>,
    /// Batches that the index lacks unless the work is done.
    batches: u64,
}

impl Reaching {
    fn done(mut self) {
        self.lag.store(0, Ordering::Relaxed);
        self.batches = 0;
    }
}

impl Drop for Reaching {
    fn drop(&mut self) {
        self.lag.fetch_add(self.batches, Ordering::Relaxed);
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
            retries: Backoff::new(RETRY_AFTER[0], RETRY_AFTER[1]),
            retry_at: Instant::now(),
        }
    }

    /// Begins to bring the index up to `view`, to which the newest batch led by `changes`, once the batch before is in it. A write that is
    /// in the log is never refused for the index's sake; what fails is tried again with the next batch, or after a while.
    pub(super) async fn take(&mut self, view: &View, changes: Vec<RecordChange>) {
        self.finish().await;
        let reaching = Reaching {
            reached: self.reached.clone(),
            seq: view.last.0,
            lag: Arc::clone(&self.lag),
            batches: u64::from(!changes.is_empty()),
        };
        if changes.is_empty() && !self.is_behind {
            return;
        }
        let (index, view, is_behind) = (self.index.clone(), view.clone(), self.is_behind);
        self.work = Some(tokio::spawn(async move {
            let result = bring_up(&index, &view, &changes, is_behind).await;
            match &result {
                Ok(()) => reaching.done(),
                Err(error) => tracing::error!(%error, "the index lacks commits; it is tried again"),
            }
            result.is_ok()
        }));
    }

    /// Waits for the batch under way.
    pub(super) async fn finish(&mut self) {
        let Some(work) = &mut self.work else { return };
        let worked = work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the index lacks commits; it is tried again");
            false
        });
        self.work = None;
        self.is_behind = !worked;
        if worked {
            self.retries.worked();
        } else {
            self.retry_at = Instant::now() + self.retries.wait();
            self.retries.failed(std::time::Instant::now());
        }
    }

    /// Waits until an index that is behind has to be tried again, with a batch without changes; for ever, if it is not behind.
    pub(super) async fn retry(&mut self) {
        self.finish().await;
        if !self.is_behind {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.retry_at).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_batch_whose_work_panics_knows_that_the_index_lacks_it() {
        let lag = Arc::new(AtomicU64::new(0));
        let (reached, mut receiver) = watch::channel(1);
        let reaching = Reaching {
            reached,
            seq: 2,
            lag: Arc::clone(&lag),
            batches: 1,
        };
        let waiting = async {
            receiver.wait_for(|reached| *reached == 2).await.unwrap();
            lag.load(Ordering::Relaxed)
        };
        let work = tokio::spawn(async move {
            let _reaching = reaching;
            panic!("in the middle of a batch");
        });
        let (found, worked) = tokio::join!(waiting, work);
        assert!(worked.is_err());
        assert_eq!(found, 1);
    }
}
