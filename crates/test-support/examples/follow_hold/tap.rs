//! What tap tells of the hold's records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use atcr_atproto::syntax::Cid;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;

/// Reads tap's channel.
#[derive(Debug)]
pub(crate) struct Tap {
    url: String,
    hold_did: String,
    told: Arc<Mutex<Told>>,
    task: JoinHandle<Result<()>>,
}

/// What it told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) events: u64,
    /// CIDs by path.
    pub(crate) records: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ChannelMessage {
    record: Option<RecordEvent>,
}

#[derive(Deserialize)]
struct RecordEvent {
    did: String,
    collection: String,
    rkey: String,
    action: String,
    cid: Option<String>,
}

impl Tap {
    /// Connects to the channel of the tap at `url`.
    pub(crate) async fn start(url: &str, hold_did: &str) -> Result<Self> {
        let channel = format!("{}/channel", url.replacen("http:", "ws:", 1));
        let (mut socket, _) = connect_async(channel).await?;
        let told = Arc::new(Mutex::new(Told::default()));
        let task = tokio::spawn({
            let (told, hold_did) = (told.clone(), hold_did.to_owned());
            async move {
                while let Some(message) = socket.next().await {
                    let message = message?.into_data();
                    let Ok(message) = serde_json::from_slice::<ChannelMessage>(&message) else {
                        continue;
                    };
                    if let Some(event) = message.record.filter(|event| event.did == hold_did) {
                        lock(&told).take(event);
                    }
                }
                bail!("tap closed its channel")
            }
        });
        Ok(Self {
            url: url.to_owned(),
            hold_did: hold_did.to_owned(),
            told,
            task,
        })
    }

    /// What it told so far.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }

    /// The revision that tap has, if it follows the repository.
    pub(crate) async fn rev(&self) -> Result<Option<String>> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}/info/{}", self.url, self.hold_did);
        let info: Value = client.get(url).send().await?.json().await?;
        let rev = info["rev"].as_str().filter(|_| info["state"] == "active");
        Ok(rev.map(str::to_owned))
    }

    /// Fails if the channel ended.
    pub(crate) async fn check(&mut self) -> Result<()> {
        if self.task.is_finished() {
            (&mut self.task).await?.context("tap")?;
        }
        Ok(())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Told {
    /// Whether it has all of these as they are.
    pub(crate) fn has(&self, records: &BTreeMap<String, Cid>) -> bool {
        let told = |path| self.records.get(path).map(String::as_str);
        let mut records = records.iter();
        records.all(|(path, cid)| told(path) == Some(&*cid.to_string()))
    }

    fn take(&mut self, event: RecordEvent) {
        self.events += 1;
        let path = format!("{}/{}", event.collection, event.rkey);
        match event.cid.filter(|_| event.action != "delete") {
            Some(cid) => self.records.insert(path, cid),
            None => self.records.remove(&path),
        };
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
