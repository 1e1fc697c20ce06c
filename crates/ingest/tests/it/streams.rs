//! Stand-ins for what is followed: firehoses with numbers of their own, Jetstreams of both versions, lists of accounts. They can lose the
//! connection, and the index can fail in the middle of a batch.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::change::{Applied, Batch};
use atcr_index::ports::{FoundAccount, IndexWriter, KnownRecord};
use atcr_index::{Collection, IndexError};
use atcr_index_sqlite::SqliteIndex;
use atcr_ingest::Index;
use atcr_ingest::discovery::{Directory, DirectoryError, FoundPage, List};
use atcr_ingest::follow::{EventSource, Events, FollowError, Follower, Intake, Place, StreamError};
use atcr_repo::firehose::{CommitEvent, Message};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use url::Url;

use crate::host::{Host, World, now};

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames that a host has kept, from which each connection gets those behind its cursor.
#[derive(Clone, Default)]
pub(crate) struct Stream(Arc<Mutex<Frames>>);

#[derive(Default)]
struct Frames {
    frames: Vec<(i64, Bytes)>,
    /// Where each connection began.
    connections: Vec<Option<i64>>,
    /// Frames after which the next connection is lost.
    lost_after: Option<usize>,
    /// Microseconds, as of a Jetstream; else numbers.
    by_time: bool,
}

impl Stream {
    /// Appends a message under the next number.
    pub(crate) fn push(&self, message: Message) {
        let mut state = locked(&self.0);
        let number = state.frames.last().map_or(0, |(number, _)| *number) + 1;
        let seq = u64::try_from(number).unwrap();
        let frame = match message {
            Message::Commit(mut event) => {
                event.seq = seq;
                event.encode().unwrap().frame
            }
            Message::Identity(mut event) => {
                event.seq = seq;
                event.encode().unwrap()
            }
            Message::Account(mut event) => {
                event.seq = seq;
                event.encode().unwrap()
            }
            Message::Sync(mut event) => {
                event.seq = seq;
                event.encode().unwrap()
            }
        };
        state.frames.push((number, frame));
    }

    pub(crate) fn push_commit(&self, event: &CommitEvent) {
        self.push(Message::Commit(Box::new(event.clone())));
    }

    pub(crate) fn push_bytes(&self, bytes: impl Into<Bytes>) {
        let mut state = locked(&self.0);
        let number = state.frames.last().map_or(0, |(number, _)| *number) + 1;
        state.frames.push((number, bytes.into()));
    }

    /// Appends a message of a Jetstream, which happens `micros` after [`now`].
    pub(crate) fn push_hint(&self, micros: i64, hint: impl Into<Bytes>) {
        let mut state = locked(&self.0);
        state.by_time = true;
        state
            .frames
            .push((now().timestamp_micros() + micros, hint.into()));
    }

    /// The host's numbers begin anew.
    pub(crate) fn begin_anew(&self) {
        locked(&self.0).frames.clear();
    }

    /// The next connection is lost after `frames`.
    pub(crate) fn lose_after(&self, frames: usize) {
        locked(&self.0).lost_after = Some(frames);
    }

    /// Where each connection began.
    pub(crate) fn connections(&self) -> Vec<Option<i64>> {
        locked(&self.0).connections.clone()
    }

    pub(crate) fn place(&self, name: &str) -> Place {
        Place {
            name: name.to_owned(),
            events: Arc::new(self.clone()),
        }
    }
}

struct Connection {
    frames: VecDeque<Bytes>,
    is_lost: bool,
}

#[async_trait]
impl Events for Connection {
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        match self.frames.pop_front() {
            None if self.is_lost => Err(StreamError("the connection is lost".to_owned())),
            frame => Ok(frame),
        }
    }
}

#[async_trait]
impl EventSource for Stream {
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError> {
        let mut state = locked(&self.0);
        state.connections.push(cursor);
        let last = state.frames.last().map_or(0, |(number, _)| *number);
        if !state.by_time && cursor.is_some_and(|cursor| cursor > last) {
            let frame = atcr_repo::firehose::error("FutureCursor", "").unwrap();
            return Ok(Box::new(Connection {
                frames: VecDeque::from([frame]),
                is_lost: false,
            }));
        }
        let most = state.lost_after.take();
        let behind = state
            .frames
            .iter()
            .filter(|(number, _)| cursor.is_none_or(|cursor| *number > cursor))
            .take(most.unwrap_or(usize::MAX));
        Ok(Box::new(Connection {
            frames: behind.map(|(_, frame)| frame.clone()).collect(),
            is_lost: most.is_some(),
        }))
    }
}

/// Follows one connection to its end. Returns how many frames were taken in.
pub(crate) async fn follow(
    world: &World,
    place: &Place,
    intake: impl Intake + 'static,
) -> (u64, Result<(), FollowError>) {
    let follower = Follower::new(vec![place.clone()], Arc::new(intake), world.clock.clone());
    let ended = follower.follow_once(place).await;
    (follower.health().frames(), ended)
}

/// A message of the first version of Jetstream about a record.
pub(crate) fn hint_1(did: &Did, rev: &Tid, path: &str, micros: i64) -> String {
    let (collection, rkey) = path.split_once('/').unwrap();
    json!({
        "did": did.as_str(),
        "time_us": now().timestamp_micros() + micros,
        "kind": "commit",
        "commit": {
            "rev": rev.as_str(), "operation": "create", "collection": collection, "rkey": rkey,
            "record": { "$type": collection, "repository": "forged", "tag": "forged" }, "cid": "bafyforged",
        },
    })
    .to_string()
}

