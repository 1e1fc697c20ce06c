//! What messages of a Jetstream become: hints. A Jetstream has no signatures, so nothing of it is written; it says whose server is to be
//! asked now.
//!
//! Both versions are read: `/subscribe`, and `network.bsky.jetstream.subscribeEvents`. Numbers of the second are one instance's; the
//! cursor is therefore a time, which every instance of either version takes, and goes back a little each time: hints may come twice.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::{Clock, moved};
use atcr_atproto::revision::Revision;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::change::{Batch, Lane, QueuedWork, Step};
use atcr_index::{Collection, IndexError};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::Index;
use crate::audit::Audits;
use crate::follow::{FollowError, Intake, StreamError, Taken, Term, count};
use crate::source::AccountSource;

/// The name by which the cursor of all Jetstreams is kept.
const SOURCE: &str = "jetstream";

/// How far a new connection goes back: instances do not see events at the same moment.
const REWIND: TimeDelta = TimeDelta::seconds(10);

/// How old events a Jetstream still has. An older cursor is moved forward there, and the first version does not say so.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// Hints into the queue of an index.
#[derive(Clone)]
pub struct Jetstream {
    index: Index,
    accounts: Arc<dyn AccountSource>,
    clock: Arc<dyn Clock>,
    audits: Audits,
}

/// What a message says, in either version.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hint {
    /// A record of ours changed, in this revision.
    Record(Did, Option<Tid>),
    /// Something happened to the account.
    Account(Did),
    /// It may have another identity.
    Identity(Did),
    /// Events were left out.
    Gap,
    /// The stream ends.
    Error(String),
    /// Nothing for us.
    Other,
}

/// A message: of the first version, or the second's envelope or event.
#[derive(Deserialize)]
struct Wire<'m> {
    #[serde(borrow, rename = "$type")]
    wire_type: Option<Cow<'m, str>>,
    #[serde(borrow)]
    payload: Option<Box<Wire<'m>>>,
    #[serde(borrow)]
    error: Option<Cow<'m, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'m, str>>,
    #[serde(borrow)]
    name: Option<Cow<'m, str>>,
    #[serde(borrow)]
    did: Option<Cow<'m, str>>,
    time_us: Option<i64>,
    #[serde(borrow)]
    time: Option<Cow<'m, str>>,
    #[serde(borrow)]
    commit: Option<WireCommit<'m>>,
    #[serde(borrow)]
    collection: Option<Cow<'m, str>>,
    #[serde(borrow)]
    rev: Option<Cow<'m, str>>,
}

#[derive(Deserialize)]
struct WireCommit<'m> {
    #[serde(borrow)]
    collection: Option<Cow<'m, str>>,
    #[serde(borrow)]
    rev: Option<Cow<'m, str>>,
}

impl Wire<'_> {
    fn hint(&self) -> Hint {
        let wire_type = self.wire_type.as_deref().unwrap_or_default();
        if wire_type == "error" {
            return Hint::Error(
                self.error
                    .as_deref()
                    .unwrap_or("unnamed")
                    .chars()
                    .take(64)
                    .collect(),
            );
        }
        let kind = match &self.kind {
            Some(kind) => kind,
            None => wire_type.rsplit('#').next().unwrap_or_default(),
        };
        if kind == "info" {
            let is_gap = self.name.as_deref() == Some("OutdatedCursor");
            return if is_gap { Hint::Gap } else { Hint::Other };
        }
        let Some(did) = self.did.as_deref().and_then(|did| did.parse().ok()) else {
            return Hint::Other;
        };
        let (collection, rev) = match &self.commit {
            Some(commit) => (&commit.collection, &commit.rev),
            None => (&self.collection, &self.rev),
        };
        let is_ours = || {
            let collection = collection.as_deref().unwrap_or_default();
            collection.parse::<Collection>().is_ok()
        };
        match kind {
            "commit" if is_ours() => Hint::Record(did, rev.as_deref().and_then(|rev| rev.parse().ok())),
            "identity" => Hint::Identity(did),
            "account" | "sync" => Hint::Account(did),
            _ => Hint::Other,
        }
    }

    fn at(&self) -> Option<DateTime<Utc>> {
        let time = || DateTime::parse_from_rfc3339(self.time.as_deref()?).ok();
        match self.time_us {
            Some(micros) => DateTime::from_timestamp_micros(micros),
            None => time().map(|time| time.to_utc()),
        }
    }
}

/// The hint, and when it happened.
fn read(message: &[u8]) -> Option<(Hint, Option<DateTime<Utc>>)> {
    let wire: Wire<'_> = serde_json::from_slice(message).ok()?;
    let event = wire.payload.as_deref().unwrap_or(&wire);
    Some((event.hint(), event.at()))
}

/// What was hinted at of one account.
#[derive(Default)]
struct Hinted {
    /// The highest revision.
    rev: Option<Tid>,
    /// One hint had no revision that can be believed.
    is_vague: bool,
}

