//! What frames of a firehose become: commits verified and written in batches, everything else a reason to read the account itself.
//!
//! A relay's firehose has the commits of everybody. Those that neither touch a collection of ours nor an account that is indexed cost a
//! glance.
//!
//! A frame is in the index, or its account in the work queue, before the cursor passes it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::change::{Applied, Batch, Lane, QueuedWork, RecordsStep, Step};
use atcr_index::{Collection, IndexError};
use atcr_repo::firehose::{CommitEvent, Glance, Message};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::Index;
use crate::audit::Audits;
use crate::follow::{FollowError, Intake, StreamError, Taken, Term, count};
use crate::source::AccountSource;
use crate::verify::{self, Refusal};

/// Keys that are looked up at once.
const LOOKUPS: usize = 16;

/// How long a key is waited for, and all keys of a batch; an account whose key takes longer is caught up with later.
const LOOKUP: Duration = Duration::from_secs(5);
const ALL_LOOKUPS: Duration = Duration::from_secs(10);

/// How long the stream does not wait again for a key, and of how many accounts that is remembered.
const NOT_AGAIN: Duration = Duration::from_mins(5);
const REMEMBERED: u64 = 20_000;

/// Commits that are checked by one thread at a time.
const CHECKED_TOGETHER: usize = 64;

/// A firehose into the index.
#[derive(Clone)]
pub struct Firehose {
    index: Index,
    accounts: Arc<dyn AccountSource>,
    clock: Arc<dyn Clock>,
    audits: Audits,
    /// Accounts whose key was not found a moment ago, and those whose key was asked for anew: the stream does not wait for them again.
    without_key: moka::sync::Cache<Did, ()>,
    looked_up_anew: moka::sync::Cache<Did, ()>,
}

/// What a batch of frames comes to at a glance.
#[derive(Default)]
struct Glanced<'f> {
    events: Vec<(&'f Bytes, GlancedAs)>,
    /// The highest number.
    cursor: Option<u64>,
    /// When the newest event happened, as the host says.
    newest: Option<DateTime<Utc>>,
    /// Events that the host no longer had when we asked for them.
    has_gap: bool,
    /// Why the stream ends here.
    error: Option<String>,
}

/// Whose an event is, and whether it is about images.
struct GlancedAs {
    did: Did,
    rev: Option<Tid>,
    /// `None` for what is no commit.
    is_about_images: Option<bool>,
}

/// What is to be done with the events of a batch.
#[derive(Default)]
struct Sorted {
    commits: Vec<CommitEvent>,
    due: BTreeSet<Did>,
    /// Accounts that are not indexed: they are only named, so they are asked whether they have images.
    found: BTreeSet<Did>,
    /// Accounts whose identity may be another now.
    renewed: BTreeSet<Did>,
}

/// An event whose account's key is known.
struct Unverified {
    event: CommitEvent,
    key: PublicKey,
}

#[async_trait]
impl Intake for Firehose {
    async fn begin(&self, place: &str) -> Result<Term, IndexError> {
        let (epoch, cursor) = self.index.writer.take_source(place).await?;
        Ok(Term {
            source: place.to_owned(),
            epoch,
            cursor,
            // What happened before the first frame is not told.
            has_gap: cursor.is_none(),
        })
    }

    async fn connected(&self, term: &Term) -> Result<(), IndexError> {
        if term.has_gap {
            self.audits.queue_all(&term.source).await?;
        }
        Ok(())
    }

    async fn take(&self, term: &Term, frames: Vec<Bytes>) -> Result<Taken, FollowError> {
        let now = self.clock.now();
        let glanced = glance_at(&term.source, &frames);
        if glanced.has_gap {
            self.audits.queue_all(&term.source).await?;
        } else {
            self.audits.queue_owed(&term.source).await?;
        }
        if let Some(cursor) = glanced.cursor {
            let listed = self.listed(&glanced.events).await?;
            let mut sorted = sorted(&term.source, &glanced.events, &listed);
            for did in &sorted.renewed {
                // The catch-up asks anew and writes what it finds.
                self.accounts.forget_identity(did).await;
            }
            let commits = self.with_keys(&mut sorted).await;
            let steps = self.verified(&term.source, commits, &mut sorted.due, now).await;
            let gaps = self.apply(term, steps, now).await?;
            sorted.due.extend(gaps);
            self.queue(term, sorted, &listed, cursor, now).await?;
        }
        match glanced.error {
            None => Ok(Taken {
                newest: glanced.newest,
            }),
            Some(error) => {
                if error == "FutureCursor" {
                    // The host's numbers begin anew: all that it has is read, and it may not have all that we missed.
                    self.audits.queue_all(&term.source).await?;
                    self.move_cursor(term, 0, now).await?;
                }
                Err(StreamError(format!("the host ends the stream: {error}")).into())
            }
        }
    }
}

