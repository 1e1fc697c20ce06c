//! The task that writes. It takes the calls that wait in the mailbox, has the engine make commits of them, and answers once they are on the
//! disk; meanwhile the next batch gathers in the mailbox. The index follows after the answers, and snapshots are written beside it all.
//! Calls in the background wait for the budget of events, unless a commit that is made anyway has room for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use atcr_atproto::crypto::SigningKey;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::backoff::Backoff;
use super::budget::{EventBudget, Tokens};
use super::indexer::Indexer;
use crate::blocks::View;
use crate::engine::{Answer, BatchOutcome, Call, Engine};
use crate::error::RepoError;
use crate::index::Index;
use crate::lock::Lock;
use crate::snapshot::Snapshot;
use crate::writer::Urgency;
use crate::writer::limits::{MAX_COMMIT_CAR_BYTES, MAX_OPS};
use crate::writer::prepare::PreparedCall;

/// Calls that wait; more callers wait for a place.
pub(super) const MAILBOX: usize = 256;

/// How long after a failed write the disk is tried again: at first, and at most.
const HEAL_AFTER: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(1)];
/// How long after a failed snapshot another one is written, unless one is asked for: at first, and at most.
const SNAPSHOT_AFTER: [Duration; 2] = [Duration::from_mins(1), Duration::from_hours(1)];

/// How often events are dropped that are older than the retention. A new snapshot does so as well, but in a repository that is
/// hardly written to there is none for months.
const DROP_OLD_EVERY: Duration = Duration::from_mins(10);

/// Bytes of records up to which background calls join a commit that is made anyway: its tree nodes need room as well.
const MAX_SHARED_BYTES: usize = MAX_COMMIT_CAR_BYTES / 2;

/// Events of the repository; label `class`.
const EVENTS: &str = "atcr_hold_repo_events_total";
const INTERACTIVE: &str = "interactive";
const BACKGROUND: &str = "background";

/// What the mailbox takes.
#[derive(Debug)]
pub(super) enum Message {
    Write {
        prepared: PreparedCall,
        urgency: Urgency,
        reply: oneshot::Sender<Answer>,
    },
    /// Refuse writes for this reason from now on, or take them again.
    Pause {
        reason: Option<Arc<str>>,
        reply: oneshot::Sender<()>,
    },
    /// Sign with this key from now on.
    ChangeKey {
        key: SigningKey,
        reply: oneshot::Sender<Result<(), RepoError>>,
    },
    /// Tell followers to read the identity again.
    Announce(oneshot::Sender<Result<(), RepoError>>),
    /// Write a snapshot, whether or not it is due.
    Snapshot(oneshot::Sender<Result<(), RepoError>>),
    /// Take no more; what waits is still done.
    Close,
}

/// What others see of the writer.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) view: watch::Sender<Arc<View>>,
    pub(super) seq: watch::Sender<u64>,
    pub(super) healthy: Arc<AtomicBool>,
    /// Batches that the index lacks.
    pub(super) index_lag: Arc<AtomicU64>,
    /// The newest event up to which the index was brought.
    pub(super) indexed: watch::Sender<u64>,
}

type Ticket = oneshot::Sender<Answer>;
type Waiter = oneshot::Sender<Result<(), RepoError>>;

/// A snapshot that is being written.
struct Running {
    work: JoinHandle<Result<Option<Snapshot>, RepoError>>,
    waiters: Vec<Waiter>,
}

/// The task. Ends when it is told to, or when no caller is left.
pub(super) struct WriterTask {
    /// `None` while it works, and for ever once it has panicked.
    engine: Option<Engine>,
    indexer: Indexer,
    published: Published,
    /// Why writes are refused, if they are.
    paused: Option<Arc<str>>,
    snapshot: Option<Running>,
    stop: Arc<AtomicBool>,
    heals: Backoff,
    snapshots: Backoff,
    tokens: Tokens,
    /// Calls that wait for a token, and since when.
    background: VecDeque<Call<Ticket>>,
    waiting_since: tokio::time::Instant,
    _lock: Lock,
}

