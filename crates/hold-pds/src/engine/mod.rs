//! The repository's engine: the log, the snapshot and the tree. No runtime, no index: each call blocks on the disk.
//!
//! - [`open`]: opening, and the first events of a new repository
//! - [`adopt`]: a state that did not come of commits
//! - [`batch`]: several callers' writes in as few commits as the limits allow
//! - [`commit_builder`]: from an edited tree to a signed commit
//! - [`restore`]: the way back from a copy of the files
//! - [`workspace`]: the tree nodes of one batch

mod adopt;
mod batch;
mod commit_builder;
mod open;
mod restore;
mod sequence;
mod workspace;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::syntax::{Did, Tid};

pub(crate) use batch::{Answer, Call};
pub(crate) use commit_builder::CommitBuilder;
pub(crate) use restore::restore;

use crate::blocks::{BlockKey, Blocks, Recent, View};
use crate::disk::Disk;
use crate::error::RepoError;
use crate::index::RecordChange;
use crate::log::{Announced, AppendError, Log, LogLimits, Manifest, PendingEntry};
use crate::repo::{KnownEvent, RepoOptions, Seen};
use crate::snapshot::{self, Snapshot, SnapshotJob};
use batch::Batch;

/// Bytes of the log after which a batch is synced, however many calls still wait.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Blocks that came or went, known in memory, some 50 bytes each, after which a snapshot is due: this many, or a fourth of the
/// repository's.
const MAX_RECENT: usize = 400_000;
/// How far the newest revision may be ahead of the clock. Relays refuse five minutes.
const MAX_AHEAD_MICROS: u64 = 120 * 1_000_000;

/// Numbers that lost events may have had: some followers' clocks are that far ahead, and a restore skips as many.
const SEQ_GAP_MICROS: u64 = 3600 * 1_000_000;

impl Seen {
    /// The number that the next event has to be greater than.
    fn skips_to(&self) -> u64 {
        match self.seq {
            0 => 0,
            seq => seq.saturating_add(SEQ_GAP_MICROS),
        }
    }
}

/// Whose signature the newest commit may have.
#[derive(Clone, Debug)]
pub(crate) enum Signers {
    /// The signing key's.
    Own,
    /// Anyone's: what another key signed is signed anew, and followers are told so.
    Any,
    /// The signing key's, or that of one of these. Nothing is signed anew: it is a copy.
    OneOf(Vec<PublicKey>),
}

/// What the engine needs to know.
#[derive(Debug)]
pub(crate) struct EngineOptions {
    pub(crate) did: Did,
    /// What `#identity` events say.
    pub(crate) handle: Option<String>,
    /// The URL that the DID document names.
    pub(crate) endpoint: Option<String>,
    /// The account that this one takes the place of at the same host, if the repository is new.
    pub(crate) replaces: Option<Did>,
    pub(crate) signing_key: SigningKey,
    pub(crate) signers: Signers,
    /// What followers have got of an earlier repository. Counts for a new one, and for one that is restored.
    pub(crate) seen: Seen,
    /// The newest event that is known from elsewhere.
    pub(crate) known: Option<KnownEvent>,
    pub(crate) must_exist: bool,
    pub(crate) node_cache_bytes: usize,
    pub(crate) limits: LogLimits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tids: Arc<TidClock>,
}

impl EngineOptions {
    /// What `options` say, with the time from `clock` and revisions from `tids`.
    pub(crate) fn of(options: RepoOptions, clock: Arc<dyn Clock>, tids: Arc<TidClock>) -> Self {
        let RepoOptions {
            dir: _,
            did,
            handle,
            endpoint,
            replaces,
            signing_key,
            accept_new_key,
            seen,
            known,
            must_exist,
            node_cache_bytes,
            events: _,
            limits,
        } = options;
        Self {
            did,
            handle,
            endpoint,
            replaces,
            signing_key,
            signers: if accept_new_key {
                Signers::Any
            } else {
                Signers::Own
            },
            seen,
            known,
            must_exist,
            node_cache_bytes,
            limits,
            clock,
            tids,
        }
    }
}

