//! One firehose: frames from its socket, verified, written in batches, with the cursor behind them.
//!
//! A frame is in the index, or its account in the work queue, before the cursor passes it. While the index is slower than the socket,
//! the socket is not read: at most some megabytes of frames wait here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::change::{Applied, Batch, CursorMove, Lane, QueuedWork, RecordsStep, Step};
use atcr_index::{Collection, IndexError};
use atcr_repo::firehose::{CommitEvent, Message};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use crate::Index;
use crate::source::AccountSource;
use crate::verify::{self, Refusal};

/// Frames of one batch.
const BATCH: usize = 1_000;

/// Bytes of frames that wait.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Keys that are looked up at once.
const LOOKUPS: usize = 16;

/// How long a key is waited for; an account whose key takes longer is caught up with later.
const LOOKUP: Duration = Duration::from_secs(5);

/// Pauses before a connection is made again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A stream that ended or could not begin.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StreamError(pub String);

/// The frames of one connection.
#[async_trait]
pub trait Events: Send {
    /// The next frame; `None` when the other side has closed.
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError>;
}

/// Where frames come from.
#[async_trait]
pub trait EventSource: Send + Sync {
    /// Connects; the first frame is the one behind `cursor`, or the next one that happens.
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError>;
}

/// Follows one firehose.
#[derive(Clone)]
pub struct Follower {
    name: String,
    events: Arc<dyn EventSource>,
    index: Index,
    accounts: Arc<dyn AccountSource>,
    clock: Arc<dyn Clock>,
}

/// A frame, and its part of the bytes that may wait.
struct Waiting {
    frame: Bytes,
    _permit: OwnedSemaphorePermit,
}

/// An event whose account's key is known.
struct Unverified {
    event: Box<CommitEvent>,
    key: PublicKey,
}

