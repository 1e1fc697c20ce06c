//! A follower, written from the specification: believes nothing that it has not checked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::{Cid, Tid};
use atcr_repo::firehose::{CommitEvent, Message};
use atcr_repo::mst::inversion::invert;
use atcr_repo::mst::{Change, Node, NodeSource};
use atcr_repo::{Commit, DataError, car};

/// What it knows of the repository.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    pub(crate) seq: u64,
    /// Revision and root of the newest commit.
    pub(crate) head: Option<(Tid, Cid)>,
    pub(crate) records: BTreeMap<String, Cid>,
    pub(crate) commits: usize,
    /// How often a `#sync` named a state that it did not have. The caller then gives it the records.
    pub(crate) resyncs: usize,
    /// The chain may break once: the repository was restored, and commits that this has seen are lost.
    pub(crate) may_break: bool,
    /// Events up to this revision are in the records that the caller gave it.
    pub(crate) given: Option<Tid>,
}

struct Nodes(HashMap<Cid, Arc<Node>>);

impl NodeSource for Nodes {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        self.0.get(cid).cloned().ok_or(DataError::Missing(*cid))
    }
}

impl Consumer {
    /// The root of the newest commit that it knows.
    pub(crate) fn root(&self) -> Option<Cid> {
        self.head.as_ref().map(|(_, data)| *data)
    }

    /// Takes one message.
    pub(crate) fn take(&mut self, frame: &[u8], key: &PublicKey) -> Result<(), String> {
        let message = Message::decode(frame).map_err(|error| error.to_string())?;
        self.take_message(message, key)
    }

    /// [`take`](Self::take), of a message that is decoded.
    pub(crate) fn take_message(&mut self, message: Message, key: &PublicKey) -> Result<(), String> {
        if message.seq() <= self.seq {
            return Err(format!("seq {} after {}", message.seq(), self.seq));
        }
        self.seq = message.seq();
        let rev = match &message {
            Message::Commit(event) => Some(&event.rev),
            Message::Sync(event) => Some(&event.rev),
            Message::Identity(_) | Message::Account(_) => None,
        };
        if rev.is_some() && rev <= self.given.as_ref() {
            return Ok(());
        }
        match message {
            Message::Commit(event) => self.take_commit(&event, key),
            Message::Sync(event) => {
                let blocks = blocks(&event.blocks)?;
                let (commit, _) = signed_commit(&blocks, event.rev.as_str(), key)?;
                match &self.head {
                    Some((rev, data)) if *rev == event.rev && *data == commit.data => Ok(()),
                    Some((rev, _)) if *rev < event.rev => {
                        self.head = Some((event.rev.clone(), commit.data));
                        self.resyncs += 1;
                        Ok(())
                    }
                    head => Err(format!("a sync to {} at {head:?}", event.rev)),
                }
            }
            Message::Identity(_) | Message::Account(_) => Ok(()),
        }
    }

    fn take_commit(&mut self, event: &CommitEvent, key: &PublicKey) -> Result<(), String> {
        let blocks = blocks(&event.blocks)?;
        let (commit, cid) = signed_commit(&blocks, event.rev.as_str(), key)?;
        if cid != event.commit || !blocks.contains_key(&commit.data) {
            return Err("a commit without its commit or root".to_owned());
        }
        let (since, prev_data) = match &self.head {
            None => (None, None),
            Some((rev, data)) => (Some(rev.clone()), Some(*data)),
        };
        let is_next = event.since == since && event.prev_data == prev_data;
        if !is_next && self.may_break && since.as_ref().is_some_and(|since| *since < event.rev) {
            self.may_break = false;
            self.head = Some((event.rev.clone(), commit.data));
            self.resyncs += 1;
            return Ok(());
        }
        if !is_next {
            return Err(format!(
                "the chain is broken: since {:?} at {since:?}",
                event.since
            ));
        }
        if since.is_some_and(|since| since >= event.rev) {
            return Err("a revision that does not grow".to_owned());
        }
        let mut changes = Vec::new();
        for op in &event.ops {
            if self.records.get(&op.path).copied() != op.prev {
                return Err(format!("{} was something else", op.path));
            }
            match op.cid {
                Some(cid) if blocks.contains_key(&cid) => self.records.insert(op.path.clone(), cid),
                Some(cid) => return Err(format!("record {cid} is not sent")),
                None => self.records.remove(&op.path),
            };
            changes.push(Change {
                key: (&*op.path).into(),
                old: op.prev,
                new: op.cid,
            });
        }
        if let Some(prev_data) = prev_data {
            let node = |(cid, bytes): (&Cid, &Vec<u8>)| Some((*cid, Arc::new(Node::decode(bytes).ok()?)));
            let nodes = Nodes(blocks.iter().filter_map(node).collect());
            if invert(&nodes, commit.data, &changes) != Ok(prev_data) {
                return Err("the operations cannot be undone".to_owned());
            }
        }
        self.head = Some((event.rev.clone(), commit.data));
        self.commits += 1;
        Ok(())
    }
}

fn signed_commit(
    blocks: &HashMap<Cid, Vec<u8>>,
    rev: &str,
    key: &PublicKey,
) -> Result<(Commit, Cid), String> {
    let found = blocks
        .iter()
        .find_map(|(cid, bytes)| Some((Commit::decode(bytes).ok()?, *cid)));
    let (commit, cid) = found.ok_or("no commit is sent")?;
    if commit.rev != rev || !commit.is_signed_by(key) {
        return Err("the commit is not signed, or another one".to_owned());
    }
    Ok((commit, cid))
}

fn blocks(bytes: &[u8]) -> Result<HashMap<Cid, Vec<u8>>, String> {
    let mut blocks = HashMap::new();
    let mut position = car::header_len(bytes).ok_or("no CAR")?;
    while position < bytes.len() {
        let section = car::read_block(bytes, position).ok_or("a torn CAR")?;
        let content = &bytes[section.content.clone()];
        if cid_of(DAG_CBOR, content) != section.cid {
            return Err(format!("block {} is another one", section.cid));
        }
        blocks.insert(section.cid, content.to_vec());
        position = section.content.end;
    }
    Ok(blocks)
}
