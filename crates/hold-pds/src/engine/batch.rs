//! Group commit: the calls of one batch, in as few commits as the limits allow.
//!
//! Calls that share a commit do not depend on each other: a call that touches what another has written, or that names the
//! commit it expects, begins a commit of its own. The failure of one call therefore does not affect the others.

use std::collections::{HashMap, HashSet, VecDeque};

use atcr_atproto::syntax::Cid;
use atcr_repo::mst::{NodeSource, Tree};
use bytes::Bytes;

use super::commit_builder::{CommitBuilder, Content};
use super::workspace::Workspace;
use crate::blocks::View;
use crate::error::RepoError;
use crate::head::Head;
use crate::index::{self, RecordChange};
use crate::log::PendingEntry;
use crate::writer::limits::{MAX_COMMIT_CAR_BYTES, MAX_OPS};
use crate::writer::prepare::{Change, PreparedCall, PreparedPrecondition};
use crate::writer::{RecordRef, WriteOutcome};

/// One caller's writes, and what the answer is to be matched with.
#[derive(Debug)]
pub(crate) struct Call<T> {
    pub(crate) prepared: PreparedCall,
    pub(crate) ticket: T,
}

/// The result of a call.
pub(crate) type Answer = Result<WriteOutcome, RepoError>;

/// Commits that will be synced at once.
#[derive(Debug)]
pub(super) struct Batch<'a, T> {
    builder: &'a CommitBuilder,
    workspace: Workspace,
    /// After the commits that were built so far.
    head: Head,
    /// The newest event so far.
    last_seq: u64,
    /// The commits.
    entries: Vec<PendingEntry>,
    bytes: usize,
    changes: Vec<RecordChange>,
    /// Calls that wait for them to be on the disk.
    waiting: Vec<(T, WriteOutcome)>,
    /// Calls that have an answer already.
    refused: Vec<(T, Answer)>,
}

/// The result of a batch.
#[derive(Debug)]
pub(super) struct Finished<T> {
    pub(super) workspace: Workspace,
    pub(super) head: Head,
    pub(super) entries: Vec<PendingEntry>,
    pub(super) changes: Vec<RecordChange>,
    pub(super) waiting: Vec<(T, WriteOutcome)>,
    pub(super) refused: Vec<(T, Answer)>,
}

/// A call whose writes are in the tree.
struct Applied<T> {
    call: Call<T>,
    records: Vec<RecordRef>,
    deleted: usize,
}

/// What the calls of one commit have in common.
struct Group<T> {
    tree: Tree,
    applied: Vec<Applied<T>>,
    written: HashSet<String>,
    ops: usize,
    record_bytes: usize,
}

