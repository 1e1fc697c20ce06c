//! The tests' own follower, at the firehose of the hold or of the relay.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use atcr_atproto::crypto::PublicKey;
use atcr_repo::firehose::Message;
use atcr_test_support::network::NetworkFile;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message as WebSocketMessage;

use crate::consumer::Consumer;
use crate::official::OfficialReader;

/// The pause before a connection that ended is made again.
const PAUSE: Duration = Duration::from_millis(50);
/// What a message begins with that says why the stream ends: `{"op": -1}`.
const ERROR_HEADER: &[u8] = b"\xa1\x62op\x20";
/// What a message begins with that is no event: `{"t": "#info", "op": 1}`.
const INFO_HEADER: &[u8] = b"\xa2\x61t\x65#info\x62op\x01";

/// Follows the hold's repository at one firehose.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) name: &'static str,
    followed: Arc<Followed>,
    task: JoinHandle<Result<()>>,
}

#[derive(Debug)]
struct Followed {
    firehose: String,
    hold_did: String,
    directory: String,
    official: OfficialReader,
    consumer: Mutex<Consumer>,
    operations: AtomicU64,
    connections: AtomicU64,
}

impl Follower {
    /// Begins to follow at the oldest event of the firehose at `url`.
    pub(crate) fn start(
        name: &'static str,
        url: &str,
        file: &NetworkFile,
        official: &OfficialReader,
    ) -> Self {
        let followed = Arc::new(Followed {
            firehose: format!(
                "{}/xrpc/com.atproto.sync.subscribeRepos",
                url.replacen("http:", "ws:", 1)
            ),
            hold_did: file.hold.did.clone(),
            directory: file.plc.url.clone(),
            official: official.clone(),
            consumer: Mutex::default(),
            operations: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let task = tokio::spawn({
            let followed = followed.clone();
            async move { followed.follow().await.context(name) }
        });
        Self { name, followed, task }
    }

    /// What it knows.
    pub(crate) fn consumer(&self) -> MutexGuard<'_, Consumer> {
        self.followed.consumer()
    }

    /// The operations of all commits that it took.
    pub(crate) fn operations(&self) -> u64 {
        self.followed.operations.load(Ordering::Relaxed)
    }

    /// How often it connected.
    pub(crate) fn connections(&self) -> u64 {
        self.followed.connections.load(Ordering::Relaxed)
    }

    /// Fails if it met an event that it cannot accept, with the reason.
    pub(crate) async fn check(&mut self) -> Result<()> {
        if self.task.is_finished() {
            (&mut self.task).await??;
            bail!("{}: it ended", self.name);
        }
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    fn consumer(&self) -> MutexGuard<'_, Consumer> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(&self) -> Result<()> {
        let mut key = None;
        loop {
            let url = format!("{}?cursor={}", self.firehose, self.consumer().seq);
            let Ok((mut socket, _)) = connect_async(url).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            self.connections.fetch_add(1, Ordering::Relaxed);
            while let Some(Ok(message)) = socket.next().await {
                let WebSocketMessage::Binary(frame) = message else {
                    continue;
                };
                if frame.starts_with(ERROR_HEADER) {
                    // The hold stops, or this was too slow for the relay. It goes on where it was.
                    break;
                }
                self.take(&frame, &mut key).await?;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn take(&self, frame: &[u8], key: &mut Option<PublicKey>) -> Result<()> {
        if frame.starts_with(INFO_HEADER) {
            // The only one there is says that events between are not kept any more.
            ensure!(
                self.consumer().may_break,
                "events are not kept that it did not get"
            );
            return Ok(());
        }
        let message = Message::decode(frame)?;
        let (did, operations) = match &message {
            Message::Commit(event) => (&event.repo, event.ops.len()),
            Message::Sync(event) => (&event.did, 0),
            Message::Account(event) => (&event.did, 0),
            Message::Identity(event) => (&event.did, 0),
        };
        if did.as_str() != self.hold_did {
            self.consumer().seq = message.seq();
            return Ok(());
        }
        if matches!(message, Message::Identity(_)) {
            *key = None;
        }
        let key = match key {
            Some(key) => key,
            None => key.insert(self.key().await?),
        };
        let seq = message.seq();
        let is_lost = {
            let mut consumer = self.consumer();
            let before = consumer.resyncs;
            consumer
                .take_message(message, key)
                .map_err(|error| anyhow!("event {seq}: {error}"))?;
            consumer.resyncs > before
        };
        self.operations.fetch_add(operations as u64, Ordering::Relaxed);
        if is_lost {
            let repository = self.official.read().await?;
            let mut consumer = self.consumer();
            consumer.head = Some((repository.rev.clone(), repository.data));
            consumer.given = Some(repository.rev);
            consumer.records = repository.records;
        }
        Ok(())
    }

    /// The key that the directory has now.
    async fn key(&self) -> Result<PublicKey> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}/{}/data", self.directory, self.hold_did);
        let data: Value = client.get(url).send().await?.error_for_status()?.json().await?;
        let key = data["verificationMethods"]["atproto"].as_str();
        Ok(PublicKey::from_did_key(key.context("the directory has no key")?)?)
    }
}