impl Follower {
    /// Follows `events` into `index`, under `name`, which its cursor is kept by.
    pub fn new(
        name: impl Into<String>,
        events: Arc<dyn EventSource>,
        index: Index,
        accounts: Arc<dyn AccountSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name: name.into(),
            events,
            index,
            accounts,
            clock,
        }
    }

    /// Follows until the shutdown, connecting again whenever the stream ends.
    pub fn spawn(self, shutdown: &Shutdown) {
        let stop = shutdown.soft().clone();
        Task::new("follow_firehose").spawn(shutdown, async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let ended = tokio::select! {
                    () = stop.cancelled() => return,
                    ended = self.follow_once() => ended,
                };
                match ended {
                    Ok(frames) => {
                        tracing::info!(
                            source = self.name,
                            frames,
                            "the firehose closed; it is opened again"
                        );
                        if frames > 0 {
                            pause = FIRST_PAUSE;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(source = self.name, %error, "the firehose cannot be followed now");
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// Follows one connection to its end; returns how many frames it had.
    ///
    /// # Errors
    /// The stream's or the index's.
    pub async fn follow_once(&self) -> Result<u64, FollowError> {
        let (epoch, cursor) = self.index.writer.take_source(&self.name).await?;
        let mut events = self.events.connect(cursor).await?;
        let (sender, mut receiver) = mpsc::channel(BATCH);
        let room = Arc::new(Semaphore::new(WAITING_BYTES));
        let read = async move {
            while let Some(frame) = events.next().await? {
                let length = u32::try_from(frame.len().min(WAITING_BYTES)).unwrap_or(u32::MAX);
                let Ok(permit) = Arc::clone(&room).acquire_many_owned(length).await else {
                    break;
                };
                let waiting = Waiting {
                    frame,
                    _permit: permit,
                };
                if sender.send(waiting).await.is_err() {
                    break;
                }
            }
            Ok::<(), FollowError>(())
        };
        // It owns the receiver: when it ends, the reader ends too.
        let write = async move {
            let mut frames = 0;
            let mut waiting = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut waiting, BATCH).await > 0 {
                frames += waiting.len() as u64;
                self.write(epoch, std::mem::take(&mut waiting)).await?;
            }
            Ok::<u64, FollowError>(frames)
        };
        let (read, written) = tokio::join!(read, write);
        let frames = written?;
        read.map(|()| frames)
    }

    /// Writes a batch of frames.
    async fn write(&self, epoch: i64, waiting: Vec<Waiting>) -> Result<(), FollowError> {
        let mut messages = Vec::with_capacity(waiting.len());
        for Waiting { frame, .. } in &waiting {
            match Message::decode(frame) {
                Ok(message) => messages.push(message),
                Err(error) => {
                    self.count("unreadable", 1);
                    tracing::debug!(source = self.name, %error, "a frame is not read");
                }
            }
        }
        let Some(cursor) = messages.iter().map(Message::seq).max() else {
            return Ok(());
        };
        let now = self.clock.now();
        let listed = self.listed(&messages).await?;
        let mut due: BTreeSet<Did> = BTreeSet::new();
        let commits = self.with_keys(messages, &listed, &mut due).await;
        let steps = self.verified(commits, &mut due, now).await;
        let batch = Batch {
            steps,
            ..Batch::default()
        };
        let answers = self.index.writer.apply(&batch, now).await?;
        for (step, answer) in batch.steps.iter().zip(&answers) {
            if let (Step::Records(step), Applied::Gap { .. }) = (step, answer) {
                due.insert(step.did.clone());
            }
        }
        self.count(
            "applied",
            answers.iter().filter(|answer| **answer == Applied::Done).count(),
        );
        self.count("due", due.len());
        let work = due.into_iter().map(|did| QueuedWork {
            did,
            lane: Lane::Gap,
            due: now,
        });
        let behind = Batch {
            steps: Vec::new(),
            work: work.collect(),
            cursor: Some(CursorMove {
                source: self.name.clone(),
                epoch,
                cursor: i64::try_from(cursor).unwrap_or(i64::MAX),
            }),
        };
        self.index.writer.apply(&behind, now).await?;
        Ok(())
    }

    /// The revisions of those accounts of the messages that are indexed.
    async fn listed(&self, messages: &[Message]) -> Result<HashMap<Did, Tid>, IndexError> {
        let dids: BTreeSet<&Did> = messages.iter().map(did_of).collect();
        let dids: Vec<Did> = dids.into_iter().cloned().collect();
        self.index.writer.revisions(&dids).await
    }

    /// The commits that are to be verified, with their accounts' keys. Accounts that something else has happened to become due.
    async fn with_keys(
        &self,
        messages: Vec<Message>,
        listed: &HashMap<Did, Tid>,
        due: &mut BTreeSet<Did>,
    ) -> Vec<Unverified> {
        let mut commits = Vec::new();
        // Accounts whose first commit is among the messages: what follows it is theirs as well.
        let mut begun: BTreeSet<Did> = BTreeSet::new();
        for message in messages {
            match message {
                Message::Commit(event) => match listed.get(&event.repo) {
                    // Older ones are known, and one that is known may still bring the tree of a write of ours.
                    Some(rev) if event.rev < *rev => {}
                    Some(_) => commits.push(event),
                    None if begun.contains(&event.repo) => commits.push(event),
                    None if !is_about_images(&event) => {}
                    None if event.since.is_none() => {
                        begun.insert(event.repo.clone());
                        commits.push(event);
                    }
                    None => {
                        due.insert(event.repo.clone());
                    }
                },
                Message::Sync(event) if listed.get(&event.did).is_some_and(|rev| event.rev > *rev) => {
                    due.insert(event.did);
                }
                Message::Identity(event) if listed.contains_key(&event.did) => {
                    // The cache forgets the old one; the catch-up writes what is found.
                    if let Err(error) = self.accounts.renewed_identity(&event.did).await {
                        tracing::debug!(did = %event.did, %error, "an identity is not resolved");
                    }
                    due.insert(event.did);
                }
                Message::Account(event) if listed.contains_key(&event.did) => {
                    due.insert(event.did);
                }
                Message::Sync(_) | Message::Identity(_) | Message::Account(_) => {}
            }
        }
        let owners: BTreeSet<Did> = commits.iter().map(|event| event.repo.clone()).collect();
        let keys: HashMap<Did, PublicKey> = stream::iter(owners)
            .map(|did| async move { (self.key(&did, false).await, did) })
            .buffer_unordered(LOOKUPS)
            .filter_map(|(key, did)| async move { Some((did, key?)) })
            .collect()
            .await;
        let mut unverified = Vec::with_capacity(commits.len());
        for event in commits {
            match keys.get(&event.repo) {
                Some(key) => unverified.push(Unverified {
                    event,
                    key: key.clone(),
                }),
                None => {
                    due.insert(event.repo.clone());
                }
            }
        }
        unverified
    }

    async fn key(&self, did: &Did, anew: bool) -> Option<PublicKey> {
        match timeout(LOOKUP, self.accounts.signing_key(did, anew)).await {
            Ok(Ok(key)) => key,
            Ok(Err(error)) => {
                tracing::debug!(%did, %error, "an account's key is not found");
                None
            }
            Err(_) => None,
        }
    }

    /// The steps of the commits that are right, in their order.
    async fn verified(
        &self,
        commits: Vec<Unverified>,
        due: &mut BTreeSet<Did>,
        now: DateTime<Utc>,
    ) -> Vec<Step> {
        let owners: Vec<Did> = commits.iter().map(|commit| commit.event.repo.clone()).collect();
        let verified = tokio::task::spawn_blocking(move || {
            commits
                .into_iter()
                .map(|Unverified { event, key }| {
                    let verified = verify::commit(&event, &key, now);
                    (event, verified)
                })
                .collect::<Vec<_>>()
        })
        .await;
        let Ok(verified) = verified else {
            tracing::error!(
                source = self.name,
                "a batch of commits could not be checked; their accounts are read instead"
            );
            due.extend(owners);
            return Vec::new();
        };
        let mut steps = Vec::with_capacity(verified.len());
        for (event, verified) in verified {
            match self.or_with_new_key(&event, verified, now).await {
                Ok(step) => steps.push(Step::Records(step)),
                Err(refusal) => {
                    self.count("refused", 1);
                    tracing::debug!(source = self.name, did = %event.repo, %refusal, "a commit is refused");
                    // It says nothing, but the account's own server may.
                    due.insert(event.repo.clone());
                }
            }
        }
        steps
    }

    /// A signature that the key we know does not verify may be one of a newer key.
    async fn or_with_new_key(
        &self,
        event: &CommitEvent,
        verified: Result<RecordsStep, Refusal>,
        now: DateTime<Utc>,
    ) -> Result<RecordsStep, Refusal> {
        if verified != Err(Refusal::BadSignature) {
            return verified;
        }
        match self.key(&event.repo, true).await {
            Some(key) => verify::commit(event, &key, now),
            None => verified,
        }
    }

    fn count(&self, outcome: &'static str, events: usize) {
        let source = self.name.clone();
        metrics::counter!("atcr_index_events_total", "source" => source, "outcome" => outcome)
            .increment(events as u64);
    }
}

/// Why a connection was left.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FollowError {
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

fn did_of(message: &Message) -> &Did {
    match message {
        Message::Commit(event) => &event.repo,
        Message::Identity(event) => &event.did,
        Message::Account(event) => &event.did,
        Message::Sync(event) => &event.did,
    }
}

/// Whether the commit changes a collection of ours.
fn is_about_images(event: &CommitEvent) -> bool {
    event.ops.iter().any(|operation| {
        let collection = operation
            .path
            .split_once('/')
            .map_or("", |(collection, _)| collection);
        collection.parse::<Collection>().is_ok()
    })
}