impl Firehose {
    /// Frames into `index`. Accounts' keys come from `accounts`.
    #[must_use]
    pub fn new(index: Index, accounts: Arc<dyn AccountSource>, clock: Arc<dyn Clock>) -> Self {
        let audits = Audits::new(Arc::clone(&index.queue), Arc::clone(&clock));
        Self {
            index,
            accounts,
            clock,
            audits,
            without_key: remembered(),
            looked_up_anew: remembered(),
        }
    }

    async fn move_cursor(&self, term: &Term, cursor: i64, now: DateTime<Utc>) -> Result<(), IndexError> {
        let batch = Batch {
            fence: Some(term.fence(Some(cursor))),
            ..Batch::default()
        };
        self.index.writer.apply(&batch, now).await?;
        Ok(())
    }

    /// Writes the steps, and returns whose rows they do not fit.
    async fn apply(&self, term: &Term, steps: Vec<Step>, now: DateTime<Utc>) -> Result<Vec<Did>, IndexError> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        // The cursor passes them with the accounts that they leave behind a gap.
        let batch = Batch {
            steps,
            fence: Some(term.fence(None)),
            ..Batch::default()
        };
        let answers = self.index.writer.apply(&batch, now).await?;
        let applied = answers.iter().filter(|answer| **answer == Applied::Done).count();
        count(&term.source, "applied", applied);
        let answered = batch.steps.into_iter().zip(answers);
        let gaps = answered.filter_map(|answered| match answered {
            (Step::Records(step), Applied::Gap { .. }) => Some(step.did),
            _ => None,
        });
        Ok(gaps.collect())
    }

    /// Queues the accounts that are to be read, and moves the cursor behind the events.
    async fn queue(
        &self,
        term: &Term,
        sorted: Sorted,
        listed: &HashMap<Did, Tid>,
        cursor: u64,
        now: DateTime<Utc>,
    ) -> Result<(), IndexError> {
        let Sorted { due, found, .. } = sorted;
        count(&term.source, "due", due.len() + found.len());
        let queued = |did: Did| {
            // Anybody can be named; only accounts that are indexed go before the others.
            let lane = if listed.contains_key(&did) {
                Lane::Gap
            } else {
                Lane::Discovered
            };
            QueuedWork { did, lane, due: now }
        };
        let behind = Batch {
            steps: Vec::new(),
            work: due.into_iter().chain(found).map(queued).collect(),
            fence: Some(term.fence(Some(i64::try_from(cursor).unwrap_or(i64::MAX)))),
        };
        self.index.writer.apply(&behind, now).await?;
        Ok(())
    }

    /// The revisions of those accounts of the events that are indexed.
    async fn listed(&self, events: &[(&Bytes, GlancedAs)]) -> Result<HashMap<Did, Tid>, IndexError> {
        let dids: BTreeSet<&Did> = events.iter().map(|(_, event)| &event.did).collect();
        let dids: Vec<Did> = dids.into_iter().cloned().collect();
        self.index.writer.revisions(&dids).await
    }

    /// The commits with their accounts' keys. Accounts whose keys are not found become due.
    async fn with_keys(&self, sorted: &mut Sorted) -> Vec<Unverified> {
        let owners: BTreeSet<Did> = sorted.commits.iter().map(|event| event.repo.clone()).collect();
        let keys: HashMap<Did, PublicKey> = stream::iter(owners)
            .filter(|did| std::future::ready(!self.without_key.contains_key(did)))
            .map(|did| async move { (self.key(&did, false).await, did) })
            .buffer_unordered(LOOKUPS)
            .filter_map(|(key, did)| async move { Some((did, key?)) })
            .take_until(sleep(ALL_LOOKUPS))
            .collect()
            .await;
        let mut unverified = Vec::with_capacity(sorted.commits.len());
        for event in std::mem::take(&mut sorted.commits) {
            match keys.get(&event.repo) {
                Some(key) => unverified.push(Unverified {
                    event,
                    key: key.clone(),
                }),
                None => {
                    if !self.without_key.contains_key(&event.repo) {
                        self.without_key.insert(event.repo.clone(), ());
                    }
                    sorted.due.insert(event.repo);
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
        source: &str,
        mut commits: Vec<Unverified>,
        due: &mut BTreeSet<Did>,
        now: DateTime<Utc>,
    ) -> Vec<Step> {
        let mut parts = Vec::new();
        while !commits.is_empty() {
            let rest = commits.split_off(commits.len().min(CHECKED_TOGETHER));
            let part = std::mem::replace(&mut commits, rest);
            let owners: Vec<Did> = part.iter().map(|commit| commit.event.repo.clone()).collect();
            let checked = tokio::task::spawn_blocking(move || {
                part.into_iter()
                    .map(|Unverified { event, key }| {
                        let verified = verify::commit(&event, &key, now);
                        (event, verified)
                    })
                    .collect::<Vec<_>>()
            });
            parts.push((owners, checked));
        }
        let mut steps = Vec::new();
        let until = Instant::now() + ALL_LOOKUPS;
        for (owners, checked) in parts {
            let Ok(checked) = checked.await else {
                tracing::error!(
                    source,
                    "some commits could not be checked; their accounts are read instead"
                );
                due.extend(owners);
                continue;
            };
            for (event, verified) in checked {
                match self.or_with_new_key(&event, verified, until, now).await {
                    Ok(step) => steps.push(Step::Records(step)),
                    Err(refusal) => {
                        count(source, "refused", 1);
                        tracing::debug!(source, did = %event.repo, %refusal, "a commit is refused");
                        // It says nothing, but the account's own server may.
                        due.insert(event.repo);
                    }
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
        until: Instant,
        now: DateTime<Utc>,
    ) -> Result<RecordsStep, Refusal> {
        let did = &event.repo;
        if verified != Err(Refusal::BadSignature) || self.without_key.contains_key(did) {
            return verified;
        }
        // Once anew: what follows has the same key.
        let is_first = !self.looked_up_anew.contains_key(did);
        self.looked_up_anew.insert(did.clone(), ());
        if let Ok(Some(key)) = timeout_at(until, self.key(did, is_first)).await {
            return verify::commit(event, &key, now);
        }
        self.without_key.insert(did.clone(), ());
        verified
    }
}

fn remembered() -> moka::sync::Cache<Did, ()> {
    moka::sync::Cache::builder()
        .max_capacity(REMEMBERED)
        .time_to_live(NOT_AGAIN)
        .build()
}

fn glance_at<'f>(source: &str, frames: &'f [Bytes]) -> Glanced<'f> {
    let mut glanced = Glanced::default();
    let mut unreadable = 0;
    for frame in frames {
        match Glance::at(frame) {
            Ok(Glance::Event(event)) => {
                glanced.cursor = glanced.cursor.max(Some(event.seq));
                let time = DateTime::parse_from_rfc3339(event.time).ok();
                glanced.newest = glanced.newest.max(time.map(|time| time.to_utc()));
                // Somebody's event with a name that is none costs the others nothing.
                let Ok(did) = event.did.parse() else {
                    unreadable += 1;
                    continue;
                };
                let seen = GlancedAs {
                    did,
                    rev: event.rev.and_then(|rev| rev.parse().ok()),
                    is_about_images: event.paths.map(|paths| paths.into_iter().any(is_path_of_ours)),
                };
                glanced.events.push((frame, seen));
            }
            Ok(Glance::Info(name)) => glanced.has_gap |= name == "OutdatedCursor",
            Ok(Glance::Error(name)) => {
                glanced.error = Some(name);
                break;
            }
            Ok(Glance::Unknown) => {}
            Err(_) => unreadable += 1,
        }
    }
    count(source, "unreadable", unreadable);
    count(source, "seen", glanced.events.len());
    glanced
}

fn is_path_of_ours(path: &str) -> bool {
    let collection = path.split_once('/').map_or("", |(collection, _)| collection);
    collection.parse::<Collection>().is_ok()
}

/// Which commits are to be verified, and which accounts are to be read.
fn sorted(source: &str, events: &[(&Bytes, GlancedAs)], listed: &HashMap<Did, Tid>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut unreadable = 0;
    // Accounts whose first commit is among the events: what follows it is theirs as well.
    let mut begun: BTreeSet<&Did> = BTreeSet::new();
    for (frame, seen) in events {
        let did = &seen.did;
        let known = listed.get(did);
        let is_wanted = match (seen.is_about_images, known) {
            // Older ones are known, and one that is known may still bring the tree of a write of ours.
            (Some(_), Some(known)) => seen.rev.as_ref().is_none_or(|rev| rev >= known),
            (Some(is_about_images), None) => is_about_images || begun.contains(did),
            (None, Some(_)) => true,
            (None, None) => false,
        };
        if !is_wanted {
            continue;
        }
        match Message::decode(frame) {
            Ok(Message::Commit(event)) => {
                if known.is_some() || begun.contains(did) {
                    sorted.commits.push(*event);
                } else if event.since.is_none() {
                    begun.insert(did);
                    sorted.commits.push(*event);
                } else {
                    sorted.found.insert(event.repo);
                }
            }
            Ok(Message::Sync(event)) => {
                if known.is_some_and(|known| event.rev > *known) {
                    sorted.due.insert(event.did);
                }
            }
            Ok(Message::Identity(event)) => {
                sorted.renewed.insert(event.did.clone());
                sorted.due.insert(event.did);
            }
            Ok(Message::Account(event)) => {
                sorted.due.insert(event.did);
            }
            Err(error) => {
                unreadable += 1;
                tracing::debug!(source, %did, %error, "a frame is not read");
                if known.is_some() {
                    sorted.due.insert(did.clone());
                }
            }
        }
    }
    count(source, "unreadable", unreadable);
    sorted
}