impl<'a, T> Batch<'a, T> {
    pub(super) fn new(builder: &'a CommitBuilder, view: View) -> Self {
        Self {
            builder,
            head: view.head.clone(),
            last_seq: view.last.0,
            workspace: Workspace::new(view),
            entries: Vec::new(),
            bytes: 0,
            changes: Vec::new(),
            waiting: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Bytes that this batch will append to the log.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn finish(self) -> Finished<T> {
        Finished {
            workspace: self.workspace,
            head: self.head,
            entries: self.entries,
            changes: self.changes,
            waiting: self.waiting,
            refused: self.refused,
        }
    }

    /// Takes calls from the front of `queue` and makes one commit of them. The size of their tree nodes is known only
    /// then; if it is too large, half of the calls wait for the next commit.
    pub(super) fn add_commit(&mut self, queue: &mut VecDeque<Call<T>>) {
        let mut max_calls = usize::MAX;
        loop {
            let group = match self.gather(queue, max_calls) {
                Ok(group) => group,
                Err(error) => {
                    // The tree itself cannot be read.
                    self.refused
                        .extend(queue.drain(..).map(|call| (call.ticket, Err(error.clone()))));
                    return;
                }
            };
            match self.commit(&group) {
                Ok(Committed::Built(head)) => return self.settle(group, *head),
                Ok(Committed::Unchanged) => return self.settle(group, self.head.clone()),
                Ok(Committed::TooLarge) if group.applied.len() > 1 => {
                    max_calls = group.applied.len() / 2;
                    for applied in group.applied.into_iter().rev() {
                        queue.push_front(applied.call);
                    }
                }
                Ok(Committed::TooLarge) => {
                    return self.refuse(
                        group,
                        &RepoError::TooManyWrites {
                            reason: "more than 2,000,000 bytes",
                        },
                    );
                }
                Err(error) => return self.refuse(group, &error),
            }
        }
    }

    fn settle(&mut self, group: Group<T>, head: Head) {
        self.head = head;
        for Applied {
            call,
            records,
            deleted,
        } in group.applied
        {
            self.waiting.push((
                call.ticket,
                WriteOutcome {
                    commit: self.head.info(),
                    records,
                    deleted,
                },
            ));
        }
    }

    fn refuse(&mut self, group: Group<T>, error: &RepoError) {
        self.refused.extend(
            group
                .applied
                .into_iter()
                .map(|applied| (applied.call.ticket, Err(error.clone()))),
        );
    }

    /// As many calls as fit in one commit, their writes done to the tree.
    fn gather(&mut self, queue: &mut VecDeque<Call<T>>, max_calls: usize) -> Result<Group<T>, RepoError> {
        let tree = Tree::open(&self.workspace, self.head.data)?;
        let mut group = Group {
            tree,
            applied: Vec::new(),
            written: HashSet::new(),
            ops: 0,
            record_bytes: 0,
        };
        while group.applied.len() < max_calls
            && let Some(call) = queue.pop_front_if(|call| group.has_room_for(&call.prepared))
        {
            match edit(&self.workspace, &group.tree, self.head.commit, &call.prepared).unwrap_or_else(Err) {
                Ok(Edited {
                    tree,
                    records,
                    deleted,
                }) => {
                    group.tree = tree;
                    group
                        .written
                        .extend(call.prepared.writes.iter().map(|write| write.path.clone()));
                    group.ops += call.prepared.writes.len();
                    group.record_bytes += call.prepared.record_bytes;
                    group.applied.push(Applied {
                        call,
                        records,
                        deleted,
                    });
                }
                Err(error) => self.refused.push((call.ticket, Err(error))),
            }
        }
        Ok(group)
    }

    fn commit(&mut self, group: &Group<T>) -> Result<Committed, RepoError> {
        let records: HashMap<Cid, Bytes> = group
            .applied
            .iter()
            .flat_map(|applied| &applied.call.prepared.writes)
            .filter_map(|write| match &write.change {
                Change::Create(block) | Change::Put(block) => Some((block.cid, block.bytes.clone())),
                Change::Delete => None,
            })
            .collect();
        let content = Content::of_tree(&mut self.workspace, &self.head, &group.tree, &records)?;
        let Some(content) = content else {
            return Ok(Committed::Unchanged);
        };
        let mut last_seq = self.last_seq;
        let Some((head, commit)) = self.builder.build(Some(&self.head), &content, &mut last_seq)? else {
            return Ok(Committed::TooLarge);
        };
        self.last_seq = last_seq;
        self.bytes += commit.entry.len();
        self.entries.push(commit.entry);
        self.changes
            .extend(index::changes(content.changes(), |cid| records.get(cid).cloned()));
        Ok(Committed::Built(Box::new(head)))
    }
}

/// What became of a group.
enum Committed {
    Built(Box<Head>),
    Unchanged,
    TooLarge,
}

/// A tree with a call's writes done.
struct Edited {
    tree: Tree,
    records: Vec<RecordRef>,
    deleted: usize,
}

impl<T> Group<T> {
    /// Whether a call fits beside those that are here and is independent of their order.
    fn has_room_for(&self, call: &PreparedCall) -> bool {
        if self.applied.is_empty() {
            return true;
        }
        let is_independent = |precondition: &PreparedPrecondition| match precondition {
            PreparedPrecondition::Commit(_) => false,
            PreparedPrecondition::Record { path, .. } => !self.written.contains(path),
        };
        self.ops + call.writes.len() <= MAX_OPS
            && self.record_bytes + call.record_bytes <= MAX_COMMIT_CAR_BYTES
            && call
                .writes
                .iter()
                .all(|write| !self.written.contains(&write.path))
            && call.preconditions.iter().all(is_independent)
    }
}

/// Does a call's writes, or says why it is refused. The outer error is the tree's.
fn edit(
    nodes: &impl NodeSource<Error = RepoError>,
    tree: &Tree,
    head: Cid,
    call: &PreparedCall,
) -> Result<Result<Edited, RepoError>, RepoError> {
    for precondition in &call.preconditions {
        match precondition {
            PreparedPrecondition::Commit(expected) if *expected == head => {}
            PreparedPrecondition::Commit(_) => return Ok(Err(RepoError::CommitSwapped { found: head })),
            PreparedPrecondition::Record { path, cid } => {
                if tree.get(nodes, path)? != *cid {
                    return Ok(Err(RepoError::RecordSwapped { path: path.clone() }));
                }
            }
        }
    }
    let mut edited = Edited {
        tree: tree.clone(),
        records: Vec::new(),
        deleted: 0,
    };
    for write in &call.writes {
        let found = tree.get(nodes, &write.path)?;
        match (&write.change, found) {
            (Change::Create(_), Some(_)) => {
                return Ok(Err(RepoError::RecordExists {
                    path: write.path.clone(),
                }));
            }
            (Change::Create(block) | Change::Put(block), found) => {
                if found != Some(block.cid) {
                    edited.tree = edited.tree.put(nodes, &write.path, block.cid)?;
                }
                edited.records.push(RecordRef {
                    uri: write.uri.clone(),
                    cid: block.cid,
                });
            }
            (Change::Delete, Some(_)) => {
                edited.tree = edited.tree.remove(nodes, &write.path)?;
                edited.deleted += 1;
            }
            (Change::Delete, None) => {}
        }
    }
    Ok(Ok(edited))
}