/// The engine. Its owner writes the repository; readers have [`View`]s.
#[derive(Debug)]
pub(crate) struct Engine {
    log: Log,
    builder: CommitBuilder,
    /// What the newest `#identity` event says, or is to say.
    announced: Announced,
    view: View,
    /// The repository is new, or at another host: followers that come have no position here.
    is_unknown: bool,
    /// The newest event that the folder had, before the opening wrote one.
    found_seq: u64,
    /// The folder lacks an event that is known from elsewhere: nothing was written to it.
    is_older_copy: bool,
    /// Revisions of snapshots that were given up while a manifest that names them was perhaps on the disk already.
    perhaps_named: Vec<String>,
    /// Blocks that came and went, and what is alive as long as somebody may read a commit that has them. The oldest first.
    over: VecDeque<(Weak<()>, Vec<BlockKey>)>,
}

/// What came of a batch.
#[derive(Debug)]
pub(crate) struct BatchOutcome<T> {
    /// What each call came to: on the disk, or refused. The index has `changes` later.
    pub(crate) answers: Vec<(T, Answer)>,
    /// Records that changed, in order.
    pub(crate) changes: Vec<RecordChange>,
    /// Events that were made.
    pub(crate) events: usize,
}

impl Engine {
    /// The repository as of the newest commit.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Whose repository it is.
    pub(crate) fn did(&self) -> &Did {
        &self.builder.did
    }

    /// Whose signatures its commits have.
    pub(crate) fn public_key(&self) -> PublicKey {
        self.builder.signing_key.public_key()
    }

    /// Whether the last write to the disk worked.
    pub(crate) fn is_healthy(&self) -> bool {
        self.log.is_healthy()
    }

    /// Signs with `key` from now on, and tells followers so. Events before are not served to new subscribers any more, since the
    /// document has no key for them. Nothing happens if `key` signs already.
    pub(crate) fn change_key(&mut self, key: SigningKey) -> Result<(), RepoError> {
        if key.public_key() == self.builder.signing_key.public_key() {
            return Ok(());
        }
        let old = std::mem::replace(&mut self.builder.signing_key, key);
        let result = self.announce(&open::Occasion::NewKey);
        // Also after a write that may have happened: the next try announces once more.
        if result.is_err() {
            self.builder.signing_key = old;
        }
        self.refresh();
        result
    }

    /// Whether those that follow this host know nothing of the repository.
    pub(crate) fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// The newest event that the folder had before the opening.
    pub(crate) fn found_seq(&self) -> u64 {
        self.found_seq
    }

    /// Whether the folder lacks an event that is known from elsewhere.
    pub(crate) fn is_older_copy(&self) -> bool {
        self.is_older_copy
    }

    /// Tells followers what the repository is now.
    pub(crate) fn introduce(&mut self) -> Result<(), RepoError> {
        let result = self.announce(&open::Occasion::NewFollower);
        self.refresh();
        result
    }

    /// Makes sure that the next write has a file that works.
    pub(crate) fn heal(&mut self) -> Result<(), RepoError> {
        let result = self.log.heal();
        self.refresh();
        result
    }