/// The same of the second version.
pub(crate) fn hint_2(did: &Did, rev: &Tid, path: &str, micros: i64) -> String {
    let (collection, rkey) = path.split_once('/').unwrap();
    let time = DateTime::from_timestamp_micros(now().timestamp_micros() + micros).unwrap();
    json!({
        "$type": "message",
        "payload": {
            "$type": "network.bsky.jetstream.subscribeEvents#commit",
            "seq": micros, "did": did.as_str(), "time": time, "rev": rev.as_str(), "operation": "create",
            "collection": collection, "rkey": rkey, "record": { "tag": "forged" },
        },
    })
    .to_string()
}

/// Lists of accounts, two to a page.
#[derive(Clone, Default)]
pub(crate) struct Lists(Arc<Mutex<ListsState>>);

#[derive(Default)]
struct ListsState {
    lists: HashMap<&'static str, Vec<FoundAccount>>,
    asked: Vec<(&'static str, Option<String>)>,
    /// Pages after which it is down.
    down_after: Option<usize>,
    only_all: bool,
    /// The first page has none of its accounts.
    first_page_empty: bool,
    /// Pages have no accounts, and there is always a next one.
    endless: bool,
}

fn name_of(list: List) -> &'static str {
    match list {
        List::With(collection) => collection.nsid(),
        List::All => "all",
    }
}

impl Lists {
    pub(crate) fn add(&self, list: List, did: &Did, rev: Option<Tid>) {
        let account = FoundAccount {
            did: did.clone(),
            rev,
        };
        locked(&self.0)
            .lists
            .entry(name_of(list))
            .or_default()
            .push(account);
    }

    /// There is no list by collection.
    pub(crate) fn have_only_all(&self) {
        locked(&self.0).only_all = true;
    }

    pub(crate) fn go_down_after(&self, pages: Option<usize>) {
        locked(&self.0).down_after = pages;
    }

    /// The first page has none of its accounts from now on.
    pub(crate) fn leave_out_first_page(&self) {
        locked(&self.0).first_page_empty = true;
    }

    /// Pages have no accounts from now on, and there is always a next one.
    pub(crate) fn have_no_end(&self) {
        locked(&self.0).endless = true;
    }

    /// What was asked for, with the cursors.
    pub(crate) fn asked(&self) -> Vec<(&'static str, Option<String>)> {
        std::mem::take(&mut locked(&self.0).asked)
    }
}

#[async_trait]
impl Directory for Lists {
    async fn page(
        &self,
        _place: &Url,
        list: List,
        cursor: Option<&str>,
    ) -> Result<FoundPage, DirectoryError> {
        let mut state = locked(&self.0);
        state.asked.push((name_of(list), cursor.map(str::to_owned)));
        if state.only_all && list != List::All {
            return Err(DirectoryError::NotOffered);
        }
        match &mut state.down_after {
            Some(0) => return Err(DirectoryError::Unavailable("down".to_owned())),
            Some(pages) => *pages -= 1,
            None => {}
        }
        let from: usize = cursor
            .map_or(Ok(0), str::parse)
            .map_err(|_| DirectoryError::BadCursor)?;
        let all = state.lists.get(name_of(list)).cloned().unwrap_or_default();
        if state.endless {
            return Ok(FoundPage {
                accounts: Vec::new(),
                cursor: Some((from + 1).to_string()),
            });
        }
        let to = (from + 2).min(all.len());
        let listed = if from == 0 && state.first_page_empty {
            Vec::new()
        } else {
            all[from..to].to_vec()
        };
        Ok(FoundPage {
            accounts: listed,
            cursor: (to < all.len()).then(|| to.to_string()),
        })
    }
}

/// An index whose writes fail now and then, before or after they are made: the process died there.
pub(crate) struct Crashing {
    store: Arc<SqliteIndex>,
    rng: Mutex<StdRng>,
    share: f64,
}

impl Crashing {
    /// Of all writes `share` fail.
    pub(crate) fn index(world: &World, seed: u64, share: f64) -> Index {
        Index {
            writer: Arc::new(Self {
                store: Arc::clone(&world.store),
                rng: Mutex::new(StdRng::seed_from_u64(seed)),
                share,
            }),
            ..world.index.clone()
        }
    }
}

fn crashed() -> IndexError {
    IndexError::Corrupt("nothing: the process died")
}

#[async_trait]
impl IndexWriter for Crashing {
    async fn apply(&self, batch: &Batch, now: DateTime<Utc>) -> Result<Vec<Applied>, IndexError> {
        let (dies, is_written) = {
            let mut rng = locked(&self.rng);
            (rng.random_bool(self.share), rng.random_bool(0.5))
        };
        if dies && !is_written {
            return Err(crashed());
        }
        let answers = self.store.apply(batch, now).await?;
        if dies { Err(crashed()) } else { Ok(answers) }
    }

    async fn known_records(&self, did: &Did, collection: Collection) -> Result<Vec<KnownRecord>, IndexError> {
        self.store.known_records(did, collection).await
    }

    async fn revisions(&self, dids: &[Did]) -> Result<HashMap<Did, Tid>, IndexError> {
        self.store.revisions(dids).await
    }

    async fn take_source(&self, source: &str) -> Result<(i64, Option<i64>), IndexError> {
        self.store.take_source(source).await
    }
}

/// The intake of a firehose into the world's index.
pub(crate) fn firehose(world: &World, host: &Host) -> atcr_ingest::firehose::Firehose {
    atcr_ingest::firehose::Firehose::new(world.index.clone(), Arc::new(host.clone()), world.clock.clone())
}

/// The intake of a Jetstream.
pub(crate) fn jetstream(world: &World, host: &Host) -> atcr_ingest::jetstream::Jetstream {
    atcr_ingest::jetstream::Jetstream::new(world.index.clone(), Arc::new(host.clone()), world.clock.clone())
}