impl WriterTask {
    pub(super) fn new(
        engine: Engine,
        index: Index,
        published: Published,
        lock: Lock,
        events: EventBudget,
    ) -> Self {
        let now = tokio::time::Instant::now();
        Self {
            tokens: Tokens::new(events, now),
            background: VecDeque::new(),
            waiting_since: now,
            engine: Some(engine),
            indexer: Indexer::new(index, Arc::clone(&published.index_lag), published.indexed.clone()),
            published,
            paused: None,
            snapshot: None,
            stop: Arc::default(),
            heals: Backoff::new(HEAL_AFTER[0], HEAL_AFTER[1]),
            snapshots: Backoff::new(SNAPSHOT_AFTER[0], SNAPSHOT_AFTER[1]),
            _lock: lock,
        }
    }

    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<Message>) {
        let mut queue = VecDeque::new();
        // The first tick is at once: events may have aged while the process was down.
        let mut drop_old = tokio::time::interval(DROP_OLD_EVERY);
        drop_old.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let needs_healing = self.engine.is_some() && !self.published.healthy.load(Ordering::Relaxed);
            let due = self.tokens.due(self.waiting_since);
            let message = tokio::select! {
                message = mailbox.recv() => message,
                () = tokio::time::sleep_until(due), if !self.background.is_empty() => {
                    queue.append(&mut self.background);
                    self.write_all(&mut queue, BACKGROUND).await;
                    continue;
                }
                result = ended(&mut self.snapshot) => {
                    self.finish_snapshot(result).await;
                    continue;
                }
                () = tokio::time::sleep(self.heals.wait()), if needs_healing => {
                    self.heal().await;
                    continue;
                }
                () = self.indexer.retry(), if self.engine.is_some() => {
                    if let Some(engine) = &self.engine {
                        self.indexer.take(engine.view(), Vec::new()).await;
                    }
                    continue;
                }
                _ = drop_old.tick() => {
                    self.drop_old().await;
                    continue;
                }
            };
            let Some(message) = message else {
                break;
            };
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Write {
                        prepared,
                        urgency,
                        reply,
                    } => match &self.paused {
                        None => {
                            let call = Call {
                                prepared,
                                ticket: reply,
                            };
                            match urgency {
                                Urgency::Interactive => queue.push_back(call),
                                Urgency::Background => self.wait_for_token(call),
                            }
                        }
                        Some(reason) => answer(
                            reply,
                            Err(RepoError::Paused {
                                reason: Arc::clone(reason),
                            }),
                        ),
                    },
                    Message::Pause { reason, reply } => {
                        queue.append(&mut self.background);
                        self.write_all(&mut queue, INTERACTIVE).await;
                        self.paused = reason;
                        let _ = reply.send(());
                    }
                    Message::ChangeKey { key, reply } => {
                        queue.append(&mut self.background);
                        self.write_all(&mut queue, INTERACTIVE).await;
                        let _ = reply.send(self.change_key(key).await);
                    }
                    Message::Announce(reply) => {
                        queue.append(&mut self.background);
                        self.write_all(&mut queue, INTERACTIVE).await;
                        let _ = reply.send(self.tell(Engine::introduce).await);
                    }
                    Message::Snapshot(waiter) => self.start_snapshot(Some(waiter)),
                    Message::Close => mailbox.close(),
                }
                next = if queue.len() < MAILBOX {
                    mailbox.try_recv().ok()
                } else {
                    None
                };
            }
            if !queue.is_empty() {
                self.take_along(&mut queue);
                self.write_all(&mut queue, INTERACTIVE).await;
            } else if self.background.len() >= MAILBOX {
                queue.append(&mut self.background);
                self.write_all(&mut queue, BACKGROUND).await;
            }
        }
        queue.append(&mut self.background);
        self.write_all(&mut queue, BACKGROUND).await;
        self.indexer.finish().await;
        self.stop.store(true, Ordering::Relaxed);
        if let Some(running) = self.snapshot.take() {
            // One that is whole already is removed at the next start.
            let _ = running.work.await;
        }
    }

    fn wait_for_token(&mut self, call: Call<Ticket>) {
        if self.background.is_empty() {
            self.waiting_since = tokio::time::Instant::now();
        }
        self.background.push_back(call);
    }

    /// Background calls for which the commit of `queue` has room cost no event of their own.
    fn take_along(&mut self, queue: &mut VecDeque<Call<Ticket>>) {
        let size = |call: &Call<Ticket>| (call.prepared.writes.len(), call.prepared.record_bytes);
        let (mut ops, mut bytes) = queue
            .iter()
            .map(size)
            .fold((0, 0), |sum, call| (sum.0 + call.0, sum.1 + call.1));
        if ops == 0 {
            // A write of nothing, which asks whether the writer works, makes no commit.
            return;
        }
        while let Some(call) = self.background.front() {
            let more = size(call);
            (ops, bytes) = (ops + more.0, bytes + more.1);
            if ops > MAX_OPS || bytes > MAX_SHARED_BYTES {
                break;
            }
            queue.extend(self.background.pop_front());
        }
    }

    async fn write_all(&mut self, queue: &mut VecDeque<Call<Ticket>>, class: &'static str) {
        while !queue.is_empty() {
            let events = self.write_batch(queue).await;
            metrics::counter!(EVENTS, "class" => class).increment(events as u64);
            if self.tokens.took(events, tokio::time::Instant::now()) {
                tracing::warn!(
                    events = self.tokens.of_day(),
                    "the repository made more events in a day than relays take of a host that they do not know; they fall behind"
                );
            }
        }
    }

    /// Without a write that works the process is not ready, and gets no writes.
    async fn heal(&mut self) {
        match self.with_engine(Engine::heal).await {
            Some(Ok(())) => {
                self.heals.worked();
                tracing::info!("the repository can be written again");
            }
            Some(Err(error)) => {
                self.heals.failed(Instant::now());
                let next = self.heals.wait();
                tracing::error!(%error, ?next, "the repository still cannot be written");
            }
            None => {}
        }
    }

    /// Not while a snapshot is written, whose end does it; not while the disk fails, which the next write tries.
    async fn drop_old(&mut self) {
        if self.snapshot.is_some() || !self.published.healthy.load(Ordering::Relaxed) {
            return;
        }
        if let Some(Err(error)) = self.with_engine(Engine::drop_old).await {
            tracing::error!(%error, "old events could not be dropped; it is tried again");
        }
        self.publish_engine();
    }

    /// Has the engine do `work` where it may block. `None` without an engine; one that panics is lost, since its state may
    /// be half changed, and nothing is written any more.
    async fn with_engine<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Option<T> {
        let mut engine = self.engine.take()?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(&mut engine);
            (engine, result)
        })
        .await;
        match worked {
            Ok((engine, result)) => {
                self.published
                    .healthy
                    .store(engine.is_healthy(), Ordering::Relaxed);
                self.engine = Some(engine);
                Some(result)
            }
            Err(error) => {
                self.published.healthy.store(false, Ordering::Relaxed);
                // Says what the panic said.
                tracing::error!(%error, "the repository takes no more writes; restart the process");
                None
            }
        }
    }

    async fn change_key(&mut self, key: SigningKey) -> Result<(), RepoError> {
        self.tell(move |engine| engine.change_key(key)).await
    }

    /// Has the engine write events that are no caller's.
    async fn tell(
        &mut self,
        work: impl FnOnce(&mut Engine) -> Result<(), RepoError> + Send + 'static,
    ) -> Result<(), RepoError> {
        let changed = self.with_engine(work).await;
        if let Some(view) = self.engine.as_ref().map(|engine| engine.view().clone()) {
            self.publish(view.clone());
            self.indexer.take(&view, Vec::new()).await;
        }
        changed.unwrap_or(Err(RepoError::Closed))
    }

    /// Returns how many events were made.
    async fn write_batch(&mut self, queue: &mut VecDeque<Call<Ticket>>) -> usize {
        let mut calls = std::mem::take(queue);
        let worked = self.with_engine(move |engine| {
            let outcome = engine.write_batch(&mut calls);
            (calls, outcome)
        });
        // Without an engine the callers' channels end, which tells them that the repository is closed.
        let Some((calls, outcome)) = worked.await else {
            return 0;
        };
        *queue = calls;
        let BatchOutcome {
            answers,
            changes,
            events,
        } = outcome;
        if self.published.healthy.load(Ordering::Relaxed) {
            self.heals.worked();
        }
        let view = self.engine.as_ref().map(|engine| engine.view().clone());
        if let Some(view) = &view {
            self.publish(view.clone());
        }
        for (ticket, outcome) in answers {
            answer(ticket, outcome);
        }
        if let Some(view) = view {
            self.indexer.take(&view, changes).await;
        }
        let is_due = self.engine.as_ref().is_some_and(Engine::wants_snapshot);
        if is_due && !self.snapshots.is_waiting(Instant::now()) {
            self.start_snapshot(None);
        }
        events
    }

    fn publish(&self, view: View) {
        let seq = view.last.0;
        self.published.view.send_replace(Arc::new(view));
        if *self.published.seq.borrow() != seq {
            self.published.seq.send_replace(seq);
        }
    }

    fn start_snapshot(&mut self, waiter: Option<Waiter>) {
        if let Some(running) = &mut self.snapshot {
            running.waiters.extend(waiter);
            return;
        }
        let stop = Arc::clone(&self.stop);
        let job = self
            .engine
            .as_mut()
            .and_then(|engine| engine.begin_snapshot(stop));
        let Some(job) = job else {
            if let Some(waiter) = waiter {
                let result = self.engine.as_ref().map(|_| ()).ok_or(RepoError::Closed);
                let _ = waiter.send(result);
            }
            return;
        };
        self.publish_engine();
        self.snapshot = Some(Running {
            work: tokio::task::spawn_blocking(move || job.run()),
            waiters: waiter.into_iter().collect(),
        });
    }

    async fn finish_snapshot(&mut self, result: Result<Option<Snapshot>, RepoError>) {
        let waiters = self
            .snapshot
            .take()
            .map(|running| running.waiters)
            .unwrap_or_default();
        let (snapshot, error) = match result {
            Ok(snapshot) => (snapshot, None),
            Err(error) => (None, Some(error)),
        };
        let finished = self.with_engine(move |engine| engine.finish_snapshot(snapshot));
        let Some(finished) = finished.await else {
            return;
        };
        let result = error.map_or(finished, Err);
        if let Err(error) = &result {
            let next = self.snapshots.wait();
            self.snapshots.failed(Instant::now());
            tracing::error!(%error, ?next, "no snapshot could be written; the log grows until one can");
        } else {
            self.snapshots.worked();
        }
        self.publish_engine();
        for waiter in waiters {
            let _ = waiter.send(result.clone());
        }
    }

    fn publish_engine(&self) {
        if let Some(engine) = &self.engine {
            self.publish(engine.view().clone());
        }
    }
}

/// Waits for the end of a snapshot; for ever, if none is written.
async fn ended(snapshot: &mut Option<Running>) -> Result<Option<Snapshot>, RepoError> {
    match snapshot {
        Some(running) => (&mut running.work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the task that writes a snapshot ended early");
            Err(RepoError::Closed)
        }),
        None => std::future::pending().await,
    }
}

fn answer(ticket: Ticket, result: Answer) {
    // The caller may have gone; its writes stand.
    let _ = ticket.send(result);
}

#[cfg(test)]
mod tests;
