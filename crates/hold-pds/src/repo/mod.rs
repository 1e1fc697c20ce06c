//! [`HoldRepo`]: the repository as everybody else sees it.

mod export;
mod holdings;
mod open;
mod options;
mod records;
mod verify;
mod walk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{Cid, Did, Tid};
use bytes::Bytes;
use futures_util::stream::Stream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use holdings::{CrewMember, CrewPage};
pub use options::RepoOptions;
pub use records::{RecordPage, StoredRecord};

use crate::error::RepoError;
use crate::head::CommitInfo;
use crate::sequencer::CommitEvent;
use crate::store::lock::Lock;
use crate::store::{Pins, Store, tree_error};
use crate::writer::{Call, Message, Precondition, RecordWrite, WriteOutcome, prepare};
use atcr_repo::car;
use atcr_repo::mst::{Node, NodeSource, Tree, proof};
use atcr_repo::{Block, DataError};

/// The repository. Cheap to clone; all clones are the same repository.
///
/// Reads see every write that was acknowledged. What is read in one call is from one commit, except pages.
#[derive(Clone, Debug)]
pub struct HoldRepo {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    did: Did,
    public_key: PublicKey,
    tids: Arc<TidClock>,
    store: Arc<Store>,
    pins: Pins,
    seq: watch::Receiver<u64>,
    mailbox: mpsc::Sender<Message>,
    /// `None` once closed.
    running: Mutex<Option<(JoinHandle<()>, Lock)>>,
}

impl HoldRepo {
    /// Opens the repository, or makes one with an empty signed commit. Needs a tokio runtime, on which the writer runs.
    ///
    /// What a crash left at the end of the log is mended first; an index that is missing or damaged is made anew, which
    /// reads the whole log.
    ///
    /// # Errors
    /// - [`RepoError::Locked`]: another process has it open
    /// - [`RepoError::OtherDid`]: the folder holds somebody else's
    /// - [`RepoError::Corrupt`]: damage that no crash explains; nothing was changed
    /// - the disk's or the index's
    pub async fn open(options: RepoOptions, clock: Arc<dyn Clock>) -> Result<Self, RepoError> {
        open::open(options, clock).await
    }

    /// Finishes the writes under way, closes the files and lets other processes in. Later calls, on any clone, fail with
    /// [`RepoError::Closed`] or as the index does; a second call returns at once.
    pub async fn close(&self) {
        let running = self
            .inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((writer, lock)) = running else {
            return;
        };
        // Fails if the writer has ended already.
        let _ = self.inner.mailbox.send(Message::Close).await;
        if writer.await.is_err() {
            tracing::error!(did = %self.inner.did, "the repository's writer ended before its time");
        }
        self.inner.store.index.close().await;
        drop(lock);
    }