/// The hints of a batch.
#[derive(Default)]
struct Hints {
    accounts: BTreeMap<Did, Hinted>,
    /// Accounts that are of interest only if they are indexed.
    if_listed: BTreeSet<Did>,
    renewed: BTreeSet<Did>,
    newest: Option<DateTime<Utc>>,
    has_gap: bool,
    error: Option<String>,
}

fn gathered(messages: &[Bytes], now: DateTime<Utc>) -> Hints {
    let mut hints = Hints::default();
    let mut unreadable = 0;
    for message in messages {
        let Some((hint, at)) = read(message) else {
            unreadable += 1;
            continue;
        };
        // Nothing that has happened is later than now.
        hints.newest = hints.newest.max(at.map(|at| at.min(now)));
        match hint {
            Hint::Record(did, rev) => {
                let rev = rev.filter(|rev| Revision::judge(rev, None, now).is_good());
                let hinted = hints.accounts.entry(did).or_default();
                hinted.is_vague |= rev.is_none();
                hinted.rev = hinted.rev.take().max(rev);
            }
            Hint::Account(did) => {
                hints.if_listed.insert(did);
            }
            Hint::Identity(did) => {
                hints.if_listed.insert(did.clone());
                hints.renewed.insert(did);
            }
            Hint::Gap => hints.has_gap = true,
            Hint::Error(name) => {
                hints.error = Some(name);
                break;
            }
            Hint::Other => {}
        }
    }
    count(SOURCE, "unreadable", unreadable);
    count(SOURCE, "seen", messages.len());
    hints
}

#[async_trait]
impl Intake for Jetstream {
    async fn begin(&self, _place: &str) -> Result<Term, IndexError> {
        let (epoch, cursor) = self.index.writer.take_source(SOURCE).await?;
        let now = self.clock.now();
        let reached = cursor.and_then(DateTime::from_timestamp_micros);
        Ok(Term {
            source: SOURCE.to_owned(),
            epoch,
            cursor: reached.map(|reached| moved(reached, -REWIND).timestamp_micros()),
            has_gap: reached.is_none_or(|reached| now.signed_duration_since(reached) >= KEPT),
        })
    }

    async fn connected(&self, term: &Term) -> Result<(), IndexError> {
        if term.has_gap {
            self.audits.queue_all(SOURCE).await?;
        }
        Ok(())
    }

    async fn take(&self, term: &Term, frames: Vec<Bytes>) -> Result<Taken, FollowError> {
        let now = self.clock.now();
        let hints = gathered(&frames, now);
        if hints.has_gap {
            self.audits.queue_all(SOURCE).await?;
        } else {
            self.audits.queue_owed(SOURCE).await?;
        }
        self.write(term, &hints, now).await?;
        match hints.error {
            None => Ok(Taken { newest: hints.newest }),
            Some(error) => Err(StreamError(format!("the Jetstream ends the stream: {error}")).into()),
        }
    }
}

impl Jetstream {
    /// Hints into the queue of `index`. Identities are forgotten in `accounts` when they may have changed.
    #[must_use]
    pub fn new(index: Index, accounts: Arc<dyn AccountSource>, clock: Arc<dyn Clock>) -> Self {
        let audits = Audits::new(Arc::clone(&index.queue), Arc::clone(&clock));
        Self {
            index,
            accounts,
            clock,
            audits,
        }
    }

    async fn write(&self, term: &Term, hints: &Hints, now: DateTime<Utc>) -> Result<(), IndexError> {
        let dids: BTreeSet<&Did> = hints.accounts.keys().chain(&hints.if_listed).collect();
        let dids: Vec<Did> = dids.into_iter().cloned().collect();
        let listed = self.index.writer.revisions(&dids).await?;
        for did in hints.renewed.iter().filter(|did| listed.contains_key(*did)) {
            self.accounts.forget_identity(did).await;
        }
        let mut batch = Batch::default();
        let queued = |did: &Did, lane| QueuedWork {
            did: did.clone(),
            lane,
            due: now,
        };
        for (did, hinted) in &hints.accounts {
            let Some(known) = listed.get(did) else {
                batch.work.push(queued(did, Lane::Discovered));
                continue;
            };
            let newer = hinted.rev.clone().filter(|rev| rev > known);
            if newer.is_some() || hinted.is_vague {
                batch.work.push(queued(did, Lane::Gap));
            }
            batch.steps.extend(newer.map(|rev| Step::HeadSeen {
                did: did.clone(),
                rev,
            }));
        }
        let touched = hints.if_listed.iter().filter(|did| listed.contains_key(*did));
        batch.work.extend(touched.map(|did| queued(did, Lane::Gap)));
        count(SOURCE, "due", batch.work.len());
        // A cursor never goes back: the first messages of a connection are older than what was reached.
        let rewind = REWIND.num_microseconds().unwrap_or(0);
        let reached = term.cursor.map_or(i64::MIN, |from| from.saturating_add(rewind));
        let cursor = hints.newest.map(|newest| newest.timestamp_micros());
        let cursor = cursor.filter(|cursor| *cursor > reached);
        batch.fence = Some(term.fence(cursor));
        self.index.writer.apply(&batch, now).await?;
        Ok(())
    }
}