    /// Makes commits of the calls at the front of `queue`, as many as one sync should carry, and waits until they are on
    /// the disk.
    pub(crate) fn write_batch<T>(&mut self, queue: &mut VecDeque<Call<T>>) -> BatchOutcome<T> {
        if let Err(error) = self.check_clock() {
            let refuse = |call: Call<T>| (call.ticket, Err(error.clone()));
            return BatchOutcome {
                answers: queue.drain(..).map(refuse).collect(),
                changes: Vec::new(),
                events: 0,
            };
        }
        let mut batch = Batch::new(&self.builder, self.view.clone());
        while !queue.is_empty() && batch.len() < MAX_BATCH_BYTES {
            batch.add_commit(queue);
        }
        let batch = batch.finish();
        let mut answers = batch.refused;
        let mut changes = batch.changes;
        let mut events = 0;
        let stored = self.store(&batch.entries, batch.head);
        match stored {
            Ok(()) => {
                events = batch.entries.len();
                batch.workspace.keep(&self.view.nodes);
                answers.extend(
                    batch
                        .waiting
                        .into_iter()
                        .map(|(ticket, outcome)| (ticket, Ok(outcome))),
                );
            }
            Err(error) => {
                changes.clear();
                let failed = batch.waiting.into_iter();
                answers.extend(failed.map(|(ticket, _)| (ticket, Err(error.clone()))));
            }
        }
        BatchOutcome {
            answers,
            changes,
            events,
        }
    }

    /// Appends entries that lead to `head`, and makes them visible.
    fn store(&mut self, entries: &[PendingEntry], head: crate::head::Head) -> Result<(), RepoError> {
        if entries.is_empty() {
            return Ok(());
        }
        let frames = self.log.append(entries).map_err(|error| match error {
            AppendError::NotWritten(error) => error,
            AppendError::Unknown(error) => RepoError::PerhapsWritten(Arc::new(error)),
        })?;
        for (entry, frame) in entries.iter().zip(&frames) {
            if let Some(aux) = &entry.aux {
                let over = self.view.blocks.recent.apply(*frame, aux);
                self.forget_later(over);
            }
        }
        self.view.head = head;
        self.refresh();
        Ok(())
    }

    /// Forgets blocks that came and went, once nobody reads a commit that has them. What came and went before those goes first.
    fn forget_later(&mut self, over: Vec<BlockKey>) {
        if !over.is_empty() {
            let older = std::mem::take(&mut self.view.pin);
            self.over.push_back((Arc::downgrade(&older), over));
        }
        while let Some((_, keys)) = self.over.pop_front_if(|(older, _)| older.strong_count() == 0) {
            self.view.blocks.recent.forget(&keys);
        }
    }

    /// Takes over what the log says of itself.
    fn refresh(&mut self) {
        self.view.segments = Arc::clone(self.log.segments());
        self.view.end = self.log.end();
        self.view.last = self.log.last();
        self.view.dropped_seq = self.log.manifest().dropped_seq;
    }

    /// A clock far behind the newest commit would make revisions that no relay takes.
    fn check_clock(&self) -> Result<(), RepoError> {
        check_ahead(&self.view.head.rev, self.builder.now_micros())
    }

