//! Writing: one task makes every commit.
//!
//! Callers queue in a bounded mailbox. The task takes whatever waits there, makes commits of it, appends them to the log
//! with one sync, indexes them, and only then answers. While it waits for the disk the next batch gathers.

mod batch;
mod commit_builder;
pub mod limits;
mod prepare;
mod workspace;
mod write;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

pub use write::{Precondition, RecordRef, RecordWrite, WriteOutcome};

pub(crate) use commit_builder::{CommitBuilder, Content};
pub(crate) use prepare::{PreparedCall, prepare};

use crate::error::RepoError;
use crate::head::Head;
use crate::store::apply::{PlacedFrame, damage};
use crate::store::block_log::{AppendError, blocking};
use crate::store::frame::Frame;
use crate::store::{Pins, Store, recovery};
use batch::Batch;

/// Calls that wait; more callers wait for a place.
pub(crate) const MAILBOX: usize = 256;
/// Bytes of the log after which a batch is synced, however many calls still wait.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

pub(crate) type Reply = oneshot::Sender<Result<WriteOutcome, RepoError>>;

/// One caller's writes, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) prepared: PreparedCall,
    pub(crate) reply: Reply,
}

/// What the mailbox takes.
#[derive(Debug)]
pub(crate) enum Message {
    Write(Call),
    /// Take no more; what waits is still done.
    Close,
}

/// The task that makes commits. Ends when it is told to, or when nobody is left who could write.
#[derive(Debug)]
pub(crate) struct RepoWriter {
    pub(crate) store: Arc<Store>,
    pub(crate) builder: CommitBuilder,
    pub(crate) pins: Pins,
    /// The newest commit in the log and the index.
    pub(crate) head: watch::Sender<Head>,
    pub(crate) seq: watch::Sender<u64>,
    pub(crate) log_end: u64,
    /// The log is indexed up to here.
    pub(crate) indexed_end: u64,
    /// The log's end is unknown.
    pub(crate) failed: bool,
}

impl RepoWriter {
    pub(crate) async fn run(mut self, mut mailbox: mpsc::Receiver<Message>) {
        let mut queue = VecDeque::new();
        while let Some(message) = mailbox.recv().await {
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Write(call) => queue.push_back(call),
                    Message::Close => mailbox.close(),
                }
                next = if queue.len() < MAILBOX {
                    mailbox.try_recv().ok()
                } else {
                    None
                };
            }
            while !queue.is_empty() {
                self.write_batch(&mut queue).await;
            }
        }
    }

    /// Makes commits of the calls at the front of `queue`, as many as one sync should carry.
    async fn write_batch(&mut self, queue: &mut VecDeque<Call>) {
        if let Err(error) = self.ensure_ready().await {
            for call in queue.drain(..) {
                answer(call.reply, Err(error.clone()));
            }
            return;
        }
        let head = self.head.borrow().clone();
        let mut batch = Batch::new(&self.builder, Arc::clone(&self.store), head, self.log_end);
        while !queue.is_empty() && batch.len() < MAX_BATCH_BYTES {
            batch.add_commit(queue).await;
        }
        let mut batch = batch.finish();
        let stored = if batch.frames.is_empty() {
            Ok(())
        } else {
            self.store_frames(std::mem::take(&mut batch.frames), batch.head)
                .await
        };
        if stored.is_ok() {
            batch.workspace.keep();
        }
        for (reply, error) in batch.refused {
            answer(reply, Err(error));
        }
        for (reply, outcome) in batch.waiting {
            answer(reply, stored.clone().map(|()| outcome));
        }
    }

    /// Indexes what an earlier batch could not.
    async fn ensure_ready(&mut self) -> Result<(), RepoError> {
        if self.failed {
            return Err(RepoError::Failed);
        }
        if self.indexed_end < self.log_end {
            let caught_up = recovery::catch_up(&self.store.log, &self.store.index, self.indexed_end).await?;
            if caught_up.end != self.log_end {
                self.failed = true;
                return Err(self.store.log.corrupt("commits that were synced cannot be read"));
            }
            self.indexed_end = self.log_end;
            if let Some(head) = caught_up.head {
                self.publish(head);
            }
        }
        Ok(())
    }

    async fn store_frames(&mut self, frames: Vec<u8>, head: Head) -> Result<(), RepoError> {
        let (log, end) = (self.store.log.clone(), self.log_end);
        let appended = blocking(move || Ok(log.append(end, &frames).map(|()| frames))).await;
        let frames = match appended {
            Ok(Ok(frames)) => frames,
            Ok(Err(AppendError::Undone(error))) => return Err(error),
            Ok(Err(AppendError::Unknown(error))) | Err(error) => {
                self.failed = true;
                tracing::error!(%error, "the log's end is unknown; no more writes until the repository is opened again");
                return Err(error);
            }
        };
        let start = self.log_end;
        self.log_end += frames.len() as u64;

        let mut placed = Vec::new();
        let mut position = 0;
        while position < frames.len() {
            let frame = Frame::parse(&frames[position..]).map_err(damage)?;
            let length = frame.len();
            placed.push(PlacedFrame {
                position: start + position as u64,
                frame,
            });
            position += length;
        }
        let purge_bound = self.pins.purge_bound();
        if let Err(error) = self
            .store
            .index
            .apply(self.store.log.log_id(), &placed, purge_bound)
            .await
        {
            tracing::error!(%error, "commits are in the log and not in the index yet; the next write tries again");
            return Err(error);
        }
        self.indexed_end = self.log_end;
        self.publish(head);
        Ok(())
    }

    fn publish(&self, head: Head) {
        let seq = head.seq;
        self.head.send_replace(head);
        self.seq.send_replace(seq);
    }
}

fn answer(reply: Reply, result: Result<WriteOutcome, RepoError>) {
    // The caller may have gone; its writes stand.
    let _ = reply.send(result);
}