    /// Whose repository it is.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.inner.did
    }

    /// Does `writes` in one commit, all or none: on the disk when this returns. Other callers' writes may be in the same
    /// commit.
    ///
    /// # Errors
    /// As [`write_if`](Self::write_if).
    pub async fn write(&self, writes: Vec<RecordWrite>) -> Result<WriteOutcome, RepoError> {
        self.write_if(writes, Vec::new()).await
    }

    /// As [`write`](Self::write), if all of `preconditions` hold at that moment.
    ///
    /// # Errors
    /// Nothing of the call was written:
    /// - [`RepoError::RecordExists`], [`RepoError::CommitSwapped`], [`RepoError::RecordSwapped`]: look again
    /// - [`RepoError::InvalidRecord`], [`RepoError::OtherType`], [`RepoError::RecordTooLarge`],
    ///   [`RepoError::TooManyWrites`], [`RepoError::DuplicatePath`]: the call is wrong
    /// - [`RepoError::Failed`], [`RepoError::Closed`]: open the repository again
    ///
    /// Perhaps written:
    /// - [`RepoError::Disk`] when appending or syncing failed, [`RepoError::Index`]: look, or open the repository again
    ///
    /// # Cancel safety
    /// Once the call waits in the mailbox, dropping the future does not take it back.
    pub async fn write_if(
        &self,
        writes: Vec<RecordWrite>,
        preconditions: Vec<Precondition>,
    ) -> Result<WriteOutcome, RepoError> {
        let prepared = prepare(&self.inner.did, &self.inner.tids, writes, preconditions)?;
        let (reply, answer) = oneshot::channel();
        let call = Message::Write(Call { prepared, reply });
        self.inner
            .mailbox
            .send(call)
            .await
            .map_err(|_| RepoError::Closed)?;
        answer.await.map_err(|_| RepoError::Closed)?
    }

    /// The newest commit.
    #[must_use]
    pub fn latest_commit(&self) -> CommitInfo {
        self.inner.pins.head().info()
    }

    /// The repository as CAR, in pieces of some 64 KiB; with `since`, only the blocks that are newer than that revision.
    /// The root is the newest commit of now, and all blocks are of that commit, whatever is written meanwhile.
    ///
    /// Tree nodes come before what is below them, records in the order of their paths. Memory does not depend on the size
    /// of the repository.
    pub fn export_car(
        &self,
        since: Option<Tid>,
    ) -> impl Stream<Item = Result<Bytes, RepoError>> + Send + 'static {
        export::export(Arc::clone(&self.inner.store), self.inner.pins.pin(), since)
    }

    /// A CAR that proves that the record exists, or that it does not: commit, tree nodes on the way, record.
    ///
    /// # Errors
    /// The disk's or the index's.
    ///
    /// # Spec
    /// `com.atproto.sync.getRecord`.
    pub async fn record_proof(&self, collection: &str, rkey: &str) -> Result<Bytes, RepoError> {
        let store = &self.inner.store;
        let pin = self.inner.pins.pin();
        let path = format!("{collection}/{rkey}");
        let mut nodes = PathNodes::default();
        let (mut cids, record) = loop {
            let found = Tree::open(&nodes, pin.head().data)
                .and_then(|tree| Ok((proof::path(&tree, &nodes, &path)?, tree.get(&nodes, &path)?)));
            match found {
                Ok(found) => break found,
                Err(DataError::Missing(cid)) => nodes.0.insert(cid, store.node(cid).await?),
                Err(error) => return Err(tree_error(&error)),
            };
        };
        if cids.is_empty() {
            // The tree without keys.
            cids.push(pin.head().data);
        }
        cids.insert(0, pin.head().commit);
        cids.extend(record);
        let mut blocks = Vec::with_capacity(cids.len());
        for cid in cids {
            blocks.push((cid, store.block(cid).await?));
        }
        Ok(car::of_blocks(
            pin.head().commit,
            blocks.iter().map(|(cid, bytes)| (cid, &**bytes)),
        ))
    }

    /// Those of the named blocks that the repository has now, in no particular order. What was replaced or deleted is
    /// not among them.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn get_blocks(&self, cids: &[Cid]) -> Result<Vec<Block>, RepoError> {
        let locations = self.inner.store.index.locate_all(cids, true).await?;
        self.inner.store.log.read_blocks(locations).await
    }

    /// At most `limit` events after `seq`, in order. The first event is 1; there are no gaps.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<CommitEvent>, RepoError> {
        let rows = self.inner.store.index.events_after(seq, limit).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            events.push(self.inner.store.log.read_event(row).await?);
        }
        Ok(events)
    }

    /// The newest `seq`, and a wake-up when there is a newer one.
    #[must_use]
    pub fn watch_seq(&self) -> watch::Receiver<u64> {
        self.inner.seq.clone()
    }

    /// Walks the whole repository: signature, tree shape, every block present and equal to its name, every record in the
    /// index and nothing else there. Takes as long as an export; writes may go on.
    ///
    /// # Errors
    /// [`RepoError::Corrupt`] says what is wrong first; the disk's or the index's.
    pub async fn verify(&self) -> Result<(), RepoError> {
        let inner = &self.inner;
        verify::verify(
            Arc::clone(&inner.store),
            inner.pins.pin(),
            &inner.did,
            &inner.public_key,
        )
        .await
    }
}

/// The nodes of one look-up.
#[derive(Default)]
struct PathNodes(HashMap<Cid, Arc<Node>>);

impl NodeSource for PathNodes {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        self.0.get(cid).cloned().ok_or(DataError::Missing(*cid))
    }
}