    /// Whether the log has grown so much, or what is to be known of it in memory, that a snapshot is due, and none is under way.
    pub(crate) fn wants_snapshot(&self) -> bool {
        let blocks = &self.view.blocks;
        let in_snapshot = blocks
            .snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.table.max_rows());
        let has_many = blocks.recent.len() >= MAX_RECENT.max(in_snapshot / 4);
        blocks.frozen.is_none() && (has_many || self.log.wants_snapshot())
    }

    /// Begins a snapshot of the repository as it is now. `None` while one is under way, or if there is one of this state.
    pub(crate) fn begin_snapshot(&mut self, stop: Arc<AtomicBool>) -> Option<SnapshotJob> {
        let newest = self.log.manifest().snapshot.as_ref();
        let is_taken = newest.is_some_and(|snapshot| snapshot.rev == self.view.head.rev.as_str());
        if self.view.blocks.frozen.is_some() || is_taken {
            return None;
        }
        let rev = self.view.head.rev.as_str();
        let job = SnapshotJob {
            disk: Arc::clone(self.log.disk()),
            view: self.view.clone(),
            stop,
            is_perhaps_named: self.perhaps_named.iter().any(|named| named == rev),
        };
        // What is frozen stays as it is.
        self.over.clear();
        self.view.blocks = Arc::new(Blocks {
            snapshot: self.view.blocks.snapshot.clone(),
            frozen: Some(Arc::clone(&self.view.blocks.recent)),
            recent: Arc::default(),
        });
        Some(job)
    }

    /// Ends what [`begin_snapshot`](Self::begin_snapshot) began: the snapshot becomes part of the repository, and what it
    /// makes needless goes. Without one, and after an error, all is as before.
    pub(crate) fn finish_snapshot(&mut self, snapshot: Option<Snapshot>) -> Result<(), RepoError> {
        let blocks = &self.view.blocks;
        let old = blocks.snapshot.clone();
        let given_up = |blocks: &Blocks| Blocks {
            snapshot: blocks.snapshot.clone(),
            frozen: None,
            recent: match &blocks.frozen {
                Some(frozen) => Arc::new(frozen.joined_with(&blocks.recent)),
                None => Arc::clone(&blocks.recent),
            },
        };
        let published = match &snapshot {
            None => Ok(()),
            Some(snapshot) => {
                let info = snapshot.info.clone();
                let published = self
                    .log
                    .update_manifest(|manifest| manifest.snapshot = Some(info));
                if published.is_err() {
                    give_up(&**self.log.disk(), &snapshot.info.rev, &mut self.perhaps_named);
                }
                published
            }
        };
        let new = match (snapshot, &published) {
            (Some(snapshot), Ok(())) => Blocks {
                snapshot: Some(Arc::new(snapshot)),
                frozen: None,
                recent: Arc::clone(&blocks.recent),
            },
            _ => given_up(blocks),
        };
        let is_new = new.snapshot.as_ref().map(|new| &new.info.rev) != old.as_ref().map(|old| &old.info.rev);
        self.view.blocks = Arc::new(new);
        published?;
        if is_new {
            // The manifest is on the disk, and it is the only one.
            let mut unused = std::mem::take(&mut self.perhaps_named);
            unused.extend(old.map(|old| old.info.rev.clone()));
            let used = self.view.blocks.snapshot.as_ref().map(|new| &new.info.rev);
            for rev in unused.iter().filter(|rev| Some(*rev) != used) {
                snapshot::remove(&**self.log.disk(), rev);
            }
        }
        self.drop_old()
    }

    /// Lets go of events that are older than the retention, as far as a snapshot covers them.
    pub(crate) fn drop_old(&mut self) -> Result<(), RepoError> {
        let result = self.log.drop_old(self.builder.now_micros());
        self.refresh();
        result
    }
}

/// Refuses to go on from a revision that is far ahead of the clock.
fn check_ahead(rev: &Tid, now: u64) -> Result<(), RepoError> {
    let ahead = rev.micros().saturating_sub(now);
    if ahead > MAX_AHEAD_MICROS {
        return Err(RepoError::ClockBehind {
            seconds: ahead / 1_000_000,
        });
    }
    Ok(())
}

/// Removes a snapshot whose manifest could not be published, unless that manifest has the name already: then it is perhaps
/// on the disk.
fn give_up(disk: &dyn Disk, rev: &str, perhaps_named: &mut Vec<String>) {
    let is_named = perhaps_named.iter().any(|named| named == rev);
    let in_place = Manifest::read(disk).ok().flatten();
    if !is_named && in_place.is_some_and(|manifest| manifest.snapshot.is_none_or(|found| found.rev != rev)) {
        snapshot::remove(disk, rev);
    } else if !is_named {
        perhaps_named.push(rev.to_owned());
    }
}

/// A generation without blocks.
fn no_blocks(snapshot: Option<Arc<Snapshot>>) -> Blocks {
    Blocks {
        snapshot,
        frozen: None,
        recent: Arc::new(Recent::default()),
    }
}

/// Where the engine's files are.
pub(crate) type SharedDisk = Arc<dyn Disk>;

#[cfg(test)]
mod tests;
